package content

import (
	"context"
	"errors"
	"slices"
	"strings"
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

// Prefetch has the cache bring a file, and waits until it is there, whole. Nobody's request waits for it, so that it
// comes after all that somebody waits for. Errors: ErrName, fs.ErrNotExist, why it cannot be had, the end of ctx.
func (f *Files) Prefetch(ctx context.Context, category, path string) error {
	key, err := keyOf(category, path)
	if err != nil {
		return err
	}
	err = f.bring(ctx, key)
	if errors.Is(err, errReplaced) {
		f.described.forget(key)
		err = f.bring(ctx, key)
	}
	return err
}

func (f *Files) bring(ctx context.Context, key cache.Key) error {
	if have, ok := f.opt.Cache.Current(key); ok && f.Is(key, have) {
		return nil
	}
	obj, err := f.identify(ctx, key)
	if err != nil {
		return err
	}
	r, err := f.opt.Cache.Fetch(ctx, key, obj, f.source(key, obj))
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
