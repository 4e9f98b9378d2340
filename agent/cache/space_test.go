package cache

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// oneByOne runs a story in which a second passes before each use, so that uses have an order.
func oneByOne(t *testing.T, opts Options, story func(t *testing.T, s *Store)) {
	t.Helper()
	opts.Dir = t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		story(t, openStore(t, opts))
	})
}

func TestLeastRecentlyUsedGoesFirst(t *testing.T) {
	oneByOne(t, Options{MaxBytes: 3000, HotBytes: mib}, func(t *testing.T, s *Store) {
		a, b, c, d := newOrigin(1, 1000), newOrigin(2, 1000), newOrigin(3, 1000), newOrigin(4, 1500)
		for key, o := range map[Key]*origin{"x/a": a, "x/b": b, "x/c": c} {
			store(t, s, key, o)
		}
		time.Sleep(time.Second)
		wantGet(t, s, "x/b", b, TierDisk)
		time.Sleep(time.Second)
		wantGet(t, s, "x/c", c, TierDisk)
		time.Sleep(time.Second)
		wantGet(t, s, "x/a", a, TierDisk)
		synctest.Wait() // the hot tier takes a moment
		time.Sleep(time.Second)
		wantGet(t, s, "x/b", b, TierHot)
		time.Sleep(time.Second)

		store(t, s, "x/d", d)
		wantMiss(t, s, "x/c", c)
		wantMiss(t, s, "x/a", a)
		if st := s.Stats(); st.Evictions != 2 || st.Bytes != 2500 || st.Entries != 2 {
			t.Errorf("stats %+v", st)
		}
		wantGet(t, s, "x/b", b, TierHot)
		wantGet(t, s, "x/d", d, TierDisk)
		wantFiles(t, s, "x/b", "x/d")
	})
}

func TestRankGoesBeforeUse(t *testing.T) {
	rank := func(key Key) int {
		switch {
		case strings.HasPrefix(string(key), "bootloaders/"):
			return Pinned
		case strings.HasPrefix(string(key), "templates/"):
			return 1
		}
		return 0
	}
	oneByOne(t, Options{MaxBytes: 3000, Rank: rank}, func(t *testing.T, s *Store) {
		boot, tmpl, image, next := newOrigin(1, 1000), newOrigin(2, 1000), newOrigin(3, 1000), newOrigin(4, 1000)
		for _, step := range []struct {
			key Key
			o   *origin
		}{{"bootloaders/b", boot}, {"templates/t", tmpl}, {"images/i", image}} {
			store(t, s, step.key, step.o)
			time.Sleep(time.Second)
		}
		store(t, s, "images/next", next)
		wantMiss(t, s, "images/i", image)

		time.Sleep(time.Second)
		large := newOrigin(5, 2000)
		store(t, s, "images/large", large)
		wantMiss(t, s, "templates/t", tmpl)
		wantMiss(t, s, "images/next", next)
		wantGet(t, s, "bootloaders/b", boot, TierDisk)
		wantGet(t, s, "images/large", large, TierDisk)
	})
}

