// Package systemd tells the service manager how a daemon is doing (sd_notify(3)). Where nobody asked, because the
// program was not started by systemd, every call does nothing.
package systemd

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// Ready says that start-up is finished, with a line for `systemctl status`.
func Ready(status string) error { return notify(daemon.SdNotifyReady + "\nSTATUS=" + status) }

// Stopping says that the daemon has begun to end.
func Stopping() error { return notify(daemon.SdNotifyStopping) }

func notify(state string) error {
	if _, err := daemon.SdNotify(false, state); err != nil {
		return fmt.Errorf("notify systemd: %w", err)
	}
	return nil
}

// Watchdog reports that the daemon is alive, twice in the interval that the unit's WatchdogSec sets, for as long as
// alive returns nil, until ctx ends. One check may take half the interval: a daemon too stuck to answer is what the
// watchdog is there to restart. It returns at once when no watchdog is set.
func Watchdog(ctx context.Context, log *slog.Logger, alive func(context.Context) error) error {
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return fmt.Errorf("read the watchdog's interval: %w", err)
	}
	if interval == 0 {
		return nil
	}
	tick := time.NewTicker(interval / 2)
	defer tick.Stop()
	for {
		check, cancel := context.WithTimeout(ctx, interval/2)
		err := alive(check)
		cancel()
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			log.Error("watchdog check failed", "err", err)
		default:
			if err := notify(daemon.SdNotifyWatchdog); err != nil {
				log.Warn("watchdog not told", "err", err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
