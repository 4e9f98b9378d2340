package cache

import "time"

// Unfinished describes what is here of objects that are not published: by running fills, and what ended ones have left
// to later ones. A fill that has brought nothing yet is among them.
func (s *Store) Unfinished() []Entry {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := make([]Entry, 0, len(s.fills)+len(s.parts))
	for _, f := range s.fills {
		all = append(all, f.describe())
	}
	for _, j := range s.parts {
		all = append(all, j.describe())
	}
	return all
}

// Held describes what an ended transfer has left of a version of key, and reports whether all of a range is there:
// length bytes from begin on; to the end if length is 0; the last -begin if begin is below 0.
func (s *Store) Held(key Key, version string, begin, length int64) (Entry, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	j := s.parts[key]
	if j == nil || j.Version != version || version == "" || j.Size < 0 {
		return Entry{}, false
	}
	want := segment{begin, j.Size}
	switch {
	case begin < 0:
		want.Begin = max(0, j.Size+begin)
	case length > 0:
		want.End = min(begin+length, j.Size)
	}
	return j.describe(), want.len() > 0 && j.Have.covers(want)
}

func (f *fill) describe() Entry {
	f.mu.Lock()
	defer f.mu.Unlock()
	return Entry{
		Key: f.id.key, Object: f.obj, Meta: f.meta, Have: f.have.bytes() + f.unproven.bytes(), Partial: true, Filling: true,
		LastUsed: time.Now(),
	}
}

func (j *journal) describe() Entry {
	return Entry{
		Key: j.Key, Object: Object{Size: j.Size, SHA256: j.SHA256, Version: j.Version, Modified: j.Modified},
		Meta: j.Meta, Have: j.Have.bytes(), Partial: true, LastUsed: j.used,
	}
}