// TestMissThatCannotFitEvictsNothing also shows how it is served: straight from its source.
func TestMissThatCannotFitEvictsNothing(t *testing.T) {
	s := openStore(t, Options{MaxBytes: 2 * ChunkSize, Rank: func(key Key) int {
		if key == "pinned" {
			return Pinned
		}
		return 0
	}})
	pinned, other, large := newOrigin(1, ChunkSize), newOrigin(2, 1000), newOrigin(3, ChunkSize+1)
	store(t, s, "pinned", pinned)
	store(t, s, "other", other)
	large.corrupt[5] = 1
	r := fetch(t, s, "large", large)
	wantBytes(t, r, large.data)
	if r.Tier() != TierPass {
		t.Errorf("tier %s", r.Tier())
	}
	if err := r.Stored(); !errors.Is(err, ErrNotStored) {
		t.Errorf("Stored = %v", err)
	}
	if _, err := r.Seek(ChunkSize-10, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	wantBytes(t, r, large.data[ChunkSize-10:])
	wantGet(t, s, "pinned", pinned, TierDisk)
	wantGet(t, s, "other", other, TierDisk)
	if st := s.Stats(); st.Evictions != 0 || st.PassThrough != 1 || st.Corruptions != 1 || st.FillErrors != 1 {
		t.Errorf("stats %+v", st)
	}
}

func TestPassThroughNeverShowsUnverifiedBytes(t *testing.T) {
	s := openStore(t, Options{MaxBytes: 1})
	o := newOrigin(1, 3*ChunkSize)
	o.corrupt[ChunkSize+1] = 2
	got, err := io.ReadAll(fetch(t, s, "k", o))
	if !errors.Is(err, ErrCorrupt) || !bytes.Equal(got, o.data[:ChunkSize]) {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
}

func TestRunningFillsHoldTheirSpace(t *testing.T) {
	s := openStore(t, Options{MaxBytes: 5 * ChunkSize})
	first, second := newOrigin(1, 3*ChunkSize), newOrigin(2, 3*ChunkSize)
	first.gate, first.gateAt = make(chan struct{}), ChunkSize
	r := fetch(t, s, "first", first)
	if err := r.Ready(); err != nil {
		t.Fatal(err)
	}
	passing := fetch(t, s, "second", second)
	wantBytes(t, passing, second.data)
	if passing.Tier() != TierPass {
		t.Errorf("tier %s", passing.Tier())
	}
	close(first.gate)
	wantBytes(t, r, first.data)
	store(t, s, "first", first)
	store(t, s, "second", second)
	wantMiss(t, s, "first", first)
}

func TestOpenReadersSurviveEviction(t *testing.T) {
	s := openStore(t, Options{MaxBytes: 4 * ChunkSize})
	o := newOrigin(1, 3*ChunkSize)
	filling := fetch(t, s, "k", o)
	if err := filling.Stored(); err != nil {
		t.Fatal(err)
	}
	reading := fetch(t, s, "k", o)
	wantBytes(t, io.LimitReader(reading, 10), o.data[:10])
	store(t, s, "other", newOrigin(2, 2*ChunkSize))
	wantMiss(t, s, "k", o)
	wantBytes(t, reading, o.data[10:])
	wantBytes(t, filling, o.data)
}

func TestFreeSpaceIsKept(t *testing.T) {
	s := openStore(t, Options{})
	o := newOrigin(1, 1000)
	store(t, s, "a", o)
	free, err := s.folder.free()
	if err != nil {
		t.Fatal(err)
	}
	s.SetLimits(0, 2*free)
	wantGet(t, s, "a", o, TierDisk) // its bytes would not help
	next := newOrigin(2, 1000)
	r := fetch(t, s, "b", next)
	wantBytes(t, r, next.data)
	if r.Tier() != TierPass {
		t.Errorf("tier %s", r.Tier())
	}
	wantGet(t, s, "a", o, TierDisk)
}

func TestLimitsAreLowered(t *testing.T) {
	oneByOne(t, Options{}, func(t *testing.T, s *Store) {
		a, b := newOrigin(1, 1000), newOrigin(2, 1000)
		store(t, s, "a", a)
		time.Sleep(time.Second)
		store(t, s, "b", b)
		s.SetLimits(1500, 0)
		wantMiss(t, s, "a", a)
		wantGet(t, s, "b", b, TierDisk)
	})
}

// failingPart is a disk that fills up, or breaks.
type failingPart struct {
	part
	room int64 // bytes it takes; beyond, err
	err  error
	sync error
}

func (p failingPart) WriteAt(b []byte, offset int64) (int, error) {
	if offset+int64(len(b)) > p.room {
		return 0, p.err
	}
	return p.part.WriteAt(b, offset)
}

func (p failingPart) Sync() error { return errors.Join(p.sync, p.part.Sync()) }

func TestDiskThatFailsHalfWayFailsNoReader(t *testing.T) {
	for _, fault := range []error{syscall.ENOSPC, syscall.EIO} {
		s := openStore(t, Options{})
		create := s.createPart
		s.createPart = func(name string, keep bool) (part, error) {
			p, err := create(name, keep)
			return failingPart{part: p, room: 2 * ChunkSize, err: fault}, err
		}
		o := newOrigin(1, 5*ChunkSize)
		o.gate, o.gateAt = make(chan struct{}), 2*ChunkSize
		first, second := fetch(t, s, "k", o), fetch(t, s, "k", o)
		wantBytes(t, io.LimitReader(first, ChunkSize+10), o.data[:ChunkSize+10])
		if err := second.Ready(); err != nil {
			t.Fatal(err)
		}
		close(o.gate)
		wantBytes(t, first, o.data[ChunkSize+10:])
		wantBytes(t, second, o.data)
		if first.Tier() != TierPass || second.Tier() != TierPass {
			t.Errorf("tiers %s and %s", first.Tier(), second.Tier())
		}
		if err := first.Stored(); !errors.Is(err, ErrNotStored) || !errors.Is(err, fault) {
			t.Errorf("Stored = %v", err)
		}
		calls, _ := o.seen()
		for _, c := range calls[1:] {
			if c.offset != 2*ChunkSize {
				t.Errorf("call %v fetches again what was on disk", c)
			}
		}
		if st := s.Stats(); st.DiskErrors != 1 || st.PassThrough != 2 || st.Entries != 0 {
			t.Errorf("stats %+v", st)
		}
		s.Close()
		wantFiles(t, s)
	}
}

func TestDiskThatCannotSyncPublishesNothing(t *testing.T) {
	s := openStore(t, Options{})
	create := s.createPart
	s.createPart = func(name string, keep bool) (part, error) {
		p, err := create(name, keep)
		return failingPart{part: p, room: 1 << 30, sync: syscall.EIO}, err
	}
	o := newOrigin(1, 2*ChunkSize)
	r := fetch(t, s, "a/b", o)
	wantBytes(t, r, o.data)
	if err := r.Stored(); !errors.Is(err, ErrNotStored) {
		t.Errorf("Stored = %v", err)
	}
	wantMiss(t, s, "a/b", o)
	s.Close()
	wantFiles(t, s)
}

func TestDiskThatTakesNoFile(t *testing.T) {
	s := openStore(t, Options{})
	s.createPart = func(name string, keep bool) (part, error) { return nil, syscall.EROFS }
	o := newOrigin(1, 2*ChunkSize)
	r := fetch(t, s, "k", o)
	wantBytes(t, r, o.data)
	if r.Tier() != TierPass {
		t.Errorf("tier %s", r.Tier())
	}
}
