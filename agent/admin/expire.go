package admin

import (
	"time"

	"github.com/pureboot/pureboot/agent/cache"
	"github.com/pureboot/pureboot/agent/content"
)

// SetRetention changes for how many days what nobody asks for is kept, whatever it is; 0: as content.Retention says.
// Bootloaders, what is pinned or to be prefetched and what the site's policy wants are kept for ever all the same.
func (a *API) SetRetention(days int) { a.retention.Store(int64(days)) }

// Expire evicts what nobody has asked for longer than it is kept.
func (a *API) Expire() (Gone, error) { return a.Cache.Evict(0, a.expired()) }

// tooLong is an age that no object has reached: it is of one that was used while the clock was wrong.
const tooLong = 10 * 365 * 24 * time.Hour

// expired returns what to tell expired objects by.
func (a *API) expired() match {
	days, now, wanted := a.retention.Load(), time.Now(), a.wanted()
	return func(e cache.Entry) bool {
		keep := content.Retention(e.Key)
		if keep > 0 && days > 0 {
			keep = time.Duration(days) * 24 * time.Hour
		}
		unused := now.Sub(e.LastUsed)
		return keep > 0 && !e.LastUsed.IsZero() && unused > keep && unused < tooLong && !wanted(e.Key)
	}
}

// wanted returns what to tell by what would be fetched again, or missed when central is away: what the policy wants
// here, and what is on the prefetch list.
func (a *API) wanted() func(cache.Key) bool {
	keys := map[cache.Key]bool{}
	for _, w := range a.Files.Wanted() {
		keys[w.Key()] = true
	}
	list := a.setOf(a.prefetch.get())
	return func(key cache.Key) bool { return keys[key] || list.has(a, key) }
}
