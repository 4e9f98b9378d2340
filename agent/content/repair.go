package content

import (
	"slices"

	"github.com/pureboot/pureboot/agent/cache"
	"github.com/pureboot/pureboot/central/wire"
)

// Repair returns a source of exactly that version of a file, with which the cache puts right what the disk has
// spoiled; nil for what is not central's.
func (f *Files) Repair(key cache.Key, obj cache.Object) cache.Source {
	category, _ := Split(key)
	if f.opt.Central == nil || !slices.Contains(wire.Categories, category) {
		return nil
	}
	return f.source(key, obj, nil)
}
