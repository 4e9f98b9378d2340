package uplink

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	mathrand "math/rand/v2"
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

	bootID string
	seq    int64
}

// Run sends the first heartbeat at once.
func (h *Heartbeat) Run(ctx context.Context) error {
	h.bootID = rand.Text()
	failures := 0
	for {
		began := time.Now()
		pause, err := h.beat(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			failures++
			pause = max(pause, backoff(failures))
			h.Log.Warn("heartbeat failed", "err", err, "failures", failures, "pause", pause)
		default:
			if failures > 0 {
				h.Log.Info("central is back", "failures", failures)
			}
			failures = 0
			// Acting on the answer takes its time, which is not the pace's.
			pause = max(pause-time.Since(began), minInterval)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

// beat sends one heartbeat, acts on the answer, and returns how long after its begin central wants the next one.
func (h *Heartbeat) beat(ctx context.Context) (time.Duration, error) {
	report := h.Site.Report(ctx)
	h.seq++
	report.Hello, report.BootID, report.Seq = h.Hello, h.bootID, h.seq
	call, cancel := context.WithTimeout(ctx, beatTime)
	answer, err := h.Client.Heartbeat(call, report)
	cancel()
	if err != nil {
		if r, ok := errors.AsType[*wire.Refusal](err); ok {
			// A tenth more, so that all who were told the same do not come back at once.
			return r.RetryAfter + mathrand.N(r.RetryAfter/10+1), err
		}
		return 0, err
	}
	if err := h.Site.Answer(ctx, answer); err != nil && ctx.Err() == nil {
		h.Log.Warn("heartbeat's answer not carried out", "err", err)
	}
	if !h.Client.Online() {
		return minInterval, nil // one success is no proof: ask again soon
	}
	return jitter(answer.NextIn), nil
}

// jitter returns the pause that central asks for, a tenth more or less: it keeps the agents of a fleet from falling
// into step.
func jitter(seconds int) time.Duration {
	pause := defaultInterval
	if seconds > 0 {
		pause = time.Duration(min(seconds, int(maxInterval/time.Second))) * time.Second
	}
	return pause - pause/10 + mathrand.N(pause/5+1)
}

// backoff returns the pause after so many failures in a row: anything up to a bound that doubles from 4 seconds to
// maxBackoff.
func backoff(failures int) time.Duration {
	bound := maxBackoff
	if failures < 8 {
		bound = min(2*time.Second<<failures, maxBackoff)
	}
	return minInterval + mathrand.N(bound-minInterval+1)
}
