package uplink

import (
	"context"
	"errors"
	"log/slog"
	"slices"
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
	for i, h := range central.heard {
		if h.Seq != int64(i+1) || h.AgentVersion != hello.AgentVersion || h.CacheEntries != 17 {
			t.Errorf("heartbeat %d: %+v", i, h.Heartbeat)
		}
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
	if p := central.pauses()[21]; p > 90*time.Second {
		t.Errorf("the first failure after a success pauses for %v", p)
	}
}

// TestBackoffBeginsWithThePace: or the agents that a restart of central turned away would double the rate of the others.
func TestBackoffBeginsWithThePace(t *testing.T) {
	for _, c := range []struct {
		pace     time.Duration
		failures int
		most     time.Duration
	}{
		{0, 1, 4 * time.Second},
		{0, 3, 16 * time.Second},
		{time.Second, 1, 4 * time.Second},
		{time.Minute, 1, 90 * time.Second},
		{time.Minute, 2, 3 * time.Minute},
		{time.Minute, 3, 5 * time.Minute},
		{time.Hour, 1, 5 * time.Minute},
		{time.Minute, 1 << 40, 5 * time.Minute},
	} {
		var sum, longest time.Duration
		const n = 2000
		for range n {
			p := backoff(c.pace, c.failures)
			if p < minInterval || p > c.most {
				t.Fatalf("pace %v, %d failures: a pause of %v", c.pace, c.failures, p)
			}
			sum, longest = sum+p, max(longest, p)
		}
		// Full jitter: all of it is used, evenly.
		if mean, want := sum/n, (minInterval+c.most)/2; mean < want*9/10 || mean > want*11/10 || longest < c.most*9/10 {
			t.Errorf("pace %v, %d failures: pauses of %v in the mean, %v at most", c.pace, c.failures, mean, longest)
		}
	}
}

// TestCentralSetsTheJitter.
func TestCentralSetsTheJitter(t *testing.T) {
	for jitter, want := range map[int]time.Duration{0: 6 * time.Second, -4: 6 * time.Second, 20: 20 * time.Second, 1 << 40: 30 * time.Second} {
		central := &scripted{reply: always(wire.HeartbeatAnswer{NextIn: 60, Jitter: jitter})}
		beatFor(t, 8*time.Hour, central, new(plainSite))
		var most time.Duration
		for _, p := range central.pauses() {
			if off := (p - time.Minute).Abs(); off > want {
				t.Errorf("jitter %d: a pause of %v", jitter, p)
			} else {
				most = max(most, off)
			}
		}
		if most < want*3/4 {
			t.Errorf("jitter %d: only %v off at most", jitter, most)
		}
	}
}

// hasty is a site that wants another heartbeat at certain times after its first.
func hasty(t *testing.T, central *scripted, d time.Duration, at ...time.Duration) []time.Duration {
	t.Helper()
	var heard []time.Duration
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), d)
		defer cancel()
		h := &Heartbeat{Client: central, Site: new(plainSite), Hello: hello, Log: slog.New(slog.DiscardHandler)}
		began := time.Now()
		for _, at := range at {
			time.AfterFunc(at, h.Soon)
		}
		if err := h.Run(ctx); err != nil {
			t.Error(err)
		}
		for _, b := range central.heard {
			heard = append(heard, b.at.Sub(began))
		}
	})
	return heard
}

func TestAHeartbeatThatIsWantedComesSoon(t *testing.T) {
	const s = time.Second
	paced := wire.HeartbeatAnswer{NextIn: 3600}
	for name, c := range map[string]struct {
		at   []time.Duration
		most int // heartbeats, the first among them
	}{
		"once":                    {[]time.Duration{10 * s}, 2},
		"before the first":        {[]time.Duration{0}, 2},
		"several at once are one": {[]time.Duration{10 * s, 10 * s, 10*s + s/2}, 2},
		"a stream":                {[]time.Duration{10 * s, 11*s + s/4, 12 * s, 12*s + s/2, 13 * s}, 5},
		"while one is under way":  {[]time.Duration{s / 20}, 2},
	} {
		central := &scripted{reply: func(context.Context, int) (wire.HeartbeatAnswer, error) {
			time.Sleep(s / 10) // virtual
			return paced, nil
		}}
		heard := hasty(t, central, 2*time.Minute, c.at...)
		if len(heard) > c.most {
			t.Errorf("%s: heartbeats at %v", name, heard)
		}
		for _, at := range c.at {
			if !slices.ContainsFunc(heard, func(h time.Duration) bool { return h >= at && h <= at+2*s }) {
				t.Errorf("%s: wanted at %v, heartbeats at %v", name, at, heard)
			}
		}
	}
}

// TestWhatIsWantedDoesNotBeatACentralThatAskedForRest.
func TestWhatIsWantedDoesNotBeatACentralThatAskedForRest(t *testing.T) {
	central := &scripted{reply: func(_ context.Context, n int) (wire.HeartbeatAnswer, error) {
		return wire.HeartbeatAnswer{}, &wire.Refusal{Status: 503, RetryAfter: time.Minute}
	}}
	heard := hasty(t, central, 50*time.Second, 5*time.Second, 10*time.Second)
	if len(heard) != 1 {
		t.Errorf("heartbeats at %v", heard)
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
