package cache

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

const (
	purgePrefix = "purge."           // in .part: the records of what is purged, until they are deleted
	staleFile   = metaDir + "/stale" // the records of what is marked stale
)

// Gone is what was taken out of a store.
type Gone struct {
	Objects int   `json:"objects"` // unfinished ones included
	Bytes   int64 `json:"bytes"`
}

// Purge forgets the objects that match accepts, durably and at once; their files are deleted afterwards. Open readers
// finish, running fills still publish. match may look at all of an Entry: a prefix or category of its Key, a tag in its
// Meta; it must be quick and may not call the store. What ended fills have left unfinished goes too.
func (s *Store) Purge(match func(Entry) bool) (Gone, error) {
	n, err := s.dropParts(match)
	if err != nil {
		return n, err
	}
	defer func() { s.count.purged.Add(int64(n.Objects)) }()
	gone, err := s.matching(match)
	if err != nil || len(gone) == 0 {
		return n, err
	}
	intent := path.Join(partDir, fmt.Sprintf("%s%d", purgePrefix, s.folder.parts.Add(1)))
	if err := s.folder.write(intent, recordNames(gone)); err != nil {
		s.diskError("write purge", "", err)
		return n, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return n, ErrClosed
	}
	n.add(s.forgetAll(gone, 0))
	s.running.Go(func() {
		s.deleteForgotten(gone)
		if err := s.folder.remove(intent); err != nil {
			s.diskError("remove purge", "", err)
		}
	})
	return n, nil
}

func (g *Gone) add(n Gone) {
	g.Objects += n.Objects
	g.Bytes += n.Bytes
}

// Evict forgets the objects that match accepts (see Purge) but for those that are Pinned, the least needed first, until
// most bytes are gone; 0: all of them. Unlike Purge it promises nothing: after a crash some may be back.
func (s *Store) Evict(most int64, match func(Entry) bool) (Gone, error) {
	unpinned := func(e Entry) bool { return s.rank(e.Key) != Pinned && match(e) }
	n, err := s.dropParts(unpinned)
	if err != nil {
		return n, err
	}
	defer func() { s.count.evictedByHand.Add(int64(n.Objects)) }()
	if most > 0 {
		if most -= n.Bytes; most <= 0 {
			return n, nil
		}
	}
	gone, err := s.matching(unpinned)
	if err != nil {
		return n, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return n, ErrClosed
	}
	slices.SortFunc(gone, func(a, b *entry) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(a.used.Load(), b.used.Load()))
	})
	n.add(s.forgetAll(gone, most))
	s.running.Go(func() { s.deleteForgotten(gone) })
	return n, nil
}

// forgetAll forgets entries until most bytes are gone, 0 meaning all, and clears the places of those that it leaves.
// mu is held.
func (s *Store) forgetAll(all []*entry, most int64) (n Gone) {
	for i, e := range all {
		if e.gone.Load() || most > 0 && n.Bytes >= most {
			all[i] = nil
			continue
		}
		s.forget(e)
		n.add(Gone{1, e.obj.Size})
	}
	return n
}

// dropParts deletes what ended fills have left of the objects that match accepts.
func (s *Store) dropParts(match func(Entry) bool) (n Gone, err error) {
	var freed closers
	defer freed.close() // after mu
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return n, ErrClosed
	}
	for _, j := range s.parts {
		if e := j.describe(); match(e) {
			n.add(Gone{1, e.Have})
			s.dropPart(j, &freed)
		}
	}
	return n, nil
}

func (s *Store) matching(match func(Entry) bool) ([]*entry, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return nil, ErrClosed
	}
	var found []*entry
	for _, e := range s.entries {
		if match(e.describe()) {
			found = append(found, e)
		}
	}
	return found, nil
}

func recordNames(entries []*entry) []byte {
	var names bytes.Buffer
	for _, e := range entries {
		names.WriteString(e.recordName() + "\n")
	}
	return names.Bytes()
}

// deleteForgotten deletes the files of entries that are out of the index but still hold their names. If the key was
// published again meanwhile, the data is that version's.
func (s *Store) deleteForgotten(gone []*entry) {
	for _, e := range gone {
		if e == nil {
			continue
		}
		var freed closers
		s.mu.Lock()
		var err error
		if s.entries[e.key] == nil {
			freed.add(s.folder.linger(e.path))
			err = s.folder.remove(e.path)
		}
		if err = errors.Join(err, s.folder.remove(e.recordName())); err != nil {
			s.diskError("remove object", e.key, err)
		}
		s.release(e.key)
		s.mu.Unlock()
		freed.close()
	}
}

// recoverPurges ends the purges that a crash has cut: data without its record goes as any stray.
func (s *Store) recoverPurges() error {
	list, err := s.folder.list(partDir)
	if err != nil {
		return err
	}
	for _, d := range list {
		if !strings.HasPrefix(d.Name(), purgePrefix) {
			continue
		}
		names, err := s.recordsIn(path.Join(partDir, d.Name()))
		if err != nil {
			return err
		}
		for name := range names {
			if err := s.folder.remove(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// recordsIn reads a list of records' names; a file that is not there lists none.
func (s *Store) recordsIn(file string) (map[string]bool, error) {
	data, err := s.folder.root.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	names := map[string]bool{}
	for name := range strings.Lines(string(data)) {
		if name = strings.TrimSuffix(name, "\n"); strings.HasPrefix(name, metaDir+"/") && fs.ValidPath(name) {
			names[name] = true
		}
	}
	return names, nil
}

// MarkStale sets Entry.Stale of the published objects that match accepts (see Purge), durably, until SetMeta
// says that they were found good or another version replaces them. It returns how many were marked.
func (s *Store) MarkStale(match func(Entry) bool) (int, error) {
	n := 0
	all, err := s.matching(func(e Entry) bool {
		if e.Stale {
			return true
		}
		if !match(e) {
			return false
		}
		n++
		return true
	})
	if err != nil || n == 0 {
		return 0, err
	}
	for _, e := range all {
		e.stale.Store(true)
	}
	if err := s.folder.write(staleFile, recordNames(all)); err != nil {
		s.diskError("write stale marks", "", err)
		return n, err
	}
	return n, nil
}

// SetRank changes the order of eviction, and with it what is pinned; see Options.Rank.
func (s *Store) SetRank(rank func(Key) int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rank = rank
	s.lru, s.pinned = nil, 0
	for _, e := range s.entries {
		e.place = -1
		s.order(e)
	}
}

// order puts e where its rank says. mu is held.
func (s *Store) order(e *entry) {
	e.rank = s.rank(e.key)
	s.lru.add(e)
	if e.rank == Pinned {
		s.pinned += e.obj.Size
	}
}
