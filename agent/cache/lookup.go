package cache

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"
)

// noteUse is how far a record's idea of an object's last use may lag behind while the store runs.
const noteUse = time.Hour

// Get returns a reader of key if exactly this version of it is here, whole. It never waits for
// anything but the disk.
func (s *Store) Get(key Key, digest Digest) (*Reader, bool) {
	return s.get(key, objectVersion{digest: digest})
}

func (s *Store) get(key Key, version objectVersion) (*Reader, bool) {
	r, err := s.warm(s.lookup(key, version))
	if r == nil || err != nil {
		return nil, false
	}
	return s.fetched(r), true
}

// lookup finds a whole object in memory or on disk: nil if it is not here, an error if it
// is but the disk will not give it.
func (s *Store) lookup(key Key, version objectVersion) (*Reader, error) {
	r := &Reader{store: s, ctx: context.Background(), key: key}
	if o := s.hot.get(key, version); o != nil {
		s.use(o.entry)
		r.tier, r.obj, r.meta, r.memory = TierHot, o.entry.obj, *o.entry.meta.Load(), o.data
		return r, nil
	}
	e, file, err := s.openObject(key, version)
	if e == nil || err != nil {
		return nil, err
	}
	s.use(e)
	r.tier, r.obj, r.meta, r.file, r.entry = TierDisk, e.obj, *e.meta.Load(), file, e
	return r, nil
}

// openObject opens a published file. A file that is missing or of the wrong size is given up: it is
// fetched again.
func (s *Store) openObject(key Key, version objectVersion) (*entry, *os.File, error) {
	s.mu.RLock()
	e := s.entries[key]
	if s.closed || e == nil || e.obj.version() != version {
		s.mu.RUnlock()
		return nil, nil, nil
	}
	file, err := s.folder.root.Open(e.path)
	s.mu.RUnlock()
	var info os.FileInfo
	if err == nil {
		if info, err = file.Stat(); err == nil && info.Size() == e.obj.Size {
			return e, file, nil
		}
		file.Close()
	}
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		s.count.corruptions.Add(1)
		s.log.Warn("published file is damaged, dropping it", "key", key, "err", err)
		s.lose(e)
		return nil, nil, nil
	}
	s.diskError("open object", key, err)
	return nil, nil, err
}

// warm brings a looked up object into memory if it comes from the disk and is small: at its first hit,
// not when it is published, because most of what is prefetched is never asked for. One reader
// does it, the others of that moment read the file. Since all of it is read, it is verified too.
func (s *Store) warm(r *Reader, err error) (*Reader, error) {
	if err != nil || r == nil || r.entry == nil || !s.hot.takes(r.obj.Size) || !r.entry.loading.CompareAndSwap(false, true) {
		return r, err
	}
	defer r.entry.loading.Store(false)
	data := make([]byte, r.obj.Size)
	if _, err := r.file.ReadAt(data, 0); err != nil {
		r.file.Close()
		s.diskError("read object", r.key, err)
		s.lose(r.entry)
		return nil, err
	}
	if !r.obj.is(data) {
		r.file.Close()
		s.count.corruptions.Add(1)
		s.log.Warn("published file is damaged, dropping it", "key", r.key)
		s.lose(r.entry)
		return nil, nil
	}
	s.hot.put(s, r.entry, data)
	return r, nil
}

// use makes e the most recently used.
func (s *Store) use(e *entry) {
	e.used.Store(time.Now().UnixNano())
	s.note(e, noteUse)
}

// note tells e's record of its last use if the record is more than lag behind.
func (s *Store) note(e *entry, lag time.Duration) {
	used, noted := e.used.Load(), e.noted.Load()
	if used-noted <= int64(lag) || s.readOnly.Load() || !e.noted.CompareAndSwap(noted, used) {
		return
	}
	if err := s.folder.touched(e.recordName(), time.Unix(0, used)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.diskError("note last use", e.key, err)
	}
}

// lose unpublishes an entry that turned out to be no good, unless it is gone already.
func (s *Store) lose(e *entry) {
	var freed closers
	defer freed.close()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed && !e.gone.Load() {
		s.unpublish(e, &freed)
	}
}
