package cache

import (
	"fmt"
	"path"
	"time"
)

// publish makes the part file the key's object: data and record reach the disk first, then one
// rename is the commit, and what it replaced goes last. A crash at any point leaves the old
// version or the new one, whole. It reports whether the part file has got its name.
func (s *Store) publish(f *fill) (published bool, err error) {
	if err := f.part.Sync(); err != nil {
		return false, s.notStored(f, "sync part file", err)
	}
	info, err := f.part.Stat()
	if err != nil {
		return false, s.notStored(f, "sync part file", err)
	}
	obj, err := f.sealed()
	if err != nil {
		return false, err
	}
	rec := newRecord(f.id.key, f.path, obj, info.ModTime())
	rec.Meta = f.meta
	defer func() {
		if !published {
			s.folder.remove(rec.name) // an orphan: the next Open would find it too
		}
	}()
	if err := s.folder.writeRecord(rec); err != nil {
		return false, s.notStored(f, "write record", err)
	}
	if err := s.folder.parents(f.path); err != nil {
		return false, s.notStored(f, "make directories", err)
	}
	e := newEntry(rec, obj, time.Now())
	e.began = f.began
	old, published, err := s.commit(f, e)
	if !published {
		return false, err
	}
	if err := s.folder.sync(path.Dir(f.path)); err != nil {
		s.lose(e)
		return true, s.notStored(f, "sync directory", err)
	}
	if old != nil {
		if err := s.folder.remove(old.recordName()); err != nil {
			s.diskError("remove old record", old.key, err)
		}
	}
	s.well()
	return true, nil
}

// sealed is f's object with the digest of what has come, where nobody said beforehand what that would be: a byte that
// the disk spoils later is then found. What came in order was hashed as it came, and only the rest is read again.
func (f *fill) sealed() (Object, error) {
	obj := f.object()
	if obj.SHA256 != (Digest{}) {
		return obj, nil
	}
	var err error
	obj.SHA256, err = f.digest()
	return obj, err
}

// commit gives the part file its name and the index the entry, in one critical section with the
// end of the fill: whoever looks under mu finds the running fill or the published object, never
// neither, so no Fetch that comes at the end of a fill starts another. A version whose fill
// began later stays; this one then was only for its readers.
func (s *Store) commit(f *fill, e *entry) (old *entry, published bool, err error) {
	var freed closers
	defer freed.close() // after mu
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.purged.Load() {
		return nil, false, errPurged
	}
	old = s.entries[e.key]
	if old != nil {
		if old.began > e.began {
			return nil, false, nil
		}
		freed.add(s.folder.linger(old.path))
	}
	if err := s.folder.root.Rename(f.partName, f.path); err != nil {
		return nil, false, s.notStored(f, "publish", err)
	}
	s.names.hold(e.key)
	if old != nil {
		s.forget(old)
		s.hot.drop(old.key)
		s.release(old.key)
	}
	s.remember(e)
	delete(s.fills, f.id)
	return old, true, nil
}

// notStored turns a failing disk into the end of a fill that its readers survive.
func (s *Store) notStored(f *fill, action string, err error) error {
	s.diskError(action, f.id.key, err)
	if !isFull(err) {
		s.unwell(DiskFailing, action+": "+err.Error(), true)
	}
	return fmt.Errorf("%w: %s: %w", ErrNotStored, action, err)
}
