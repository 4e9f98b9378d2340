package content

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/pureboot/pureboot/agent/cache"
	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/durable"
)

const manifestFile = "manifest.json"

// manifest says what central's files are, as far as the site knows. It is safe for concurrent use.
type manifest struct {
	dir string

	mu    sync.RWMutex
	epoch wire.Epoch
	files map[cache.Key]known
	ahead map[cache.Key]word // what central said of single files later than epoch

	needed *needed // what workflows name; nil: central has not said
}

// known is what a name stands for.
type known struct {
	Size     int64        `json:"size"`
	SHA256   cache.Digest `json:"sha256"`
	Modified time.Time    `json:"modified"`
	Assigned bool         `json:"assigned,omitempty"` // to the site
}

// word is what central said of a file at an epoch.
type word struct {
	known
	at wire.Epoch
}

// stored is the manifest's form on disk.
type stored struct {
	Format int                 `json:"format"`
	Epoch  wire.Epoch          `json:"epoch"`
	Files  map[cache.Key]known `json:"files"`
	Needed *wire.Needed        `json:"needed,omitempty"`
}

// manifestFormat is that of the file. One of an earlier build, which knew less, says what the files are until central
// has been asked for all.
const manifestFormat = 2

// loadManifest returns an empty manifest, and why, when there is none that can be read.
func loadManifest(dir string) (*manifest, error) {
	m := &manifest{dir: dir, files: map[cache.Key]known{}, ahead: map[cache.Key]word{}}
	text, err := os.ReadFile(filepath.Join(dir, manifestFile))
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err != nil {
		return m, err
	}
	var s stored
	if err := json.Unmarshal(text, &s); err != nil {
		return m, fmt.Errorf("%s: %w", manifestFile, err)
	}
	if s.Files != nil {
		m.files = s.Files
	}
	if s.Format != manifestFormat {
		return m, nil
	}
	if s.Needed != nil {
		if m.needed, err = newNeeded(*s.Needed); err != nil {
			return m, fmt.Errorf("%s: %w", manifestFile, err)
		}
	}
	m.epoch = s.Epoch
	return m, nil
}

// workflows returns what workflows name.
func (m *manifest) workflows() *needed {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.needed
}

// tag is what central is told of that.
func (m *manifest) tag() string { return m.workflows().tag() }

func (m *manifest) get(key cache.Key) (known, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	k, ok := m.files[key]
	return k, ok
}

// learn takes central's word on one file, ahead of the next pull. It is kept in memory only: after a restart central
// or the next pull says it again.
func (m *manifest) learn(key cache.Key, k known, at wire.Epoch) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k.Assigned = m.files[key].Assigned // of which central did not speak
	m.files[key] = k
	if !m.epoch.Covers(at) {
		m.ahead[key] = word{k, at}
	}
}

func (m *manifest) remove(key cache.Key) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.files, key)
	delete(m.ahead, key)
}

// apply takes a pull over.
func (m *manifest) apply(p pulled) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if p.full {
		m.files = make(map[cache.Key]known, len(p.changes))
	}
	for key, change := range p.changes {
		if change == nil {
			delete(m.files, key)
		} else {
			m.files[key] = *change
		}
	}
	// A file may have been asked for while the pages were read, and be newer than they are.
	for key, w := range m.ahead {
		if w.at.Stream == p.epoch.Stream && w.at.N > p.epoch.N {
			newer := w.known
			newer.Assigned = m.files[key].Assigned
			m.files[key] = newer
		} else {
			delete(m.ahead, key)
		}
	}
	m.epoch = p.epoch
	if p.needed != nil {
		m.needed = p.needed
	}
}

// save replaces the manifest on disk; a crash leaves the old one or the new one, whole.
func (m *manifest) save() error {
	m.mu.RLock()
	s := stored{Format: manifestFormat, Epoch: m.epoch, Files: m.files}
	if m.needed != nil {
		s.Needed = &m.needed.said
	}
	text, err := json.Marshal(s)
	m.mu.RUnlock()
	if err != nil {
		return fmt.Errorf("encode the manifest: %w", err)
	}
	if err := durable.Replace(filepath.Join(m.dir, manifestFile), text, 0o600); err != nil {
		return fmt.Errorf("keep the manifest: %w", err)
	}
	return nil
}
