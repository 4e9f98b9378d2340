package content

import (
	"context"
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
)

const (
	manifestFile = "manifest.json"
	maxFiles     = 1_000_000 // more than that is no manifest of boot files, but a fault
)

// known is what a name stands for at the known epoch.
type known struct {
	Size     int64        `json:"size"`
	SHA256   cache.Digest `json:"sha256"`
	Modified time.Time    `json:"modified"`
}

// manifest says what central's files are, as far as the site knows. It is safe for concurrent use.
type manifest struct {
	dir string

	mu    sync.RWMutex
	epoch wire.Epoch
	files map[cache.Key]known

	pull sync.Mutex // one pull at a time
}

// stored is the manifest's form on disk.
type stored struct {
	Epoch wire.Epoch          `json:"epoch"`
	Files map[cache.Key]known `json:"files"`
}

// loadManifest returns an empty manifest, and why, when there is none that can be read.
func loadManifest(dir string) (*manifest, error) {
	m := &manifest{dir: dir, files: map[cache.Key]known{}}
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
		m.epoch, m.files = s.Epoch, s.Files
	}
	return m, nil
}

func (m *manifest) get(key cache.Key) (known, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	k, ok := m.files[key]
	return k, ok
}

// learn takes central's word on one file, ahead of the next pull. It is kept in memory only: after a restart central
// or the next pull says it again.
func (m *manifest) learn(key cache.Key, k known) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.files[key] = k
}

func (m *manifest) remove(key cache.Key) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.files, key)
}

// Epoch returns up to where central's changes of content are known here; zero at first.
func (f *Files) Epoch() wire.Epoch {
	f.manifest.mu.RLock()
	defer f.manifest.mu.RUnlock()
	return f.manifest.epoch
}

// Pull learns what changed at central up to an epoch; it does nothing if that is known. What central removed leaves
// the cache. After an error nothing is changed.
func (f *Files) Pull(ctx context.Context, to wire.Epoch) error {
	m := f.manifest
	m.pull.Lock()
	defer m.pull.Unlock()
	since := f.Epoch()
	if since.Covers(to) {
		return nil
	}
	full, items, epoch, err := f.pages(ctx, since)
	if err != nil {
		return fmt.Errorf("pull the manifest: %w", err)
	}
	gone := m.apply(full, items, epoch)
	if full {
		// Also what an earlier run fetched and this manifest never listed.
		for e := range f.opt.Cache.All() {
			if _, ok := m.get(e.Key); !ok {
				gone = append(gone, e.Key)
			}
		}
	}
	for _, key := range gone {
		if err := f.opt.Cache.Remove(key); err != nil {
			f.opt.Log.Warn("removed file still in the cache", "key", key, "err", err)
		}
	}
	f.opt.Log.Info("manifest pulled", "epoch", epoch, "full", full, "changes", len(items), "removed", len(gone))
	return m.save()
}

// pages reads every page, or none.
func (f *Files) pages(ctx context.Context, since wire.Epoch) (full bool, items []wire.ManifestItem, epoch wire.Epoch, err error) {
	cursor := ""
	for first := true; ; first = false {
		page, err := f.opt.Central.Manifest(ctx, since, cursor)
		if err != nil {
			return false, nil, epoch, err
		}
		if first {
			// What changes while the pages are read is listed again after this epoch.
			full, epoch = page.Full, page.Epoch
		} else if page.Full != full || page.Epoch.Stream != epoch.Stream {
			return false, nil, epoch, errors.New("central began its history anew between two pages")
		}
		if items = append(items, page.Items...); len(items) > maxFiles {
			return false, nil, epoch, fmt.Errorf("more than %d files", maxFiles)
		}
		if page.Next == "" {
			return full, items, epoch, nil
		}
		if len(page.Items) == 0 {
			return false, nil, epoch, errors.New("an empty page that is not the last")
		}
		cursor = page.Next
	}
}

// apply takes the items over and returns the keys that central no longer has.
func (m *manifest) apply(full bool, items []wire.ManifestItem, epoch wire.Epoch) (gone []cache.Key) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := m.files
	if full {
		m.files = make(map[cache.Key]known, len(items))
	}
	for _, item := range items {
		key, err := keyOf(item.Category, item.Path)
		if err != nil {
			continue // not a file that anything could ask for
		}
		digest, err := cache.ParseDigest(item.SHA256)
		if item.Removed || err != nil || item.Size < 0 {
			delete(m.files, key)
			gone = append(gone, key)
			continue
		}
		m.files[key] = known{Size: item.Size, SHA256: digest, Modified: item.Modified}
	}
	if full {
		for key := range before {
			if _, ok := m.files[key]; !ok {
				gone = append(gone, key)
			}
		}
	}
	m.epoch = epoch
	return gone
}

// save replaces the manifest on disk; a crash leaves the old one or the new one. It need not be durable, since
// central says again what is lost.
func (m *manifest) save() error {
	m.mu.RLock()
	text, err := json.Marshal(stored{Epoch: m.epoch, Files: m.files})
	m.mu.RUnlock()
	if err != nil {
		return fmt.Errorf("encode the manifest: %w", err)
	}
	tmp := filepath.Join(m.dir, "."+manifestFile)
	if err := os.WriteFile(tmp, text, 0o600); err != nil {
		return fmt.Errorf("keep the manifest: %w", err)
	}
	return os.Rename(tmp, filepath.Join(m.dir, manifestFile))
}
