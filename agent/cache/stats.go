package cache

import (
	"maps"
	"strings"
	"sync/atomic"
)

// Stats counts since Open; what comes before HotHits is of now.
type Stats struct {
	Bytes   int64 `json:"bytes"` // of published objects
	Entries int64 `json:"entries"`
	Filling int64 `json:"filling"` // fills that run
	Parts   int64 `json:"parts"`   // unfinished objects that ended fills have left to later ones
	Partial int64 `json:"partial"` // bytes of those
	Pinned  int64 `json:"pinned"`  // bytes of published objects that are never evicted

	MaxBytes     int64 `json:"max_bytes"`      // see Options
	MinFreeBytes int64 `json:"min_free_bytes"` // see Options
	FreeBytes    int64 `json:"free_bytes"`     // on the filesystem; -1: it does not tell
	HotBytes     int64 `json:"hot_bytes"`      // in memory
	HotMaxBytes  int64 `json:"hot_max_bytes"`
	Disk         Disk  `json:"disk"`

	HotHits     int64 `json:"hot_hits"`
	DiskHits    int64 `json:"disk_hits"`
	Misses      int64 `json:"misses"`       // Fetches that started a fill
	Coalesced   int64 `json:"coalesced"`    // Fetches that joined a fill
	PassThrough int64 `json:"pass_through"` // readers that went to their source, from the start or from a failing disk

	Fills            int64 `json:"fills"`       // transfers that came to a good end
	FillErrors       int64 `json:"fill_errors"` // those that did not, or whose object could not be stored
	Ranges           int64 `json:"ranges"`      // parts that were fetched ahead of their fill's front
	Resumes          int64 `json:"resumes"`     // cuts that were followed by another try
	Purged           int64 `json:"purged"`
	Scrubbed         int64 `json:"scrubbed"`          // bytes that Scrub has checked
	ScrubCorruptions int64 `json:"scrub_corruptions"` // wrong chunks, and files without chunk digests, that it has found
	Repaired         int64 `json:"repaired"`          // chunks that it has put right
	Journals         int64 `json:"journals"`          // written
	Adopted          int64 `json:"adopted"`           // fills that went on with what an earlier one had left
	Resumed          int64 `json:"resumed"`           // bytes of that, verified
	Evictions        int64 `json:"evictions"`         // for whatever reason; unfinished objects too
	EvictedSize      int64 `json:"evicted_size"`      // of these, for the cap on the size
	EvictedFree      int64 `json:"evicted_free"`      // for free space on the disk
	EvictedByHand    int64 `json:"evicted_by_hand"`   // by Evict
	Corruptions      int64 `json:"corruptions"`       // wrong chunks received, damaged files found
	DiskErrors       int64 `json:"disk_errors"`
	BytesIn          int64 `json:"bytes_in"` // received from sources
}

type counters struct {
	hotHits, diskHits, misses, coalesced, passThrough              atomic.Int64
	fills, fillErrors, resumes, corruptions                        atomic.Int64
	evictedSize, evictedFree, evictedByHand                        atomic.Int64
	ranges, scrubbed, repaired, purged, journals, adopted, resumed atomic.Int64
	scrubCorruptions                                               atomic.Int64
	diskErrors, bytesIn                                            atomic.Int64
}

// Stats returns a snapshot.
func (s *Store) Stats() Stats {
	s.mu.RLock()
	st := Stats{
		Bytes: s.bytes, Entries: int64(len(s.entries)), Filling: int64(len(s.fills)),
		Parts: int64(len(s.parts)), Partial: s.partBytes, Pinned: s.pinned,
		MaxBytes: s.opts.MaxBytes, MinFreeBytes: s.opts.MinFreeBytes, HotMaxBytes: s.opts.HotBytes,
	}
	f := s.folder
	s.mu.RUnlock()
	st.Disk = s.disk()
	st.HotBytes = s.hot.bytes()
	st.FreeBytes = -1
	if f != nil {
		if free, err := f.free(); err == nil {
			st.FreeBytes = free
		}
	}
	c := &s.count
	st.HotHits, st.DiskHits = c.hotHits.Load(), c.diskHits.Load()
	st.Misses, st.Coalesced, st.PassThrough = c.misses.Load(), c.coalesced.Load(), c.passThrough.Load()
	st.Fills, st.FillErrors, st.Resumes = c.fills.Load(), c.fillErrors.Load(), c.resumes.Load()
	st.EvictedSize, st.EvictedFree, st.EvictedByHand = c.evictedSize.Load(), c.evictedFree.Load(), c.evictedByHand.Load()
	st.Evictions, st.Corruptions = st.EvictedSize+st.EvictedFree+st.EvictedByHand, c.corruptions.Load()
	st.Ranges = c.ranges.Load()
	st.Scrubbed, st.Repaired, st.ScrubCorruptions = c.scrubbed.Load(), c.repaired.Load(), c.scrubCorruptions.Load()
	st.Purged = c.purged.Load()
	st.Journals, st.Adopted, st.Resumed = c.journals.Load(), c.adopted.Load(), c.resumed.Load()
	st.DiskErrors, st.BytesIn = c.diskErrors.Load(), c.bytesIn.Load()
	return st
}

// Usage is how much is published below one top folder of the keys.
type Usage struct {
	Entries int64
	Bytes   int64
}

// Usage returns what is published now, by the first part of the keys.
func (s *Store) Usage() map[string]Usage {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return maps.Clone(s.usage)
}

// tally adds e to its folder's usage, or with -1 takes it away. mu is held.
func (s *Store) tally(e *entry, sign int64) {
	top, _, _ := strings.Cut(string(e.key), "/")
	u := s.usage[top]
	u.Entries += sign
	u.Bytes += sign * e.obj.Size
	if u.Entries == 0 {
		delete(s.usage, top)
		return
	}
	s.usage[top] = u
}
