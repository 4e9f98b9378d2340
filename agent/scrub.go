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
		began, before := time.Now(), a.cache.Stats()
		if err := a.cache.Scrub(ctx, scrubRate); err != nil {
			return nil // told to stop
		}
		after := a.cache.Stats()
		a.log.Info("cache scrubbed", "bytes", after.Scrubbed-before.Scrubbed, "corrupt", after.Corruptions-before.Corruptions,
			"repaired", after.Repaired-before.Repaired, "took", time.Since(began))
	}
}
