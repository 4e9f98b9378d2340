package fleet

import (
	"fmt"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// How often one address may try to enrol.
const (
	joinEvery    = time.Second
	joinBurst    = 20
	maxAddresses = 4096 // remembered; the rest share one limit
)

// Limited says that an address tries too often.
type Limited struct{ RetryAfter time.Duration }

func (l *Limited) Error() string {
	return fmt.Sprintf("too many attempts: try again in %v", l.RetryAfter.Round(time.Second))
}

// limiter limits each address, and is bounded itself whatever addresses there are. The zero limiter works.
type limiter struct {
	mu     sync.Mutex
	by     map[netip.Prefix]*rate.Limiter
	shared *rate.Limiter // of the addresses for which there was no room
	swept  time.Time     // when room was last made: to look through all for each stranger would be his to exploit
}

// wait returns 0 if the address may try now, else how long it has to wait.
func (l *limiter) wait(address string, now time.Time) time.Duration {
	reservation := l.of(address, now).ReserveN(now, 1)
	wait := reservation.DelayFrom(now)
	if wait > 0 {
		reservation.CancelAt(now)
	}
	return wait
}

func (l *limiter) of(address string, now time.Time) *rate.Limiter {
	key := network(address)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.by == nil {
		l.by, l.shared = map[netip.Prefix]*rate.Limiter{}, newLimit()
	}
	if lim := l.by[key]; lim != nil {
		return lim
	}
	if len(l.by) >= maxAddresses && now.Sub(l.swept) >= joinEvery {
		l.swept = now
		for k, lim := range l.by {
			if lim.TokensAt(now) >= joinBurst { // as good as new
				delete(l.by, k)
			}
		}
	}
	if len(l.by) >= maxAddresses {
		return l.shared
	}
	l.by[key] = newLimit()
	return l.by[key]
}

func newLimit() *rate.Limiter { return rate.NewLimiter(rate.Every(joinEvery), joinBurst) }

// network returns what one machine can send from: its IPv4 address, or the /64 it picks its IPv6 addresses in.
func network(address string) netip.Prefix {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return netip.Prefix{}
	}
	ip = ip.Unmap().WithZone("")
	bits := 32
	if ip.Is6() {
		bits = 64
	}
	prefix, _ := ip.Prefix(bits) // the length fits
	return prefix
}
