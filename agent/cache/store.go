package cache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"log/slog"
	"maps"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Pinned is the rank of what is never evicted.
const Pinned = math.MaxInt

// Options of a Store. A zero field means the default its comment states.
type Options struct {
	// Dir holds the objects in their keys' own paths. It is made if missing, and must be empty or
	// a cache: Open deletes what it does not know in it.
	Dir string

	MaxBytes     int64 // of all objects on disk, running fills included; 0: no cap
	MinFreeBytes int64 // left free on Dir's filesystem; 0: none
	HotBytes     int64 // of memory for small objects; 0: no hot tier
	HotMaxObject int64 // the largest object the hot tier takes, in bytes; 0: 1 MiB

	// Rank orders eviction: a lower rank goes first, least recently used first within a rank,
	// and Pinned never. It must be pure. nil: all alike.
	Rank func(Key) int

	// Admit is asked to pay for n bytes that were read from a source, before more are read; it may wait, as
	// Budget's does. An error ends the transfer. nil: they cost nothing.
	Admit func(ctx context.Context, n int, load Load) error

	// Repair returns a source of exactly obj for Scrub, or nil. nil: Scrub drops what is damaged.
	Repair func(key Key, obj Object) Source

	Tries int           // calls of a Source in a row that bring no byte before a fill gives up; 0: 6
	Stall time.Duration // how long a Source may send nothing before it counts as cut; 0: 30 s

	Log *slog.Logger // nil: slog.Default
}

// Store is safe for use by many goroutines. One process at a time may have a Dir open.
type Store struct {
	opts    Options // the limits in it are guarded by mu
	log     *slog.Logger
	folder  *folder // nil while it cannot be opened; guarded by mu until it is
	hot     *hotTier
	count   counters
	ctx     context.Context // the fills': ends with Close
	stop    context.CancelCauseFunc
	running sync.WaitGroup
	buffers sync.Pool // of *[ChunkSize]byte

	health   health
	relays   atomic.Int64 // that there are
	readOnly atomic.Bool  // the folder takes no writes: what is in it is served, and nothing else stored

	marking sync.Mutex // held while marks are written, which name those that were there before; taken before mu

	createPart func(name string, keep bool) (part, error)

	// mu guards what follows and ties it to the names on disk: a published name changes with its
	// entry or not at all. It is taken before any fill's mu. What is done under it is quick: no
	// sync, no transfer, no freeing of a large file's blocks.
	mu        sync.RWMutex
	closed    bool
	entries   map[Key]*entry
	fills     map[fillID]*fill
	adrift    map[*fill]struct{} // those that nobody joins any more
	began     uint64             // fills begun
	names     *names
	lru       lru
	rank      func(Key) int
	bytes     int64            // of entries
	parts     map[Key]*journal // what ended fills have left to later ones
	partBytes int64            // of parts
	pinned    int64            // of entries that are never evicted
	usage     map[string]Usage // of entries, by the first part of their keys
}

