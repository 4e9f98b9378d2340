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
	minInterval = time.Second
	maxInterval = time.Hour
	maxBackoff  = 5 * time.Minute
	patience    = 15 * time.Second // for one heartbeat
)

// Site is what the heartbeat reports on, and what its answer is for.
type Site interface {
	// Report fills in the metrics and the epochs; the heartbeat adds who it is from.
	Report(ctx context.Context) wire.Heartbeat
	// Answer acts on what central said. An error is logged, and central says it again next time.
	Answer(ctx context.Context, a wire.HeartbeatAnswer) error
}

// Heartbeat reports to central until ctx ends, one report in flight, at the pace that central sets.
type Heartbeat struct {
	Client *Client
	Site   Site
	Hello  wire.Hello
	Log    *slog.Logger

	bootID string
	seq    int64
}

// Run sends the first heartbeat at once.
func (h *Heartbeat) Run(ctx context.Context) error {
	h.bootID = rand.Text()
	failures := 0
	for {
		next, err := h.beat(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			failures++
			next = max(next, backoff(failures))
			h.Log.Warn("heartbeat failed", "err", err, "failures", failures, "next", next)
		case failures > 0:
			h.Log.Info("central is back", "failures", failures)
			failures = 0
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(next):
		}
	}
}

// beat sends one heartbeat and returns when central wants the next one.
func (h *Heartbeat) beat(ctx context.Context) (time.Duration, error) {
	report := h.Site.Report(ctx)
	h.seq++
	report.Hello, report.BootID, report.Seq = h.Hello, h.bootID, h.seq
	call, cancel := context.WithTimeout(ctx, patience)
	answer, err := h.Client.Heartbeat(call, report)
	cancel()
	if err != nil {
		if r, ok := errors.AsType[*wire.Refusal](err); ok {
			return r.RetryAfter, err
		}
		return 0, err
	}
	if err := h.Site.Answer(ctx, answer); err != nil {
		h.Log.Warn("heartbeat's answer not carried out", "err", err)
	}
	if !h.Client.link.Online() {
		return minInterval, nil // one success is no proof: ask again soon
	}
	next := min(max(time.Duration(answer.NextIn)*time.Second, minInterval), maxInterval)
	// A tenth either way keeps the agents of a fleet from falling into step.
	return next - next/10 + mathrand.N(next/5+1), nil
}

// backoff returns the pause after so many failures in a row: full jitter, doubling up to maxBackoff.
func backoff(failures int) time.Duration {
	ceiling := maxBackoff
	if failures < 9 {
		ceiling = min(2*time.Second<<failures, maxBackoff)
	}
	return minInterval + mathrand.N(ceiling)
}
