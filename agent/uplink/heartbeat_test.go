package uplink

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pureboot/pureboot/central/wire"
)

// beat is one heartbeat that a fake central heard.
type beat struct {
	at time.Time
	wire.Heartbeat
}

// scripted hears heartbeats and answers as it is told.
type scripted struct {
	reply    func(ctx context.Context, n int) (wire.HeartbeatAnswer, error)
	offline  func(n int) bool // the link's view after beat n; nil means never
	heard    []beat
	inFlight atomic.Int32
}

func (c *scripted) Heartbeat(ctx context.Context, h wire.Heartbeat) (wire.HeartbeatAnswer, error) {
	if c.inFlight.Add(1) > 1 {
		panic("two heartbeats in flight")
	}
	defer c.inFlight.Add(-1)
	c.heard = append(c.heard, beat{time.Now(), h})
	return c.reply(ctx, len(c.heard))
}

func (c *scripted) Online() bool { return c.offline == nil || !c.offline(len(c.heard)) }

// pauses returns the times between the heartbeats.
func (c *scripted) pauses() (d []time.Duration) {
	for i := 1; i < len(c.heard); i++ {
		d = append(d, c.heard[i].at.Sub(c.heard[i-1].at))
	}
	return d
}

// plainSite reports nothing much and acts on an answer for a while.
type plainSite struct {
	acts    time.Duration
	err     error
	answers int
}

func (*plainSite) Report(context.Context) wire.Heartbeat { return wire.Heartbeat{CacheEntries: 17} }

func (s *plainSite) Answer(ctx context.Context, _ wire.HeartbeatAnswer) error {
	s.answers++
	select {
	case <-ctx.Done():
	case <-time.After(s.acts):
	}
	return s.err
}

// beatFor runs a heartbeat for a while.
func beatFor(t *testing.T, d time.Duration, central *scripted, site *plainSite) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), d)
		defer cancel()
		h := &Heartbeat{Client: central, Site: site, Hello: hello, Log: slog.New(slog.DiscardHandler)}
		began := time.Now()
		if err := h.Run(ctx); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took != d {
			t.Errorf("ended after %v, want %v", took, d)
		}
	})
}

func always(a wire.HeartbeatAnswer) func(context.Context, int) (wire.HeartbeatAnswer, error) {
	return func(context.Context, int) (wire.HeartbeatAnswer, error) { return a, nil }
}

func TestHeartbeatsPaceIsCentrals(t *testing.T) {
	for nextIn, want := range map[int]time.Duration{
		10: 10 * time.Second, 60: time.Minute, 3600: time.Hour,
		86400: time.Hour, 1 << 62: time.Hour, // no agent is told to fall silent
		0: time.Minute, -5: time.Minute, // nor to rush
	} {
		central, site := &scripted{reply: always(wire.HeartbeatAnswer{NextIn: nextIn})}, new(plainSite)
		beatFor(t, 100*want, central, site)
		low, high, differ := want-want/10, want+want/10, false
		pauses := central.pauses()
		for _, p := range pauses {
			if p < low || p > high {
				t.Errorf("next in %d: a pause of %v", nextIn, p)
			}
			differ = differ || p != pauses[0]
		}
		if n := len(pauses); n < 85 || n > 115 || !differ || site.answers != n+1 {
			t.Errorf("next in %d: %d heartbeats, with jitter %v, %d answers acted on", nextIn, n+1, differ, site.answers)
		}
	}
}

func TestHeartbeatSaysWhoItIs(t *testing.T) {
	central := &scripted{reply: func(_ context.Context, n int) (wire.HeartbeatAnswer, error) {
		if n%2 == 0 {
			return wire.HeartbeatAnswer{}, errors.New("lost")
		}
		return wire.HeartbeatAnswer{NextIn: 10}, nil
	}}
	beatFor(t, 5*time.Minute, central, new(plainSite))
	if len(central.heard) < 10 {
		t.Fatalf("%d heartbeats", len(central.heard))
	}
	first := central.heard[0].BootID
	for i, h := range central.heard {
		if h.Seq != int64(i+1) || h.BootID != first || first == "" || h.AgentVersion != hello.AgentVersion || h.CacheEntries != 17 {
			t.Errorf("heartbeat %d: %+v", i, h.Heartbeat)
		}
	}
	again := &scripted{reply: always(wire.HeartbeatAnswer{})}
	beatFor(t, time.Second, again, new(plainSite))
	if again.heard[0].BootID == first {
		t.Error("another run has the same boot_id")
	}
}

