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
	began     time.Time     // when the first of the failures in a row came
	offline   time.Time     // since when, which is began; zero while online
	last      time.Duration // of the last time offline, when it was over
}

// Online says whether it is worth waiting for central.
func (l *Link) Online() bool { return l.OfflineFor() == 0 }

// OfflineFor returns how long central has been out of reach, from the first call that failed; zero while it is in reach.
func (l *Link) OfflineFor() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.offline.IsZero() {
		return 0
	}
	return max(time.Since(l.offline), 1)
}

// LastOffline returns how long central was out of reach the last time, from the first call that failed to the one that
// ended it; while it is out of reach, so far. It is zero if that never happened.
func (l *Link) LastOffline() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.offline.IsZero() {
		return l.last
	}
	return time.Since(l.offline)
}

func (l *Link) failed() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.successes = 0
	if l.failures++; l.failures == 1 {
		l.began = time.Now()
	}
	if l.failures == failuresToOffline {
		l.offline = l.began
	}
}

func (l *Link) worked() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.successes++
	if l.failures < failuresToOffline || l.successes >= successesToOnline {
		if !l.offline.IsZero() {
			l.last = time.Since(l.offline)
		}
		l.failures, l.offline = 0, time.Time{}
	}
}
