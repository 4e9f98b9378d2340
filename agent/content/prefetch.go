package content

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pureboot/pureboot/agent/cache"
	"github.com/pureboot/pureboot/central/wire"
)

// Known returns the files that central has as far as the site knows, in the order of their keys.
func (f *Files) Known() []Info {
	f.manifest.mu.RLock()
	defer f.manifest.mu.RUnlock()
	all := make([]Info, 0, len(f.manifest.files))
	for key, k := range f.manifest.files {
		category, path := Split(key)
		all = append(all, Info{Category: category, Path: path, Size: k.Size, SHA256: k.SHA256, Modified: k.Modified})
	}
	slices.SortFunc(all, func(a, b Info) int { return strings.Compare(string(a.Key()), string(b.Key())) })
	return all
}

// Key is the file's name in the cache.
func (i Info) Key() cache.Key { return cache.Key(i.Category + "/" + i.Path) }

// Is is whether an object is what central has under its name, as far as the site knows.
func (f *Files) Is(key cache.Key, obj cache.Object) bool {
	known, ok := f.manifest.get(key)
	return ok && known.SHA256 == obj.SHA256
}

// Prefetch is Bring of a file that the manifest need not name.
func (f *Files) Prefetch(ctx context.Context, category, path string) error {
	return f.Bring(ctx, Info{Category: category, Path: path}, nil)
}

// bring fetches a file. If trust is set, the manifest's word is enough for what a small one is made of.
func (f *Files) bring(ctx context.Context, key cache.Key, received *atomic.Int64, trust bool) error {
	if have, ok := f.opt.Cache.Current(key); ok && f.Is(key, have) {
		return nil
	}
	obj, ok := cache.Object{}, false
	if trust && f.opt.Central != nil {
		obj, ok = f.describeSmall(key)
	}
	if !ok {
		var err error
		if obj, err = f.identify(ctx, key); err != nil {
			return err
		}
	}
	r, err := f.opt.Cache.Fetch(ctx, key, obj, f.patched(key, obj, f.source(key, obj, received)))
	if err != nil {
		return err
	}
	return errors.Join(r.Stored(), r.Close())
}

const day = 24 * time.Hour

// Retention is for how long a file is kept that nobody asks for; 0: for ever. What is no file of central's has that of
// images.
func Retention(key cache.Key) time.Duration {
	switch category, _ := Split(key); category {
	case wire.Bootloaders:
		return 0
	case wire.Scripts:
		return day
	case wire.Templates:
		return 7 * day
	}
	return 30 * day
}
