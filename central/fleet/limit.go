package fleet

import (
	"cmp"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// How often one address may fail, unless a Limiter says otherwise.
const (
	tryEvery     = time.Second
	tryBurst     = 20
	maxAddresses = 4096 // remembered; the rest share one limit
)

// Limited says that an address tries too often.
type Limited struct{ RetryAfter time.Duration }

func (l *Limited) Error() string {
	return fmt.Sprintf("too many attempts: try again in %v", l.RetryAfter.Round(time.Second))
}

// Limiter limits each address to Burst attempts and one a second after them. It is bounded itself, whatever addresses
// there are. An address is that of the connection: what headers say of others is not asked. The zero Limiter works.
type Limiter struct {
	Burst int // 0 means 20

	mu     sync.Mutex
	by     map[netip.Prefix]*rate.Limiter
	shared *rate.Limiter // of the addresses for which there was no room
	swept  time.Time     // when room was last made: to look through all for each stranger would be his to exploit
}

// Try takes an attempt of the address. It returns 0 if there was one left, else how long it has to wait for one.
func (l *Limiter) Try(address string, now time.Time) time.Duration {
	reservation := l.of(address, now).ReserveN(now, 1)
	wait := reservation.DelayFrom(now)
	if wait > 0 {
		reservation.CancelAt(now)
	}
	return wait
}

// Blocked returns how long the address has to wait for its next attempt, 0 if it need not. It takes none, and an
// address that took none is not remembered for having been asked about.
func (l *Limiter) Blocked(address string, now time.Time) time.Duration {
	l.mu.Lock()
	lim := l.by[network(address)]
	l.mu.Unlock()
	if lim == nil {
		return 0
	}
	reservation := lim.ReserveN(now, 1)
	wait := reservation.DelayFrom(now)
	reservation.CancelAt(now)
	return wait
}

func (l *Limiter) of(address string, now time.Time) *rate.Limiter {
	key := network(address)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.by == nil {
		l.by, l.shared = map[netip.Prefix]*rate.Limiter{}, l.fresh()
	}
	if lim := l.by[key]; lim != nil {
		return lim
	}
	if len(l.by) >= maxAddresses && now.Sub(l.swept) >= tryEvery {
		l.swept = now
		for k, lim := range l.by {
			if lim.TokensAt(now) >= float64(lim.Burst()) { // as good as new
				delete(l.by, k)
			}
		}
	}
	if len(l.by) >= maxAddresses {
		return l.shared
	}
	l.by[key] = l.fresh()
	return l.by[key]
}

func (l *Limiter) fresh() *rate.Limiter {
	return rate.NewLimiter(rate.Every(tryEvery), cmp.Or(l.Burst, tryBurst))
}

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
