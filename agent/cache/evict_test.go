package cache

import (
	"testing"
	"testing/synctest"
	"time"
)

func anything(Entry) bool { return true }

func TestEvictByHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // so that uses have times of their own
		s := openStore(t, Options{Rank: func(key Key) int {
			switch key {
			case "bootloaders/a":
				return Pinned
			case "scripts/b":
				return 1
			}
			return 0
		}})
		for i, key := range []Key{"bootloaders/a", "scripts/b", "images/c", "images/d"} {
			store(t, s, key, newOrigin(uint64(i), 1000))
			time.Sleep(time.Second)
		}
		if got := s.Usage(); len(got) != 3 || got["images"] != (Usage{2, 2000}) {
			t.Errorf("usage %v", got)
		}
		if n, err := s.Evict(1, anything); n != (Gone{1, 1000}) || err != nil {
			t.Errorf("a byte: %+v, %v", n, err)
		}
		if _, ok := s.Lookup("images/c"); ok {
			t.Error("the least recently used of the lowest rank is still here")
		}
		if n, err := s.Evict(0, underImages); n != (Gone{1, 1000}) || err != nil {
			t.Errorf("all images: %+v, %v", n, err)
		}
		if n, err := s.Evict(0, anything); n != (Gone{1, 1000}) || err != nil {
			t.Errorf("all: %+v, %v", n, err)
		}
		s = reopen(t, s)
		wantFiles(t, s, "bootloaders/a")
		if got := s.Usage(); len(got) != 1 || got["bootloaders"] != (Usage{1, 1000}) {
			t.Errorf("usage after a restart %v", got)
		}
	})
}

func TestEvictionsAreCountedByReason(t *testing.T) {
	s := openStore(t, Options{MaxBytes: 2500})
	for i, key := range []Key{"a", "b", "c"} {
		store(t, s, key, newOrigin(uint64(i), 1000))
	}
	if _, err := s.Evict(1500, anything); err != nil {
		t.Fatal(err)
	}
	if st := s.Stats(); st.EvictedSize != 1 || st.EvictedByHand != 2 || st.EvictedFree != 0 || st.Evictions != 3 {
		t.Errorf("counted %+v", st)
	}
}

func TestUnfinishedObjectsAreShownAndPurged(t *testing.T) {
	o := newOrigin(1, 16*ChunkSize)
	inBubble(t, o, func(t *testing.T, s *Store) {
		r := fetch(t, s, "images/a", o)
		if _, err := r.Seek(15*ChunkSize, 0); err != nil { // which is fetched alone, and the fill then parked
			t.Fatal(err)
		}
		wantBytes(t, r, o.data[15*ChunkSize:])
		r.Close()
		synctest.Wait()
		got := s.Unfinished()
		if len(got) != 1 || got[0].Key != "images/a" || !got[0].Partial || got[0].Filling || got[0].Have != ChunkSize || got[0].Object.Size != 16*ChunkSize {
			t.Fatalf("unfinished %+v", got)
		}
		if n, err := s.Purge(underImages); n != (Gone{1, ChunkSize}) || err != nil {
			t.Errorf("purged %+v, %v", n, err)
		}
		if got := s.Unfinished(); len(got) != 0 || s.Stats().Partial != 0 {
			t.Errorf("still %+v", got)
		}
	})
}
