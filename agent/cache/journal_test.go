package cache

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// halfFilled leaves a store in dir in whose fills half of o has been read, and closes it.
func halfFilled(t *testing.T, dir string, begin func(s *Store) *Reader, o *origin) {
	t.Helper()
	s := openStore(t, Options{Dir: dir})
	o.gate, o.gateAt = make(chan struct{}), o.obj.Size/2
	r := begin(s)
	wantBytes(t, io.LimitReader(r, o.gateAt-ChunkSize), o.data[:o.gateAt-ChunkSize])
	r.Close()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	o.gate, o.gateAt, o.calls, o.sent = nil, 0, nil, 0
}

func TestRestartGoesOnWithTheRest(t *testing.T) {
	w := newWeb(2, 8*mib)
	for name, begin := range map[string]func(s *Store) *Reader{
		"by digest": func(s *Store) *Reader { return fetch(t, s, "k", w.origin) },
		"opaque":    func(s *Store) *Reader { return streamed(t, s, "k", "", w) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			halfFilled(t, dir, begin, w.origin)
			s := openStore(t, Options{Dir: dir})
			r := begin(s)
			wantBytes(t, r, w.data)
			if err := r.Stored(); err != nil {
				t.Fatal(err)
			}
			if calls, sent := w.seen(); sent > w.obj.Size/2+ChunkSize || len(calls) != 1 {
				t.Errorf("%d bytes fetched in calls %v", sent, calls)
			}
			if st := s.Stats(); st.Adopted != 1 {
				t.Errorf("stats %+v", st)
			}
			wantFiles(t, s, "k")
			w.calls, w.sent = nil, 0
		})
	}
}

func TestDamagedPartsAreNoHarm(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, part string){
		"a flipped byte": func(t *testing.T, part string) {
			data, err := os.ReadFile(part)
			if err != nil {
				t.Fatal(err)
			}
			data[ChunkSize+5] ^= 1
			write(t, part, data)
		},
		"a short part": func(t *testing.T, part string) { write(t, part, []byte("x")) },
		"no part":      remove,
		"no journal":   func(t *testing.T, part string) { remove(t, part+journalExt) },
		"a garbled journal": func(t *testing.T, part string) {
			data, err := os.ReadFile(part + journalExt)
			if err != nil {
				t.Fatal(err)
			}
			data[10] ^= 1
			write(t, part+journalExt, data)
		},
		"an old journal": func(t *testing.T, part string) { touch(t, part+journalExt, time.Now().Add(-2*keepParts)) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			o := newOrigin(1, 4*mib)
			halfFilled(t, dir, func(s *Store) *Reader { return fetch(t, s, "k", o) }, o)
			damage(t, partIn(t, dir))
			s := openStore(t, Options{Dir: dir})
			r := fetch(t, s, "k", o)
			wantBytes(t, r, o.data)
			if err := r.Stored(); err != nil { // its fill is over, and its journal is gone
				t.Fatal(err)
			}
			wantFiles(t, s, "k")
		})
	}
}

func TestPartOfAnotherVersionGoes(t *testing.T) {
	dir := t.TempDir()
	o, next := newOrigin(1, 4*mib), newOrigin(2, 4*mib)
	halfFilled(t, dir, func(s *Store) *Reader { return fetch(t, s, "k", o) }, o)
	s := openStore(t, Options{Dir: dir})
	store(t, s, "k", next)
	wantGet(t, s, "k", next, TierDisk)
	wantFiles(t, s, "k")

	w := newWeb(3, 4*mib)
	dir = t.TempDir()
	halfFilled(t, dir, func(s *Store) *Reader { return streamed(t, s, "k", "", w) }, w.origin)
	s = openStore(t, Options{Dir: dir})
	changed := newWeb(4, 4*mib)
	changed.versions = []string{"v2"}
	changed.rangeless = true // as If-Range has it
	wantBytes(t, streamed(t, s, "k", "", changed), changed.data)
}

// TestTheDigestOutlivesARestart: an origin need not repeat it with the part that it goes on with.
func TestTheDigestOutlivesARestart(t *testing.T) {
	for _, right := range []bool{true, false} {
		dir := t.TempDir()
		w := newWeb(1, 4*mib)
		w.digest = w.obj.SHA256
		if !right {
			w.digest[0]++
		}
		halfFilled(t, dir, func(s *Store) *Reader { return streamed(t, s, "k", "", w) }, w.origin)
		w.digest = Digest{}
		s := openStore(t, Options{Dir: dir})
		got, err := io.ReadAll(streamed(t, s, "k", "", w))
		if st := s.Stats(); st.Adopted != 1 {
			t.Errorf("stats %+v", st)
		}
		switch {
		case right && (err != nil || !bytes.Equal(got, w.data)):
			t.Errorf("%d bytes, %v", len(got), err)
		case !right && (!errors.Is(err, ErrCorrupt) || len(got) > 4*mib-withheld):
			t.Errorf("wrong object: %d bytes, %v", len(got), err)
		}
	}
}

