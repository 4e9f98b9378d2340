package node

import "time"

// maxSeen bounds how many machines are remembered to be there.
const maxSeen = 10_000

// Saw remembers that a machine, by its primary MAC address, is there now.
func (s *Store) Saw(mac string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if len(s.seen) >= maxSeen && now.Sub(s.pruned) > time.Minute {
		s.pruned = now
		for m, at := range s.seen {
			if now.Sub(at) > time.Hour {
				delete(s.seen, m)
			}
		}
	}
	if _, known := s.seen[mac]; known || len(s.seen) < maxSeen {
		s.seen[mac] = now
	}
}

// SeenWithin returns how many machines were there in that time, up to an hour.
func (s *Store) SeenWithin(d time.Duration) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, at := range s.seen {
		if time.Since(at) <= d {
			n++
		}
	}
	return n
}