// Open recovers the store in opts.Dir. What a crash left unfinished is deleted, what was published
// is there. If the disk gives nothing, or takes nothing, the store opens all the same and passes through what it
// cannot store; Stats.Disk says so. It is an error if Dir is in use, or holds something else.
func Open(opts Options) (*Store, error) {
	opts.HotMaxObject = cmp.Or(opts.HotMaxObject, 1<<20)
	opts.Tries = cmp.Or(opts.Tries, 6)
	opts.Stall = cmp.Or(opts.Stall, 30*time.Second)
	opts.Log = cmp.Or(opts.Log, slog.Default())
	if opts.Rank == nil {
		opts.Rank = func(Key) int { return 0 }
	}

	f, openErr := openFolder(opts.Dir)
	err := openErr
	if errors.Is(err, errInUse) || errors.Is(err, errForeign) {
		return nil, fmt.Errorf("open cache: %w", err)
	}
	s := &Store{
		opts: opts, log: opts.Log, rank: opts.Rank, folder: f, names: newNames(false), health: health{disk: Disk{State: DiskOK, Since: time.Now()}},
		buffers: sync.Pool{New: func() any { return new([ChunkSize]byte) }},
		entries: map[Key]*entry{}, parts: map[Key]*journal{}, fills: map[fillID]*fill{}, adrift: map[*fill]struct{}{}, usage: map[string]Usage{},
	}
	s.createPart = func(name string, keep bool) (part, error) { return s.folder.openPart(name, keep) }
	s.ctx, s.stop = context.WithCancelCause(context.Background())
	if s.hot, err = newHotTier(opts.HotBytes, opts.HotMaxObject); err != nil {
		return nil, errors.Join(fmt.Errorf("hot tier: %w", err), f.close())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if f == nil {
		s.diskError("open cache", "", openErr)
	} else if err := s.recover(); err != nil {
		s.folder = nil
		s.diskError("recover cache", "", errors.Join(err, f.close()))
	}
	return s, nil
}

// Close stops the fills and waits for every goroutine of the store. Readers of whole objects stay
// usable; those that wait for a fill get ErrClosed.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return ErrClosed
	}
	s.closed = true
	s.mu.Unlock()
	s.health.mu.Lock()
	s.health.closed = true
	s.health.mu.Unlock()
	s.stop(ErrClosed)
	s.running.Wait()
	s.hot.close()
	if s.folder == nil {
		return nil
	}
	if !s.readOnly.Load() {
		for _, e := range s.entries {
			s.note(e, time.Second)
		}
		s.writeIndex()
	}
	return s.folder.close()
}

// Current returns the identity of key's published version, whichever that is. Get with its digest
// reads it, unless it was evicted or replaced in between.
func (s *Store) Current(key Key) (Object, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if e := s.entries[key]; e != nil {
		return e.obj, true
	}
	return Object{}, false
}

// Lookup describes key's published version.
func (s *Store) Lookup(key Key) (Entry, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if e := s.entries[key]; e != nil {
		return e.describe(), true
	}
	return Entry{}, false
}

func (e *entry) describe() Entry {
	return Entry{
		Key: e.key, Object: e.obj, Meta: *e.meta.Load(), Stale: e.stale.Load(), Have: e.obj.Size, LastUsed: time.Unix(0, e.used.Load()),
	}
}

// Remove forgets key's published version, and what is left of an unfinished one, durably. Its open readers finish; a
// running fill of key still publishes. A key that is not here is no error.
func (s *Store) Remove(key Key) error {
	s.mu.RLock()
	e, part, closed := s.entries[key], s.parts[key] != nil, s.closed
	s.mu.RUnlock()
	if closed {
		return ErrClosed
	}
	if part {
		s.dropParts(func(j *journal) bool { return j.Key == key })
		if err := s.folder.sync(partDir); err != nil {
			return err
		}
	}
	if e == nil {
		return nil
	}
	s.lose(e)
	for dir := range above(e.path) {
		if err := s.folder.sync(dir); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return s.folder.sync(".")
}

// Entry describes an object to a person or a policy.
type Entry struct {
	Key      Key
	Object   Object
	Meta     []byte    // what the caller has kept with it
	Stale    bool      // see MarkStale
	Have     int64     // bytes that are here: all of a published object
	Partial  bool      // not published, see Unfinished
	Filling  bool      // of what is not published, it is being fetched
	LastUsed time.Time // exact but for a crash, after which it may be an hour early
}

// All yields the published objects in no order, as of the call: an object may be gone when it
// is yielded.
func (s *Store) All() iter.Seq[Entry] {
	entries := s.published()
	return func(yield func(Entry) bool) {
		for e := range entries {
			if !yield(e.describe()) {
				return
			}
		}
	}
}

// published yields the entries as of the call.
func (s *Store) published() iter.Seq[*entry] {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Values(slices.Collect(maps.Values(s.entries)))
}