// TestPartsAreKeptWithADigestOrWithout: whichever of an origin's answers tells it, it is the same version.
func TestPartsAreKeptWithADigestOrWithout(t *testing.T) {
	for _, told := range [][2]bool{{true, false}, {false, true}} {
		dir := t.TempDir()
		w := newWeb(1, 8*mib)
		say := func(digest bool) {
			w.digest = Digest{}
			if digest {
				w.digest = w.obj.SHA256
			}
		}
		say(told[0])
		halfFilled(t, dir, func(s *Store) *Reader { return streamed(t, s, "k", "", w) }, w.origin)
		say(told[1])
		s := openStore(t, Options{Dir: dir})
		w.gate, w.gateAt = make(chan struct{}), 6*mib
		r := streamed(t, s, "k", "", w)
		wantBytes(t, io.LimitReader(r, 5*mib), w.data[:5*mib])
		r.Close()
		s = reopen(t, s)
		if s.partBytes < 5*mib {
			t.Errorf("%d bytes are left of 5 MiB", s.partBytes)
		}
		w.gate = nil
		if err := streamed(t, s, "k", "", w).Stored(); err != nil {
			t.Fatal(err)
		}
		wantFiles(t, s, "k")
	}
}

// TestPartThatWasCutShortGoes with its fill: nobody could go on with it, or knew of it.
func TestPartThatWasCutShortGoes(t *testing.T) {
	o := newOrigin(1, 8*mib)
	o.gateAt = 4 * mib
	inBubble(t, o, func(t *testing.T, s *Store) {
		r := fetch(t, s, "k", o)
		wantBytes(t, io.LimitReader(r, 3*mib), o.data[:3*mib])
		synctest.Wait()
		if err := os.Truncate(filepath.Join(s.opts.Dir, r.fill.partName), 10); err != nil {
			t.Fatal(err)
		}
		r.Close()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		wantFiles(t, s)
	})
}

func TestPartsGoBeforeObjects(t *testing.T) {
	dir := t.TempDir()
	o, other, next := newOrigin(1, 4*mib), newOrigin(2, mib), newOrigin(3, mib)
	halfFilled(t, dir, func(s *Store) *Reader { return fetch(t, s, "k", o) }, o)
	s := openStore(t, Options{Dir: dir})
	store(t, s, "other", other)
	s.SetLimits(2*mib+mib/2, 0)
	store(t, s, "next", next)
	wantGet(t, s, "other", other, TierDisk)
	wantGet(t, s, "next", next, TierDisk)
	wantFiles(t, s, "other", "next")
	if s.partBytes != 0 {
		t.Errorf("%d bytes of parts", s.partBytes)
	}
}

func TestRangesSurviveARestart(t *testing.T) {
	s := openStore(t, Options{})
	o := newOrigin(1, 8*mib)
	r := fetch(t, s, "k", o)
	wantRange(t, r, o, 6*mib, 6*mib+100)
	r.Close()
	s = reopen(t, s)
	wantRange(t, fetch(t, s, "k", o), o, 6*mib, 6*mib+100)
	if calls, _ := o.seen(); len(calls) != 1 {
		t.Errorf("calls %v", calls)
	}
}

// volatilePart is a disk whose cache is lost with the power: what was not synced never gets there.
type volatilePart struct {
	part
	cached *writes
}

type writes struct {
	mu   sync.Mutex
	list []func() error
}

func (p volatilePart) WriteAt(b []byte, offset int64) (int, error) {
	data := append([]byte(nil), b...)
	p.cached.mu.Lock()
	defer p.cached.mu.Unlock()
	p.cached.list = append(p.cached.list, func() error {
		_, err := p.part.WriteAt(data, offset)
		return err
	})
	return len(b), nil
}

func (p volatilePart) Sync() error {
	p.cached.mu.Lock()
	defer p.cached.mu.Unlock()
	for _, write := range p.cached.list {
		if err := write(); err != nil {
			return err
		}
	}
	p.cached.list = nil
	return p.part.Sync()
}

// TestJournalNeverClaimsWhatIsNotOnDisk looks at the disk as a power cut would leave it, while a fill runs.
func TestJournalNeverClaimsWhatIsNotOnDisk(t *testing.T) {
	dir := t.TempDir()
	w := newWeb(1, 40*mib)
	synctest.Test(t, func(t *testing.T) {
		s := openStore(t, Options{Dir: dir})
		create := s.createPart
		s.createPart = func(name string, keep bool) (part, error) {
			p, err := create(name, keep)
			return volatilePart{p, new(writes)}, err
		}
		w.gate, w.gateAt = make(chan struct{}), 300_000
		r := streamed(t, s, "k", "", w)
		if err := r.Ready(); err != nil {
			t.Fatal(err)
		}
		claimed := int64(0)
		for at := int64(300_000); at < w.obj.Size; at += 3*mib + 77 {
			w.mu.Lock()
			old := w.gate
			w.gate, w.gateAt = make(chan struct{}), at
			w.mu.Unlock()
			close(old)
			synctest.Wait() // the fill is at the gate
			if at%2 == 0 {
				time.Sleep(journalEvery + time.Millisecond)
			}
			claimed = max(claimed, checkJournals(t, dir, w.data))
		}
		if claimed < 20*mib {
			t.Errorf("only %d bytes were ever claimed", claimed)
		}
		r.Close()
		s.Close()
	})
}

func checkJournals(t *testing.T, dir string, want []byte) (claimed int64) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, partDir, "*"+journalExt))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		j, err := parseJournal(text)
		if err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(strings.TrimSuffix(name, journalExt))
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range j.Have {
			if int64(len(data)) < g.End || string(data[g.Begin:g.End]) != string(want[g.Begin:g.End]) {
				t.Errorf("the journal claims %v, which is not on disk", g)
			}
		}
		claimed += j.Have.bytes()
	}
	return claimed
}

// partIn is the path of the one part file in dir.
func partIn(t *testing.T, dir string) string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, partDir, "*"+journalExt))
	if err != nil || len(names) != 1 {
		t.Fatalf("journals %v, %v", names, err)
	}
	return strings.TrimSuffix(names[0], journalExt)
}
