package admin

import (
	"context"
	"net/http"
	"time"

	"github.com/pureboot/pureboot/agent/cache"
)

// PathCache is where the cache is summed up. Below it a DELETE removes one object.
const PathCache = Root + "/cache"

// Cache sums up what is kept. Sizes are in bytes, rates are shares of 1 since the start.
type Cache struct {
	TotalSizeBytes int64               `json:"total_size_bytes"` // unfinished objects included
	MaxSizeBytes   int64               `json:"max_size_bytes"`
	UsagePercent   float64             `json:"usage_percent"`
	Policy         string              `json:"policy"`
	Categories     map[string]Category `json:"categories"`
	Unfinished     Category            `json:"unfinished"` // of objects that transfers have begun to bring
	PinnedBytes    int64               `json:"pinned_size_bytes"`
	NodeCache      NodeCache           `json:"node_cache"`
	HotTier        HotTier             `json:"hot_tier"`
	HitRates       HitRates            `json:"hit_rates"`
	Disk           Disk                `json:"disk"`
	Counters       cache.Stats         `json:"counters"`
}

// Category is how much there is of a kind.
type Category struct {
	Count     int64 `json:"count"`
	SizeBytes int64 `json:"size_bytes"`
}

// NodeCache is how much is known of the site's machines.
type NodeCache struct {
	Count       int        `json:"count"`
	OldestEntry *time.Time `json:"oldest_entry"` // when central said it
}

// HotTier is what is kept in memory.
type HotTier struct {
	SizeBytes    int64 `json:"size_bytes"`
	MaxSizeBytes int64 `json:"max_size_bytes"`
}

// HitRates are shares of the readers that were given an object.
type HitRates struct {
	All       float64 `json:"all"` // that needed nothing of central or of an origin
	Hot       float64 `json:"hot"`
	Disk      float64 `json:"disk"`
	Coalesced float64 `json:"coalesced"` // that followed a transfer which somebody else had begun
}

// Disk is how the cache's filesystem is doing.
type Disk struct {
	cache.Disk
	FreeBytes    int64 `json:"free_bytes"` // -1: it does not tell
	MinFreeBytes int64 `json:"min_free_bytes"`
	Errors       int64 `json:"errors"`
}

func (a *API) getCache(w http.ResponseWriter, r *http.Request) {
	sum, err := a.sumUp(r.Context())
	if err != nil {
		a.fail(w, r, err)
		return
	}
	answer(w, http.StatusOK, sum)
}

func (a *API) sumUp(ctx context.Context) (Cache, error) {
	s := a.Cache.Stats()
	c := Cache{
		TotalSizeBytes: s.Bytes + s.Partial, MaxSizeBytes: s.MaxBytes, Policy: a.Files.Policy().Name(),
		Categories: map[string]Category{}, PinnedBytes: s.Pinned,
		HotTier:  HotTier{SizeBytes: s.HotBytes, MaxSizeBytes: s.HotMaxBytes},
		HitRates: hitRates(s),
		Disk:     Disk{Disk: s.Disk, FreeBytes: s.FreeBytes, MinFreeBytes: s.MinFreeBytes, Errors: s.DiskErrors},
		Counters: s,
	}
	if s.MaxBytes > 0 {
		c.UsagePercent = 100 * float64(c.TotalSizeBytes) / float64(s.MaxBytes)
	}
	for _, name := range Categories {
		c.Categories[name] = Category{}
	}
	for name, u := range a.Cache.Usage() {
		c.Categories[name] = Category{u.Entries, u.Bytes}
	}
	for _, e := range a.Cache.Unfinished() {
		c.Unfinished.Count++
		c.Unfinished.SizeBytes += e.Have
	}
	var err error
	if c.NodeCache.Count, err = a.Nodes.Count(ctx); err != nil {
		return c, err
	}
	oldest, err := a.Nodes.Oldest(ctx)
	if !oldest.IsZero() {
		c.NodeCache.OldestEntry = &oldest
	}
	return c, err
}

func hitRates(s cache.Stats) HitRates {
	all := s.HotHits + s.DiskHits + s.Misses + s.Coalesced + s.PassThrough
	if all == 0 {
		return HitRates{}
	}
	share := func(n int64) float64 { return float64(n) / float64(all) }
	return HitRates{All: share(s.HotHits + s.DiskHits), Hot: share(s.HotHits), Disk: share(s.DiskHits), Coalesced: share(s.Coalesced)}
}
