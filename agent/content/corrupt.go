package content

import (
	"errors"
	"slices"
	"sync"

	"github.com/pureboot/pureboot/agent/cache"
)

// maxCorrupt bounds how many files are remembered that central does not send right; more say nothing new.
const maxCorrupt = 100

// corrupt remembers the versions of which central sent other bytes than it describes, twice in a row. It is safe for
// concurrent use.
type corrupt struct {
	mu    sync.Mutex
	files map[cache.Key]cache.Digest
}

// note remembers a version if that is what an error of its reading says.
func (c *corrupt) note(key cache.Key, digest cache.Digest, err error) {
	if !errors.Is(err, cache.ErrCorrupt) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.files == nil {
		c.files = map[cache.Key]cache.Digest{}
	}
	if _, known := c.files[key]; known || len(c.files) < maxCorrupt {
		c.files[key] = digest
	}
}

// Corrupt returns the files that central does not send as it describes them, by name. One that came right since, or of
// which central has another version, is none any more.
func (f *Files) Corrupt() []cache.Key {
	c := &f.corrupt
	c.mu.Lock()
	defer c.mu.Unlock()
	var keys []cache.Key
	for key, digest := range c.files {
		if known, ok := f.manifest.get(key); !ok || known.SHA256 != digest || f.holds(key, digest) {
			delete(c.files, key)
			continue
		}
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
