package cache

import (
	"context"
	"os"
)

// CurrentFile returns key's published version with a descriptor of its own, for who makes another version out of it. It
// is no use of the object. Its bytes are not verified: the disk may have spoiled them since.
func (s *Store) CurrentFile(key Key) (Object, *os.File, bool) {
	obj, ok := s.Current(key)
	if !ok || s.folder == nil {
		return Object{}, nil, false
	}
	e, file, err := s.openObject(key, obj.version())
	if e == nil || err != nil {
		return Object{}, nil, false
	}
	return obj, file, true
}

// Verify does for one object, at once, what Scrub does for all: afterwards it is what its digests say, or it is not here
// any more. It reports whether it is. The error is ctx's.
func (s *Store) Verify(ctx context.Context, key Key) (bool, error) {
	s.mu.RLock()
	e := s.entries[key]
	s.mu.RUnlock()
	if e == nil {
		return false, nil
	}
	if e.obj.SHA256 != (Digest{}) {
		if err := s.scrub(ctx, e, NewBudget(0)); err != nil {
			return false, err
		}
	}
	return !e.gone.Load(), nil
}

// Room returns how many bytes some objects could have together if all others went but those that are never evicted, and
// those whose fills run: they cannot go now.
func (s *Store) Room(of func(Key) bool) (int64, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.folder == nil {
		return 0, ErrNotStored
	}
	free, err := s.folder.free()
	if err != nil {
		return 0, err
	}
	promised, unwritten := s.promised(func(key Key) bool { return !of(key) })
	room := s.bytes + s.partBytes + free - s.opts.MinFreeBytes - unwritten
	if s.opts.MaxBytes > 0 {
		room = min(room, s.opts.MaxBytes-promised)
	}
	for _, e := range s.entries {
		if e.rank == Pinned && !of(e.key) {
			room -= e.obj.Size
		}
	}
	return max(room, 0), nil
}
