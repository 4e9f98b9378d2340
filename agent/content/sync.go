package content

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/pureboot/pureboot/agent/cache"
	"github.com/pureboot/pureboot/central/wire"
)

var (
	// ErrNoRoom means that the cache cannot keep a file.
	ErrNoRoom = errors.New("the cache has no room for it")
	// ErrCorrupt means that central sends other bytes than it describes.
	ErrCorrupt = cache.ErrCorrupt
)

// SetPolicy changes what is wanted at the site, and with it what the cache gives up last.
func (f *Files) SetPolicy(p *Policy) {
	f.policy.Store(p)
	f.reordered()
}

// Policy is the one in effect.
func (f *Files) Policy() *Policy { return f.policy.Load() }

// reordered tells that Rank has changed.
func (f *Files) reordered() {
	if f.opt.Reordered != nil {
		f.opt.Reordered()
	}
}

// Rank orders the eviction of the cache: what is not wanted here goes first, then what is wanted for the least reason,
// and among equals as the function Rank says.
func (f *Files) Rank(key cache.Key) int {
	rank := Rank(key)
	if rank == cache.Pinned {
		return rank
	}
	known, ok := f.manifest.get(key)
	if !ok {
		return rank
	}
	return 10*int(f.Policy().reason(key, known.Assigned, f.manifest.workflows())) + rank
}

// Wanted is a file that the policy wants here.
type Wanted struct {
	Info
	Reason Reason
	Here   bool // whole, and the version that central has

	key  cache.Key
	rank int  // among what is wanted for the same reason
	old  bool // some version of it is here
}

// Wanted returns what the policy wants, what is wanted most first, and among equals what is here: it shall not go for
// another of them that would have to be fetched.
func (f *Files) Wanted() []Wanted {
	all := f.wanted()
	slices.SortFunc(all, func(a, b Wanted) int {
		if a.Reason != b.Reason {
			return cmp.Compare(b.Reason, a.Reason)
		}
		if a.rank != b.rank {
			return cmp.Compare(b.rank, a.rank)
		}
		switch {
		case a.old && !b.old:
			return -1
		case b.old && !a.old:
			return 1
		}
		return strings.Compare(string(a.key), string(b.key))
	})
	return all
}

// wanted is Wanted in no order.
func (f *Files) wanted() []Wanted {
	policy := f.Policy()
	var all []Wanted
	f.manifest.mu.RLock()
	for key, k := range f.manifest.files {
		if reason := policy.reason(key, k.Assigned, f.manifest.needed); reason != Unwanted {
			category, path := Split(key)
			all = append(all, Wanted{
				Info:   Info{Category: category, Path: path, Size: k.Size, SHA256: k.SHA256, Modified: k.Modified},
				Reason: reason, key: key, rank: Rank(key),
			})
		}
	}
	f.manifest.mu.RUnlock() // before the cache's lock, under which Rank takes it
	for i := range all {
		var have cache.Object
		have, all[i].old = f.opt.Cache.Current(all[i].key)
		all[i].Here = all[i].old && have.SHA256 == all[i].SHA256
	}
	return all
}

// Fit parts what is wanted, in its order, into what the cache can have all at once and what it cannot.
func (f *Files) Fit(all []Wanted) (fits, rest []Wanted) {
	room := f.room(all)
	for _, w := range all {
		if w.Size > room {
			rest = append(rest, w)
			continue
		}
		room -= w.Size
		fits = append(fits, w)
	}
	return fits, rest
}

// room is how many bytes there can be of what is wanted.
func (f *Files) room(all []Wanted) int64 {
	keys := make(map[cache.Key]bool, len(all))
	for _, w := range all {
		keys[w.key] = true
	}
	room, err := f.opt.Cache.Room(func(key cache.Key) bool { return keys[key] })
	if err != nil {
		return 0 // the disk gives nothing
	}
	return room
}

// Bring has the cache fetch the current version of a file, and waits until it is there, whole. Nobody's request waits
// for it, so that it comes after all that somebody waits for. received counts the bytes that come over the network for
// it. Errors: ErrName, fs.ErrNotExist, ErrNoRoom, ErrCorrupt, why it cannot be had, the end of ctx.
func (f *Files) Bring(ctx context.Context, file Info, received *atomic.Int64) error {
	key, err := keyOf(file.Category, file.Path)
	if err != nil {
		return err
	}
	err = f.bring(ctx, key, received, true)
	if errors.Is(err, errReplaced) {
		f.described.forget(key)
		err = f.bring(ctx, key, received, false)
	}
	if errors.Is(err, cache.ErrNotStored) {
		return fmt.Errorf("%w: %w", ErrNoRoom, err)
	}
	return err
}

// Verify compares a file that is here with its digests, and has it repaired. It reports whether it is here, and right.
func (f *Files) Verify(ctx context.Context, file Info) (bool, error) {
	ok, err := f.opt.Cache.Verify(ctx, file.Key())
	return ok && f.holds(file.Key(), file.SHA256), err
}

// Arrived returns how many bytes there are of files, CATEGORY/PATH, that are being fetched.
func (f *Files) Arrived(names map[string]bool) (n int64) {
	for _, e := range f.opt.Cache.Unfinished() {
		if e.Filling && names[string(e.Key)] {
			n += e.Have
		}
	}
	return n
}

// Missing returns how many files the next sync would fetch.
func (f *Files) Missing() (n int) {
	all, size := f.wanted(), int64(0)
	for _, w := range all {
		if size += w.Size; !w.Here {
			n++
		}
	}
	if n == 0 || size <= f.room(all) {
		return n
	}
	n = 0
	fits, _ := f.Fit(f.Wanted())
	for _, w := range fits {
		if !w.Here {
			n++
		}
	}
	return n
}

// describeSmall returns what a file of a single chunk is made of, which the manifest says already.
func (f *Files) describeSmall(key cache.Key) (cache.Object, bool) {
	k, ok := f.manifest.get(key)
	if !ok || k.Size > wire.ChunkSize {
		return cache.Object{}, false
	}
	obj := cache.Object{Size: k.Size, SHA256: k.SHA256, Modified: k.Modified, Chunks: []cache.Digest{k.SHA256}}
	if k.Size == 0 {
		obj.Chunks = nil
	}
	return obj, obj.Validate() == nil
}
