package content

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/pureboot/pureboot/agent/cache"
	"github.com/pureboot/pureboot/central/wire"
)

// recheckRate is how fast the disk is read for Recheck, in bytes per second: machines read it too.
const recheckRate = 64 << 20

// Rechecked is what Recheck has found.
type Rechecked struct {
	Files    int // that were looked at
	Outdated int // of those, that were replaced
	Removed  int // that central has no more
	Corrupt  int // chunks whose bytes were wrong
	Repaired int // of those; a file with one that was not is no longer in the cache
}

// Recheck doubts what the cache has of central's files, as far as match accepts their keys. What central has no more
// goes, another version than central's is replaced once that is here, and the bytes of the others are read and
// repaired. What is whole and right stays where it is, so that machines boot from it whether or not central can be
// reached. say is told how far it is. The error says what could not be replaced.
func (f *Files) Recheck(ctx context.Context, match func(key string) bool, say func(done, of int)) (Rechecked, error) {
	var found Rechecked
	var errs []error
	right := map[cache.Key]bool{}
	var all []cache.Entry
	for e := range f.opt.Cache.All() {
		if category, _ := Split(e.Key); slices.Contains(wire.Categories, category) && match(string(e.Key)) {
			all = append(all, e)
		}
	}
	found.Files = len(all)
	for _, e := range all {
		if ctx.Err() != nil {
			return found, context.Cause(ctx)
		}
		f.described.forget(e.Key)
		known, ok := f.manifest.get(e.Key)
		switch category, path := Split(e.Key); {
		case !ok && f.Epoch().Stream == "": // the manifest was never here, and says nothing
		case !ok:
			if err := f.opt.Cache.Remove(e.Key); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", e.Key, err))
			}
			found.Removed++
		case known.SHA256 == e.Object.SHA256:
			right[e.Key] = true
			continue
		default:
			if err := f.Prefetch(ctx, category, path); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", e.Key, err))
			} else {
				found.Outdated++
			}
		}
	}
	done := len(all) - len(right)
	before := f.opt.Cache.Stats()
	err := f.opt.Cache.ScrubSome(ctx, recheckRate, func(e cache.Entry) bool {
		if right[e.Key] {
			say(done, len(all))
			done++
		}
		return right[e.Key]
	})
	after := f.opt.Cache.Stats()
	found.Corrupt = int(after.ScrubCorruptions - before.ScrubCorruptions)
	found.Repaired = int(after.Repaired - before.Repaired)
	return found, errors.Join(append(errs, err)...)
}
