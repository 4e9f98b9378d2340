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