func TestHeartbeatBacksOff(t *testing.T) {
	central := &scripted{reply: func(context.Context, int) (wire.HeartbeatAnswer, error) {
		return wire.HeartbeatAnswer{}, errors.New("no route to host")
	}}
	site := new(plainSite)
	beatFor(t, 48*time.Hour, central, site)
	pauses := central.pauses()
	var sum, most time.Duration
	for i, p := range pauses {
		bound := maxBackoff
		if i < 7 {
			bound = min(4*time.Second<<i, maxBackoff)
		}
		if p < minInterval || p > bound {
			t.Errorf("pause %d is %v, beyond %v", i, p, bound)
		}
		sum, most = sum+p, max(most, p)
	}
	// Full jitter: in the mean half of the bound.
	if mean := sum / time.Duration(len(pauses)); mean < 2*time.Minute || mean > 3*time.Minute || most < 4*time.Minute {
		t.Errorf("%d pauses of %v in the mean, %v at most", len(pauses), mean, most)
	}
	if site.answers != 0 {
		t.Error("acted on no answer")
	}
}

func TestHeartbeatObeysRetryAfter(t *testing.T) {
	const after = 20 * time.Minute
	central := &scripted{reply: func(context.Context, int) (wire.HeartbeatAnswer, error) {
		return wire.HeartbeatAnswer{}, &wire.Refusal{Status: 503, RetryAfter: after}
	}}
	beatFor(t, 24*time.Hour, central, new(plainSite))
	differ := false
	for _, p := range central.pauses() {
		if p < after || p > after+after/10 {
			t.Errorf("a pause of %v", p)
		}
		differ = differ || p != central.pauses()[0]
	}
	if !differ || len(central.heard) < 60 {
		t.Errorf("%d heartbeats, jitter %v: all who were told the same come back at once", len(central.heard), differ)
	}
}

func TestHeartbeatAfterASuccessStartsOver(t *testing.T) {
	central := &scripted{reply: func(_ context.Context, n int) (wire.HeartbeatAnswer, error) {
		if n <= 20 || n > 21 {
			return wire.HeartbeatAnswer{}, errors.New("no route to host")
		}
		return wire.HeartbeatAnswer{NextIn: 60}, nil
	}}
	beatFor(t, 3*time.Hour, central, new(plainSite))
	if p := central.pauses()[21]; p > 4*time.Second {
		t.Errorf("the first failure after a success pauses for %v", p)
	}
}

// TestHeartbeatProvesTheLink: one success does not make the link online, so the second is not long in coming.
func TestHeartbeatProvesTheLink(t *testing.T) {
	central := &scripted{reply: always(wire.HeartbeatAnswer{NextIn: 60}), offline: func(n int) bool { return n < 2 }}
	beatFor(t, 30*time.Second, central, new(plainSite))
	if p := central.pauses(); len(p) != 1 || p[0] != minInterval {
		t.Errorf("pauses %v", p)
	}
}

func TestHangingHeartbeatEnds(t *testing.T) {
	central := &scripted{reply: func(ctx context.Context, _ int) (wire.HeartbeatAnswer, error) {
		<-ctx.Done()
		return wire.HeartbeatAnswer{}, ctx.Err()
	}}
	beatFor(t, 10*time.Minute, central, new(plainSite))
	if n := len(central.heard); n < 3 {
		t.Errorf("%d heartbeats", n)
	}
	for _, p := range central.pauses() {
		if p < beatTime+minInterval {
			t.Errorf("a pause of %v", p)
		}
	}
}

// TestActingOnAnAnswerIsPartOfThePace: or a site with much to do would be taken for degraded.
func TestActingOnAnAnswerIsPartOfThePace(t *testing.T) {
	for acts, want := range map[time.Duration]time.Duration{20 * time.Second: 60 * time.Second, 5 * time.Minute: 5*time.Minute + minInterval} {
		central := &scripted{reply: always(wire.HeartbeatAnswer{NextIn: 60})}
		beatFor(t, time.Hour, central, &plainSite{acts: acts, err: errors.New("not carried out")})
		for _, p := range central.pauses() {
			if p < want-want/10 || p > want+want/10 {
				t.Errorf("acting for %v: a pause of %v", acts, p)
			}
		}
	}
}
