package content

import (
	"io/fs"
	"slices"
	"strings"
	"unicode"

	"github.com/pureboot/pureboot/agent/cache"
	"github.com/pureboot/pureboot/central/wire"
)

// Limits of a name in bytes, which are central's too.
const (
	maxPath = 512
	maxPart = 255
)

// keyOf checks a name that a stranger sent. A key is its category and its path: what it names lies in the cache, and
// nowhere else.
func keyOf(category, path string) (cache.Key, error) {
	if !slices.Contains(wire.Categories, category) || !fs.ValidPath(path) || path == "." || len(path) > maxPath ||
		strings.Contains(path, `\`) || strings.ContainsFunc(path, unicode.IsControl) {
		return "", ErrName
	}
	for part := range strings.SplitSeq(path, "/") {
		if len(part) > maxPart {
			return "", ErrName
		}
	}
	return cache.Key(category + "/" + path), nil
}

// Split takes a key apart: its category, and the path in it.
func Split(key cache.Key) (category, path string) {
	category, path, _ = strings.Cut(string(key), "/")
	return category, path
}

// Rank orders the eviction of the cache: images go first, then scripts, then templates, and bootloaders never, since
// without them no machine gets as far as asking for anything else.
func Rank(key cache.Key) int {
	switch category, _ := Split(key); category {
	case wire.Bootloaders:
		return cache.Pinned
	case wire.Templates:
		return 2
	case wire.Scripts:
		return 1
	}
	return 0
}
