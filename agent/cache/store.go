package cache

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"math"
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

	Tries int           // calls of a Source in a row that bring no byte before a fill gives up; 0: 6
	Stall time.Duration // how long a Source may send nothing before it counts as cut; 0: 30 s

	Log *slog.Logger // nil: slog.Default
}

// Store is safe for use by many goroutines. One process at a time may have a Dir open.
type Store struct{}

// Open recovers the store in opts.Dir. What a crash left unfinished is deleted, what was published
// is there.
func Open(opts Options) (*Store, error) { return nil, errors.ErrUnsupported }

// Close stops the fills and waits for every goroutine of the store. Readers of whole objects stay
// usable; those that wait for a fill get ErrClosed.
func (s *Store) Close() error { return errors.ErrUnsupported }

// Get returns a reader of key if exactly this version of it is here, whole. It never waits for
// anything but the disk.
func (s *Store) Get(key Key, digest Digest) (*Reader, bool) { return nil, false }

// Current returns the identity of key's published version, whichever that is. Get with its digest
// reads it, unless it was evicted or replaced in between.
func (s *Store) Current(key Key) (Object, bool) { return Object{}, false }

// Fetch returns a reader of exactly obj: from here if it is whole here, else following the one fill
// of (key, obj.SHA256), which is started with src if none runs. The fill goes on when ctx ends.
//
// Where the object cannot be stored (no space, a failing disk), also when that turns out half-way,
// the reader goes on straight from src, with the same verification: such a reader costs a transfer
// of its own, and its Tier is TierPass. ctx bounds every Read of the returned reader.
//
// Fetch itself fails only for a bad key or object, a closed store, the end of ctx, or a fill that had
// failed already; the errors of the transfer come from Ready and Read.
func (s *Store) Fetch(ctx context.Context, key Key, obj Object, src Source) (*Reader, error) {
	return nil, errors.ErrUnsupported
}

// Remove forgets key's published version, durably. Its open readers finish; a running fill of key
// still publishes. A key that is not here is no error.
func (s *Store) Remove(key Key) error { return errors.ErrUnsupported }

// Entry describes a published object to a person or a policy.
type Entry struct {
	Key      Key
	Object   Object
	LastUsed time.Time // exact while running, to the hour over a restart
}

// All yields the published objects in no order, as of the call: an object may be gone when it
// is yielded.
func (s *Store) All() iter.Seq[Entry] { return nil }

// SetLimits changes MaxBytes and MinFreeBytes and evicts down to them.
func (s *Store) SetLimits(maxBytes, minFreeBytes int64) {}

// Stats counts since Open; Bytes, Entries and Filling are of now.
type Stats struct {
	Bytes   int64 // of published objects
	Entries int64
	Filling int64 // fills that run

	HotHits     int64
	DiskHits    int64
	Misses      int64 // Fetches that started a fill
	Coalesced   int64 // Fetches that joined a fill
	PassThrough int64 // readers that went to their source, uncached

	Fills       int64 // published
	FillErrors  int64 // fills that ended otherwise
	Resumes     int64 // cuts that were followed by another try
	Evictions   int64
	Corruptions int64 // wrong chunks received, wrong files found
	DiskErrors  int64
	BytesIn     int64 // received from sources
}

// Stats returns a snapshot.
func (s *Store) Stats() Stats { return Stats{} }
