package agent

import (
	"context"
	"time"
)

// Once a day goes what nobody has asked for longer than it is kept, the first time an hour after the start.
const (
	firstExpire = time.Hour
	expireEvery = 24 * time.Hour
)

// expireFiles goes on until ctx ends. While central is out of reach everything stays: nobody could give it again.
func (a *Agent) expireFiles(ctx context.Context) error {
	for pause := firstExpire; ; pause = expireEvery {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		if !a.link.Online() {
			continue
		}
		gone, err := a.operator.Expire()
		if err != nil {
			a.log.Error("expired files stay", "err", err)
			continue
		}
		if gone.Objects > 0 {
			a.log.Info("expired files removed", "objects", gone.Objects, "bytes", gone.Bytes)
		}
	}
}
