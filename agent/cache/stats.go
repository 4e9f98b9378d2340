package cache

import "sync/atomic"

// Stats counts since Open; Bytes, Entries and Filling are of now.
type Stats struct {
	Bytes   int64 `json:"bytes"` // of published objects
	Entries int64 `json:"entries"`
	Filling int64 `json:"filling"` // fills that run

	HotHits     int64 `json:"hot_hits"`
	DiskHits    int64 `json:"disk_hits"`
	Misses      int64 `json:"misses"`       // Fetches that started a fill
	Coalesced   int64 `json:"coalesced"`    // Fetches that joined a fill
	PassThrough int64 `json:"pass_through"` // readers that went to their source, from the start or from a failing disk

	Fills       int64 `json:"fills"`       // transfers that came to a good end
	FillErrors  int64 `json:"fill_errors"` // those that did not, or whose object could not be stored
	Ranges      int64 `json:"ranges"`      // parts that were fetched ahead of their fill's front
	Resumes     int64 `json:"resumes"`     // cuts that were followed by another try
	Purged      int64 `json:"purged"`
	Scrubbed    int64 `json:"scrubbed"` // bytes that Scrub has checked
	Repaired    int64 `json:"repaired"` // chunks that it has put right
	Journals    int64 `json:"journals"` // written
	Adopted     int64 `json:"adopted"`  // fills that went on with what an earlier one had left
	Resumed     int64 `json:"resumed"`  // bytes of that, verified
	Evictions   int64 `json:"evictions"`
	Corruptions int64 `json:"corruptions"` // wrong chunks received, damaged files found
	DiskErrors  int64 `json:"disk_errors"`
	BytesIn     int64 `json:"bytes_in"` // received from sources
}

type counters struct {
	hotHits, diskHits, misses, coalesced, passThrough              atomic.Int64
	fills, fillErrors, resumes, evictions, corruptions             atomic.Int64
	ranges, scrubbed, repaired, purged, journals, adopted, resumed atomic.Int64
	diskErrors, bytesIn                                            atomic.Int64
}

// Stats returns a snapshot.
func (s *Store) Stats() Stats {
	s.mu.RLock()
	st := Stats{Bytes: s.bytes, Entries: int64(len(s.entries)), Filling: int64(len(s.fills))}
	s.mu.RUnlock()
	c := &s.count
	st.HotHits, st.DiskHits = c.hotHits.Load(), c.diskHits.Load()
	st.Misses, st.Coalesced, st.PassThrough = c.misses.Load(), c.coalesced.Load(), c.passThrough.Load()
	st.Fills, st.FillErrors, st.Resumes = c.fills.Load(), c.fillErrors.Load(), c.resumes.Load()
	st.Evictions, st.Corruptions = c.evictions.Load(), c.corruptions.Load()
	st.Ranges = c.ranges.Load()
	st.Scrubbed, st.Repaired = c.scrubbed.Load(), c.repaired.Load()
	st.Purged = c.purged.Load()
	st.Journals, st.Adopted, st.Resumed = c.journals.Load(), c.adopted.Load(), c.resumed.Load()
	st.DiskErrors, st.BytesIn = c.diskErrors.Load(), c.bytesIn.Load()
	return st
}
