package cache

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
