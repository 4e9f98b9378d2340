package uplink

import (
	"context"
	"errors"
	"log/slog"
	mathrand "math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pureboot/pureboot/central/wire"
)

// Bounds of the pause between heartbeats.
const (
	minInterval     = time.Second
	defaultInterval = time.Minute // when central names none
	maxInterval     = time.Hour
	maxBackoff      = 5 * time.Minute
)

// beatTime bounds one heartbeat.
const beatTime = 15 * time.Second

// Site is what the heartbeat reports on, and what its answer is for.
type Site interface {
	// Report fills in the metrics and the epochs; the heartbeat adds who it is from.
	Report(ctx context.Context) wire.Heartbeat
	// Answer acts on what central said. An error is logged, and central says it again next time.
	Answer(ctx context.Context, a wire.HeartbeatAnswer) error
}

// Heartbeat reports to central until ctx ends, one report in flight, at the pace that central sets.
type Heartbeat struct {
	Client interface { // a *Client
		Heartbeat(ctx context.Context, h wire.Heartbeat) (wire.HeartbeatAnswer, error)
		Online() bool
	}
	Site  Site
	Hello wire.Hello
	Log   *slog.Logger

	seq  atomic.Int64  // of the last one
	pace time.Duration // that central set last; 0 before its first answer

	made sync.Once
	soon chan struct{} // made by wanted; holds one wish at most

	trouble atomic.Pointer[Trouble]
}

// Trouble is what is wrong with central's answers.
type Trouble struct {
	Err   error     // the last
	Since time.Time // of the agent's clock, when the first of them came
}

// Trouble returns why the last heartbeat brought no answer, or what of the answer was not carried out; nil if all is
// well. Safe for concurrent use.
func (h *Heartbeat) Trouble() *Trouble { return h.trouble.Load() }

// Seq returns the number of the last heartbeat; 0: there was none. Safe for concurrent use.
func (h *Heartbeat) Seq() int64 { return h.seq.Load() }

// note keeps how a heartbeat went.
func (h *Heartbeat) note(err error) {
	if err == nil {
		h.trouble.Store(nil)
		return
	}
	now := &Trouble{Err: err, Since: time.Now()}
	if before := h.trouble.Load(); before != nil {
		now.Since = before.Since
	}
	h.trouble.Store(now)
}

// Soon has the next heartbeat come within a second of the call, or a second after the one before it: there is something
// to tell that shall not wait for the pace. What is wanted while a heartbeat is under way is told by one more, since
// its report may have been put together before. A pause that a failure or central's Retry-After asked for stays. Safe
// for concurrent use; it does not wait.
func (h *Heartbeat) Soon() { nudge(h.wanted()) }

func (h *Heartbeat) wanted() chan struct{} {
	h.made.Do(func() { h.soon = make(chan struct{}, 1) })
	return h.soon
}

// Run sends the first heartbeat at once.
func (h *Heartbeat) Run(ctx context.Context) error {
	failures := 0
	for {
		select {
		case <-h.wanted(): // this is it
		default:
		}
		began := time.Now()
		pause, err := h.beat(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			failures++
			pause = max(pause, backoff(h.pace, failures))
			h.Log.Warn("heartbeat failed", "err", err, "failures", failures, "pause", pause)
		default:
			if failures > 0 {
				h.Log.Info("central is back", "failures", failures)
			}
			failures = 0
			// Acting on the answer takes its time, which is not the pace's.
			pause = max(pause-time.Since(began), minInterval)
		}
		if !h.rest(ctx, pause, failures == 0) {
			return nil
		}
	}
}

// rest waits until the pause is over, or for a second once another heartbeat is wanted, if that may cut it short. It
// says whether to go on.
func (h *Heartbeat) rest(ctx context.Context, pause time.Duration, short bool) bool {
	over := time.NewTimer(pause)
	defer over.Stop()
	if short {
		select {
		case <-ctx.Done():
			return false
		case <-over.C:
			return true
		case <-h.wanted():
			over.Reset(min(minInterval, pause))
		}
	}
	select {
	case <-ctx.Done():
		return false
	case <-over.C:
		return true
	}
}

// beat sends one heartbeat, acts on the answer, and returns how long after its begin central wants the next one.
func (h *Heartbeat) beat(ctx context.Context) (time.Duration, error) {
	report := h.Site.Report(ctx)
	report.Hello, report.Seq = h.Hello, h.seq.Add(1)
	call, cancel := context.WithTimeout(ctx, beatTime)
	answer, err := h.Client.Heartbeat(call, report)
	cancel()
	if err != nil {
		if ctx.Err() == nil {
			h.note(err)
		}
		if r, ok := errors.AsType[*wire.Refusal](err); ok {
			// A tenth more, so that all who were told the same do not come back at once.
			return r.RetryAfter + mathrand.N(r.RetryAfter/10+1), err
		}
		return 0, err
	}
	err = h.Site.Answer(ctx, answer)
	if ctx.Err() == nil {
		h.note(err)
		if err != nil {
			h.Log.Warn("heartbeat's answer not carried out", "err", err)
		}
	}
	h.pace = interval(answer.NextIn)
	if !h.Client.Online() {
		return minInterval, nil // one success is no proof: ask again soon
	}
	return spread(h.pace, answer.Jitter), nil
}

// interval returns the pause that central asks for.
func interval(seconds int) time.Duration {
	if seconds <= 0 {
		return defaultInterval
	}
	return time.Duration(min(seconds, int(maxInterval/time.Second))) * time.Second
}

// spread returns the pace, up to so many seconds more or less: it keeps the agents of a fleet from falling into step. If
// central names none it is a tenth, and it is half of the pace at most.
func spread(pace time.Duration, seconds int) time.Duration {
	by := pace / 10
	if seconds > 0 {
		by = min(time.Duration(min(seconds, int(maxInterval/time.Second)))*time.Second, pace/2)
	}
	return pace - by + mathrand.N(2*by+1)
}

// backoff returns the pause after so many failures in a row: anything up to a bound that doubles until it is
// maxBackoff. It begins with four seconds for an agent that central never answered, and with one and a half of the
// pace for the others. For if it is central that was away, all of them come back at once, each by its next attempt; with
// a first bound that is much shorter than the pace, every agent that failed would try twice within the time of one
// regular heartbeat, beside those whose turn it is.
func backoff(pace time.Duration, failures int) time.Duration {
	bound := 4 * time.Second
	if pace > 0 {
		bound = min(max(bound, pace+pace/2), maxBackoff)
	}
	for range min(failures, 8) - 1 {
		bound = min(2*bound, maxBackoff)
	}
	return minInterval + mathrand.N(bound-minInterval+1)
}
