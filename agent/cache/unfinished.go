package cache

// Unfinished describes what is here of objects that are not published: by running fills, and what ended ones have left
// to later ones. A fill that has brought nothing yet is among them.
func (s *Store) Unfinished() []Entry {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := make([]Entry, 0, len(s.fills)+len(s.parts))
	for _, f := range s.fills {
		all = append(all, Entry{Key: f.id.key, Object: f.object(), Have: f.verified(), Partial: true, Filling: true})
	}
	for _, j := range s.parts {
		all = append(all, j.describe())
	}
	return all
}

func (j *journal) describe() Entry {
	return Entry{
		Key: j.Key, Object: Object{Size: j.Size, SHA256: j.SHA256, Version: j.Version, Modified: j.Modified},
		Have: j.Have.bytes(), Partial: true, LastUsed: j.used,
	}
}
