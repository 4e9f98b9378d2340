package uplink

import (
	"sync"
	"time"
)

// A link is offline after so many failures in a row, and online again after so many successes.
const (
	failuresToOffline = 3
	successesToOnline = 2
)

// Link is what the agent believes of its way to central. The zero Link is online. It is safe for concurrent use.
type Link struct {
	mu        sync.Mutex
	failures  int
	successes int
	offline   time.Time // since when; zero while online
}

// Online says whether it is worth waiting for central.
func (l *Link) Online() bool { return l.OfflineFor() == 0 }

// OfflineFor returns how long central has been out of reach; zero while it is in reach.
func (l *Link) OfflineFor() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.offline.IsZero() {
		return 0
	}
	return max(time.Since(l.offline), 1)
}

func (l *Link) failed() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.successes = 0
	if l.failures++; l.failures == failuresToOffline {
		l.offline = time.Now()
	}
}

func (l *Link) worked() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.successes++
	if l.failures < failuresToOffline || l.successes >= successesToOnline {
		l.failures, l.offline = 0, time.Time{}
	}
}
