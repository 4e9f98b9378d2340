package cache

import (
	"container/heap"
	"sync"
	"sync/atomic"
	"time"
)

// entry is a published object. But for its atomics it never changes: a new version is a new entry.
type entry struct {
	key     Key
	obj     Object
	path    string
	lineage uint64    // of its records
	rank    int       // guarded by Store.mu
	stored  time.Time // its file's modification time
	began   uint64    // when its fill began, in fills; 0: before this process

	used    atomic.Int64           // last use, Unix nanoseconds
	noted   atomic.Int64           // what we told the record's file of it; 0: nothing yet
	meta    atomic.Pointer[[]byte] // what the caller keeps with it; never nil
	filed   atomic.Pointer[filing] // its record; never nil
	bad     atomic.Int64           // 1 + the number of a chunk that is damaged; 0: none is known
	stale   atomic.Bool            // by MarkStale
	gone    atomic.Bool            // no longer published; set under Store.mu
	loading atomic.Bool            // someone is bringing it into the hot tier

	describing sync.Mutex // held while its record is written again

	ranked int64 // used, as of its place in the lru
	place  int   // in the lru; -1: not in it
}

func newEntry(r *record, obj Object, used time.Time) *entry {
	e := &entry{key: r.Key, obj: obj, path: r.Path, lineage: r.lineage, stored: r.Stored, place: -1}
	e.meta.Store(&r.Meta)
	e.filed.Store(&filing{r.name, r.Revision, r.length})
	e.used.Store(used.UnixNano())
	return e
}

// filing is where an entry's record is.
type filing struct {
	name     string
	revision int64
	length   int64 // of the file, in bytes
}

func (e *entry) recordName() string { return e.filed.Load().name }

// lru orders what may be evicted: by rank, then by last use. It is guarded by Store.mu, but using an
// object takes no lock: its place is put right only when it comes up for eviction. Since times
// of use only grow, none that should come up earlier is hidden behind it.
type lru []*entry

func (l *lru) add(e *entry) {
	if e.rank == Pinned {
		return
	}
	e.ranked = e.used.Load()
	heap.Push(l, e)
}

func (l *lru) drop(e *entry) {
	if e.place >= 0 {
		heap.Remove(l, e.place)
	}
}

// dropGone drops all at once that are gone.
func (l *lru) dropGone() {
	left := (*l)[:0]
	for _, e := range *l {
		if e.gone.Load() {
			e.place = -1
			continue
		}
		e.place = len(left)
		left = append(left, e)
	}
	clear((*l)[len(left):])
	*l = left
	heap.Init(l)
}

// oldest returns the entry to evict next, or nil.
func (l *lru) oldest() *entry {
	for len(*l) > 0 {
		e := (*l)[0]
		used := e.used.Load()
		if used == e.ranked {
			return e
		}
		e.ranked = used
		heap.Fix(l, 0)
	}
	return nil
}

func (l lru) Len() int { return len(l) }

func (l lru) Less(i, j int) bool {
	if l[i].rank != l[j].rank {
		return l[i].rank < l[j].rank
	}
	return l[i].ranked < l[j].ranked
}

func (l lru) Swap(i, j int) {
	l[i], l[j] = l[j], l[i]
	l[i].place, l[j].place = i, j
}

// Push implements heap.Interface.
func (l *lru) Push(x any) {
	e := x.(*entry)
	e.place = len(*l)
	*l = append(*l, e)
}

// Pop implements heap.Interface.
func (l *lru) Pop() any {
	last := len(*l) - 1
	e := (*l)[last]
	(*l)[last] = nil
	*l = (*l)[:last]
	e.place = -1
	return e
}
