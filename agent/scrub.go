package agent

import (
	"context"
	"time"
)

// What the disk holds is read again once a day, so slowly that no machine notices, the first time an hour after the
// start: a byte that the disk has spoiled is to be found before a machine boots it.
const (
	firstScrub = time.Hour
	scrubEvery = 24 * time.Hour
	scrubRate  = 16 << 20 // bytes per second
)

// scrub goes on until ctx ends.
func (a *Agent) scrub(ctx context.Context) error {
	for pause := firstScrub; ; pause = scrubEvery {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		began := time.Now()
		done, err := a.operator.Verify(ctx, scrubRate)
		if err != nil {
			return nil // told to stop
		}
		a.log.Info("cache scrubbed", "bytes", done.CheckedBytes, "corrupt", done.Corrupt, "repaired", done.Repaired, "took", time.Since(began))
	}
}
