package cache

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// flip changes one byte of key's file and nothing else about it.
func flip(t *testing.T, s *Store, key Key, at int64) {
	t.Helper()
	name := filepath.Join(s.opts.Dir, string(key))
	data := readFile(t, name)
	data[at] ^= 1
	write(t, name, data)
	touch(t, name, s.entries[key].stored)
}

func TestScrubRepairsAChunk(t *testing.T) {
	o := newOrigin(1, 4*ChunkSize+9)
	s := openStore(t, Options{Repair: func(Key, Object) Source { return o.open }})
	store(t, s, "a/b", o)
	flip(t, s, "a/b", 2*ChunkSize+5)
	open := fetch(t, s, "a/b", o)
	if err := s.Scrub(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	wantBytes(t, open, o.data)
	wantGet(t, s, "a/b", o, TierDisk)
	if calls, _ := o.seen(); len(calls) != 2 || calls[1] != (call{2 * ChunkSize, ChunkSize}) {
		t.Errorf("calls %v", calls)
	}
	if st := s.Stats(); st.Corruptions != 1 || st.Repaired != 1 || st.Scrubbed != o.obj.Size {
		t.Errorf("stats %+v", st)
	}
	s = reopen(t, s)
	wantGet(t, s, "a/b", o, TierDisk)
	if st := s.Stats(); st.Corruptions != 0 {
		t.Errorf("stats %+v", st)
	}
}

func TestScrubDropsWhatCannotBeRepaired(t *testing.T) {
	o, other := newOrigin(1, 4*ChunkSize), newOrigin(2, 1000)
	s := openStore(t, Options{})
	store(t, s, "k", o)
	store(t, s, "other", other)
	flip(t, s, "k", ChunkSize)
	byGet, ok := s.Get("k", o.obj.SHA256)
	if !ok {
		t.Fatal("not here")
	}
	defer byGet.Close()
	lent, ok := byGet.File()
	if !ok {
		t.Fatal("no file to send")
	}
	byFetch := fetch(t, s, "k", o)
	if err := s.Scrub(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	wantMiss(t, s, "k", o)
	wantGet(t, s, "other", other, TierDisk)
	wantBytes(t, byFetch, o.data) // it has a source
	if sent, err := io.ReadAll(lent); err != nil || len(sent) != ChunkSize {
		t.Errorf("who has the file sends %d bytes, %v", len(sent), err)
	}
	if _, ok := byGet.File(); ok {
		t.Error("a damaged file is handed out")
	}
	got, err := io.ReadAll(byGet)
	if err == nil || int64(len(got)) > ChunkSize {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
	store(t, s, "k", o)
	wantGet(t, s, "k", o, TierDisk)
}

func TestScrubChecksOpaqueObjectsByTheirDigest(t *testing.T) {
	s := openStore(t, Options{})
	w, plain := newWeb(1, 2*ChunkSize), newWeb(2, 1000)
	w.digest = w.obj.SHA256
	for key, w := range map[Key]*webOrigin{"w": w, "plain": plain} {
		if err := streamed(t, s, key, "", w).Stored(); err != nil {
			t.Fatal(err)
		}
	}
	flip(t, s, "w", 7)
	if err := s.Scrub(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if _, ok := s.Lookup("w"); ok {
		t.Error("a damaged object stays")
	}
	if _, ok := s.Lookup("plain"); !ok {
		t.Error("a sound object went")
	}
}

// TestScrubChecksWhatNobodyHasDescribed: however the bytes came, and after a restart, it is known what they were.
func TestScrubChecksWhatNobodyHasDescribed(t *testing.T) {
	for name, begin := range map[string]int64{"in order": 0, "the end first": 3 * mib} {
		t.Run(name, func(t *testing.T) {
			s := openStore(t, Options{})
			w := newWeb(1, 4*mib+9)
			if begin > 0 {
				r, err := s.Stream(t.Context(), "w", "", begin, mib, w.answer)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := r.Seek(begin, io.SeekStart); err != nil {
					t.Fatal(err)
				}
				if _, err := io.CopyN(io.Discard, r, mib); err != nil {
					t.Fatal(err)
				}
				r.Close()
			}
			if err := streamed(t, s, "w", "", w).Stored(); err != nil {
				t.Fatal(err)
			}
			s = reopen(t, s)
			if e, ok := s.Lookup("w"); !ok || e.Object.SHA256 != w.obj.SHA256 {
				t.Fatalf("stored as %+v", e.Object)
			}
			if err := s.Scrub(t.Context(), 0); err != nil {
				t.Fatal(err)
			}
			if st := s.Stats(); st.Scrubbed != w.obj.Size || st.Corruptions != 0 {
				t.Errorf("stats %+v", st)
			}
			flip(t, s, "w", 3*mib+5)
			if err := s.Scrub(t.Context(), 0); err != nil {
				t.Fatal(err)
			}
			if _, ok := s.Lookup("w"); ok {
				t.Error("a damaged object stays")
			}
			if err := streamed(t, s, "w", "", w).Stored(); err != nil {
				t.Errorf("it does not come anew: %v", err)
			}
		})
	}
}

func TestScrubKeepsItsPace(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := openStore(t, Options{Dir: dir})
		store(t, s, "k", newOrigin(1, 4*mib))
		begin := time.Now()
		if err := s.Scrub(t.Context(), mib); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took < 3500*time.Millisecond || took > 4500*time.Millisecond {
			t.Errorf("4 MiB at 1 MiB/s took %v", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.Scrub(ctx, mib); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Scrub = %v", err)
		}
	})
}
