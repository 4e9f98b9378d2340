package cache

import (
	"errors"
	"fmt"
	"os"
)

// GetVersion returns a reader of key's published version if it is that one. It never waits for
// anything but the disk.
func (s *Store) GetVersion(key Key, version string) (*Reader, bool) {
	if version == "" {
		return nil, false
	}
	return s.get(key, objectVersion{name: version})
}

// SetMeta replaces what is kept with key's published version, durably and without touching its data. It
// reports fs.ErrNotExist if another version is published by now, or none. Readers that are open keep what
// they have.
func (s *Store) SetMeta(key Key, version string, meta []byte) error {
	s.mu.RLock()
	e := s.entries[key]
	s.mu.RUnlock()
	if e == nil || e.obj.Version != version || version == "" {
		return fmt.Errorf("%s: %w", key, os.ErrNotExist)
	}
	e.describing.Lock()
	defer e.describing.Unlock()
	rec := e.newRecord(meta)
	if err := s.folder.writeRecord(rec); err != nil {
		s.diskError("write record", key, err)
		return err
	}
	old := e.recordName()
	e.meta.Store(&meta)
	e.filed.Store(&filing{rec.name, rec.Revision, rec.length})
	e.stale.Store(false)
	e.noted.Store(0)
	s.note(e, 0)
	if e.gone.Load() {
		return errors.Join(s.folder.remove(old), s.folder.remove(rec.name))
	}
	return s.folder.remove(old)
}
