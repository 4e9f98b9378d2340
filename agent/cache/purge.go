package cache

import (
	"cmp"
	"errors"
	"path"
	"slices"
)

// Gone is what was taken out of a store.
type Gone struct {
	Objects int   `json:"objects"` // unfinished ones included
	Bytes   int64 `json:"bytes"`
}

// Purge forgets the objects that match accepts, durably and at once; their files are deleted afterwards. What is
// parked goes too, and what a running fill brings is for its readers alone: who comes later begins another. Open
// readers finish. match may look at all of an Entry: a prefix or category of its Key, a tag in its Meta (which a fill
// has once its origin has answered); it must be quick and may not call the store.
//
// An error says that what is gone may be back after a crash.
func (s *Store) Purge(match func(Entry) bool) (Gone, error) {
	found, err := s.matching(match)
	if err != nil {
		return Gone{}, err
	}
	gone, err := s.forgetAll(found, 0)
	if err != nil || gone == nil {
		return Gone{}, err
	}
	defer s.running.Done()
	s.count.purged.Add(int64(gone.n.Objects))
	intent, err := s.folder.writePurge(gone)
	if err != nil {
		s.diskError("write purge", "", err)
		return gone.n, errors.Join(err, s.deleteForgotten(gone)) // a disk that is full can still forget
	}
	s.running.Go(func() {
		if s.deleteForgotten(gone) == nil {
			if err := s.folder.remove(intent); err != nil {
				s.diskError("remove purge", "", err)
			}
		}
	})
	return gone.n, nil
}

// Evict forgets the objects that match accepts (see Purge) but for those that are Pinned, the least needed first, until
// most bytes are gone; 0: all of them. Unlike Purge it promises nothing: after a crash some may be back.
func (s *Store) Evict(most int64, match func(Entry) bool) (Gone, error) {
	found, err := s.matching(func(e Entry) bool { return s.rank(e.Key) != Pinned && match(e) })
	if err != nil {
		return Gone{}, err
	}
	found.fills = nil
	gone, err := s.forgetAll(found, most)
	if err != nil || gone == nil {
		return Gone{}, err
	}
	defer s.running.Done()
	s.count.evictedByHand.Add(int64(gone.n.Objects))
	s.running.Go(func() { _ = s.deleteForgotten(gone) }) // which has reported it
	return gone.n, nil
}

// forgotten is what a purge is about.
type forgotten struct {
	entries []*entry
	fills   []*fill
	parts   []*journal
	n       Gone
}

// matching finds what match accepts by now.
func (s *Store) matching(match func(Entry) bool) (*forgotten, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return nil, ErrClosed
	}
	found := &forgotten{}
	for _, e := range s.entries {
		if match(e.describe()) {
			found.entries = append(found.entries, e)
		}
	}
	for _, f := range s.fills {
		if match(f.describe()) {
			found.fills = append(found.fills, f)
		}
	}
	for _, j := range s.parts {
		if match(j.describe()) {
			found.parts = append(found.parts, j)
		}
	}
	return found, nil
}

// forgetAll takes what was found out of memory, if it is still there, the least needed first, until most bytes are gone,
// 0 meaning all; what a fill has published since goes for the fill. It returns nil if there is nothing, else running
// counts the caller.
func (s *Store) forgetAll(found *forgotten, most int64) (*forgotten, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	gone := &forgotten{}
	take := func(bytes int64) bool {
		if most > 0 && gone.n.Bytes >= most {
			return false
		}
		gone.n.Objects++
		gone.n.Bytes += bytes
		return true
	}
	for _, f := range found.fills {
		if s.fills[f.id] == f {
			take(f.verified())
			f.purged.Store(true)
			s.setAdrift(f)
			gone.fills = append(gone.fills, f)
		} else if e := s.entries[f.id.key]; e != nil && e.began == f.began {
			found.entries = append(found.entries, e)
		} else if j := s.parts[f.id.key]; j != nil && j.part == f.partName {
			found.parts = append(found.parts, j)
		}
	}
	for _, j := range found.parts {
		if s.parts[j.Key] == j && take(j.Have.bytes()) {
			s.forgetPart(j)
			gone.parts = append(gone.parts, j)
		}
	}
	if most > 0 {
		slices.SortFunc(found.entries, func(a, b *entry) int {
			return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(a.used.Load(), b.used.Load()))
		})
	}
	for _, e := range found.entries {
		if !e.gone.Load() && take(e.obj.Size) {
			e.gone.Store(true)
			gone.entries = append(gone.entries, e)
		}
	}
	if gone.n.Objects == 0 {
		return nil, nil
	}
	if len(gone.entries) > len(s.lru)/8 {
		s.lru.dropGone()
	}
	for _, e := range gone.entries {
		s.forget(e)
	}
	s.running.Add(1)
	return gone, nil
}

// setAdrift has nobody join f any more. mu is held.
func (s *Store) setAdrift(f *fill) {
	delete(s.fills, f.id)
	s.adrift[f] = struct{}{}
}

// deleteForgotten deletes, durably, the files of what is out of memory but still holds its names. If a key was published
// again meanwhile, the data is that version's.
func (s *Store) deleteForgotten(gone *forgotten) error {
	var errs []error
	dirs := map[string]bool{}
	for _, f := range gone.fills {
		f.noting.Lock()
		f.jotting.Lock()
		if f.partName != "" {
			errs = append(errs, s.folder.forgetPart(f.partName))
		}
		f.jotting.Unlock()
		f.noting.Unlock()
	}
	for _, j := range gone.parts {
		var freed closers
		s.deletePart(j, &freed)
		freed.close()
	}
	for _, e := range gone.entries {
		s.hot.drop(e.key)
		var freed closers
		s.mu.Lock()
		if s.entries[e.key] == nil {
			freed.add(s.folder.linger(e.path))
			errs = append(errs, s.folder.remove(e.path))
		}
		errs = append(errs, s.folder.remove(e.recordName()))
		dirs[path.Dir(e.recordName())] = true
		s.release(e.key)
		s.mu.Unlock()
		freed.close()
	}
	for dir := range dirs {
		errs = append(errs, s.folder.sync(dir))
	}
	err := errors.Join(errs...)
	if err != nil {
		s.diskError("remove objects", "", err)
	}
	return err
}
