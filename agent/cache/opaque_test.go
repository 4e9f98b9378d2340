package cache

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// webOrigin is an origin as HTTP has them: its answers say what it sends.
type webOrigin struct {
	*origin
	weak      bool // no strong validator
	chunked   bool // no length
	rangeless bool // answers ranges with the whole
	digest    Digest

	versions []string // of the answers; the last goes on
	asked    []string // versions insisted on
}

func newWeb(seed uint64, size int) *webOrigin {
	return &webOrigin{origin: newOrigin(seed, size), versions: []string{"v1"}}
}

func (w *webOrigin) answer(ctx context.Context, version string, offset, length int64) (*Arrival, error) {
	asked := offset
	if w.rangeless {
		offset, length = 0, 0
	}
	body, err := w.open(ctx, offset, length)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls[len(w.calls)-1].offset = asked
	w.asked = append(w.asked, version)
	a := &Arrival{
		Version: w.versions[min(len(w.asked), len(w.versions))-1], Strong: !w.weak, Size: w.obj.Size,
		SHA256: w.digest, Meta: []byte("headers"), Offset: offset, Body: body,
	}
	if w.chunked {
		a.Size = -1
	}
	return a, nil
}

func streamed(t testing.TB, s *Store, key Key, stale string, w *webOrigin) *Reader {
	t.Helper()
	r, err := s.Stream(context.Background(), key, stale, 0, 0, w.answer)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func TestOpaqueObjectIsFetchedOnceAndKept(t *testing.T) {
	for _, size := range []int{0, 1, 1000, 3*ChunkSize + 5} {
		for _, chunked := range []bool{false, true} {
			s := openStore(t, Options{HotBytes: mib})
			w := newWeb(1, size)
			w.chunked = chunked
			var herd sync.WaitGroup
			for range 20 {
				herd.Go(func() {
					r, err := s.Stream(t.Context(), "up/k", "", 0, 0, w.answer)
					if err != nil {
						t.Error(err)
						return
					}
					defer r.Close()
					if string(r.Meta()) != "headers" || r.Object().Version != "v1" {
						t.Errorf("meta %q, object %+v", r.Meta(), r.Object())
					}
					wantBytes(t, r, w.data)
					if r.Size() != int64(size) {
						t.Errorf("size %d", r.Size())
					}
					if err := r.Stored(); err != nil {
						t.Error(err)
					}
				})
			}
			herd.Wait()
			if calls, sent := w.seen(); len(calls) != 1 || sent != int64(size) {
				t.Errorf("%d bytes in calls %v", sent, calls)
			}
			s = reopen(t, s)
			e, ok := s.Lookup("up/k")
			if !ok || e.Object.Version != "v1" || e.Object.Size != int64(size) || string(e.Meta) != "headers" {
				t.Errorf("entry %+v", e)
			}
			r, ok := s.GetVersion("up/k", "v1")
			if !ok {
				t.Fatal("not here after a restart")
			}
			wantBytes(t, r, w.data)
			r.Close()
		}
	}
}

func TestOpaqueBytesAreReadableAsTheyCome(t *testing.T) {
	s := openStore(t, Options{})
	w := newWeb(1, ChunkSize)
	w.gate, w.gateAt = make(chan struct{}), 10
	r := streamed(t, s, "k", "", w)
	wantBytes(t, io.LimitReader(r, 10), w.data[:10])
	close(w.gate)
	wantBytes(t, r, w.data[10:])
}

func TestStaleVersionIsReplaced(t *testing.T) {
	s := openStore(t, Options{})
	old, now := newWeb(1, 1000), newWeb(2, 1000)
	now.versions = []string{"v2"}
	if err := streamed(t, s, "k", "", old).Stored(); err != nil {
		t.Fatal(err)
	}
	wantBytes(t, streamed(t, s, "k", "", now), old.data) // nobody said it was stale
	r := streamed(t, s, "k", "v1", now)
	if err := r.Stored(); err != nil {
		t.Fatal(err)
	}
	wantBytes(t, r, now.data)
	wantBytes(t, streamed(t, s, "k", "v1", now), now.data)
	if calls, _ := now.seen(); len(calls) != 1 {
		t.Errorf("calls %v", calls)
	}
	if _, ok := s.GetVersion("k", "v1"); ok {
		t.Error("the old version is still here")
	}
}

func TestFirstErrorIsEverybodysAnswer(t *testing.T) {
	s := openStore(t, Options{})
	notModified := errors.New("304")
	ask := func(context.Context, string, int64, int64) (*Arrival, error) { return nil, notModified }
	if _, err := s.Stream(t.Context(), "k", "", 0, 0, ask); !errors.Is(err, notModified) {
		t.Errorf("error %v", err)
	}
	if st := s.Stats(); st.Filling != 0 || st.Entries != 0 || st.FillErrors != 0 { // such as an answer that nothing changed
		t.Errorf("stats %+v", st)
	}
}

func TestMetaIsReplacedWithoutTheData(t *testing.T) {
	s := openStore(t, Options{})
	w := newWeb(1, 1000)
	if err := streamed(t, s, "k", "", w).Stored(); err != nil {
		t.Fatal(err)
	}
	if err := s.SetMeta("k", "v1", []byte("fresher")); err != nil {
		t.Fatal(err)
	}
	if err := s.SetMeta("k", "v0", nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("SetMeta of another version = %v", err)
	}
	s = reopen(t, s)
	if e, ok := s.Lookup("k"); !ok || string(e.Meta) != "fresher" {
		t.Errorf("entry %+v", e)
	}
	wantFiles(t, s, "k")
	wantBytes(t, streamed(t, s, "k", "", w), w.data)
}

// TestBrokenOrigins are cut after 1000 bytes. Whatever they do then, nobody gets wrong bytes, nor a short
// body that looks whole.
func TestBrokenOrigins(t *testing.T) {
	for _, tt := range []struct {
		name string
		spec func(*webOrigin)
		want error // nil: it is resumed
	}{
		{"resumes", func(*webOrigin) {}, nil},
		{"ignores ranges", func(w *webOrigin) { w.rangeless = true }, nil},
		{"has changed", func(w *webOrigin) { w.versions = []string{"v1", "v2"} }, ErrChanged},
		{"has no validator", func(w *webOrigin) { w.weak = true }, ErrNoResume},
		{"has no length and no validator", func(w *webOrigin) { w.weak, w.chunked = true, true }, ErrNoResume},
		{"has no length", func(w *webOrigin) { w.chunked = true }, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWeb(1, 2*mib)
			w.cuts = []int64{1000}
			tt.spec(w)
			inBubble(t, w.origin, func(t *testing.T, s *Store) {
				r := streamed(t, s, "k", "", w)
				got, err := io.ReadAll(r)
				if !errors.Is(err, tt.want) || tt.want == nil && err != nil {
					t.Errorf("error %v, want %v", err, tt.want)
				}
				if !bytes.HasPrefix(w.data, got) || err == nil && len(got) != len(w.data) {
					t.Errorf("%d bytes that are not the object's", len(got))
				}
				if err != nil {
					if err := r.Stored(); !errors.Is(err, tt.want) {
						t.Errorf("Stored = %v", err)
					}
					if _, ok := s.Lookup("k"); ok {
						t.Error("a broken object is published")
					}
				} else if calls, _ := w.seen(); len(calls) != 2 || calls[1].offset != 1000 || w.asked[1] != "v1" {
					t.Errorf("calls %v insisting on %q", calls, w.asked)
				}
			})
		})
	}
}

// TestWhatIsSkippedIsPaidFor: an origin that ignores ranges sends again what is here, which is read no faster than the
// rest, and may take longer than a silence.
func TestWhatIsSkippedIsPaidFor(t *testing.T) {
	dir := t.TempDir()
	w := newWeb(1, 8*mib)
	w.cuts, w.rangeless = []int64{6 * mib}, true
	synctest.Test(t, func(t *testing.T) {
		s := openStore(t, Options{Dir: dir, Stall: 10 * time.Second, Admit: NewBudget(mib / 4).Admit})
		began := time.Now()
		r := streamed(t, s, "k", "", w)
		wantBytes(t, r, w.data)
		if took := time.Since(began); took < 55*time.Second || took > 60*time.Second {
			t.Errorf("14 MiB at 0.25 MiB/s took %v", took)
		}
		if calls, _ := w.seen(); len(calls) != 2 || s.Stats().BytesIn != 14*mib {
			t.Errorf("calls %v brought %d bytes", calls, s.Stats().BytesIn)
		}
	})
}

func TestOpaqueRangesAreKept(t *testing.T) {
	s := openStore(t, Options{})
	w := newWeb(1, 8*mib)
	open := func() *Reader {
		r, err := s.Stream(t.Context(), "k", "", 6*mib+10, 5000, w.answer)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Close() })
		return r
	}
	readers := []*Reader{open(), open(), open()}
	for _, r := range readers {
		wantRange(t, r, w.origin, 6*mib+10, 6*mib+5010)
	}
	if calls, _ := w.seen(); !slices.Equal(calls, []call{{6*mib + 10, 5000}}) {
		t.Errorf("calls %v", calls)
	}
	wantRange(t, readers[0], w.origin, 0, 8*mib)
	if err := readers[0].Stored(); err != nil {
		t.Fatal(err)
	}
	if _, sent := w.seen(); sent > 8*mib+5000 {
		t.Errorf("%d bytes sent", sent)
	}
}

func TestOriginWithoutRangesIsReadFromTheFront(t *testing.T) {
	s := openStore(t, Options{})
	w := newWeb(1, 8*mib)
	w.rangeless = true
	r, err := s.Stream(t.Context(), "k", "", 6*mib, 5000, w.answer)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	wantRange(t, r, w.origin, 6*mib, 6*mib+5000)
	wantRange(t, r, w.origin, 0, 8*mib)
}

func TestEndIsWithheldUntilTheDigestChecks(t *testing.T) {
	for _, right := range []bool{true, false} {
		for _, chunked := range []bool{true, false} {
			s := openStore(t, Options{})
			w := newWeb(1, mib)
			w.chunked, w.digest = chunked, w.obj.SHA256
			if !right {
				w.digest[0]++
			}
			var got []byte
			r, err := s.Stream(t.Context(), "k", "", 0, 0, w.answer)
			if err == nil {
				got, err = io.ReadAll(r)
				r.Close()
			}
			switch {
			case right && (err != nil || !bytes.Equal(got, w.data)):
				t.Errorf("%d bytes, %v", len(got), err)
			case !right && (!errors.Is(err, ErrCorrupt) || len(got) > mib-withheld):
				t.Errorf("wrong object: %d bytes, %v", len(got), err)
			}
		}
	}
}

func TestOpaqueObjectThatDoesNotFit(t *testing.T) {
	s := openStore(t, Options{MaxBytes: growth + mib})
	w := newWeb(1, 12*mib)
	if _, err := s.Stream(t.Context(), "k", "", 0, 0, w.answer); !errors.Is(err, ErrNotStored) {
		t.Errorf("error %v", err)
	}
	w.chunked = true // it turns out half-way
	r := streamed(t, s, "k", "", w)
	wantBytes(t, r, w.data)
	if err := r.Stored(); !errors.Is(err, ErrNotStored) {
		t.Errorf("Stored = %v", err)
	}
}

func TestOpaqueOriginThatNeverAnswers(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := openStore(t, Options{Dir: dir, Stall: time.Second})
		never := func(ctx context.Context, _ string, _, _ int64) (*Arrival, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		if _, err := s.Stream(t.Context(), "k", "", 0, 0, never); !errors.Is(err, errStalled) {
			t.Errorf("error %v", err)
		}
	})
}

func TestOnlyClientLeavesBeforeTheAnswer(t *testing.T) {
	s := openStore(t, Options{})
	w := newWeb(1, 2*mib)
	ctx, leave := context.WithCancel(t.Context())
	asked, answer := make(chan struct{}), make(chan struct{})
	failed := make(chan error)
	go func() {
		_, err := s.Stream(ctx, "k", "", 0, 0, func(ctx context.Context, version string, offset, length int64) (*Arrival, error) {
			close(asked)
			<-answer
			return w.answer(ctx, version, offset, length)
		})
		failed <- err
	}()
	<-asked
	leave()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("Stream = %v", err)
	}
	close(answer)
	wantBytes(t, streamed(t, s, "k", "", w), w.data)
	if calls, _ := w.seen(); len(calls) != 1 {
		t.Errorf("calls %v", calls)
	}
}

// TestPartThatBeginsElsewhere than it was asked for is no part of the object.
func TestPartThatBeginsElsewhere(t *testing.T) {
	s := openStore(t, Options{})
	w := newWeb(1, 2*mib)
	w.cuts = []int64{mib}
	r, err := s.Stream(t.Context(), "k", "", 0, 0, func(ctx context.Context, version string, offset, length int64) (*Arrival, error) {
		if offset > 0 {
			offset += 100
		}
		return w.answer(ctx, version, offset, length)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); !errors.Is(err, errNoRanges) || !bytes.Equal(got, w.data[:mib]) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// TestPartOfAnotherVersionIsNoBeginning: the rest of what is here was asked for, and comes of something else.
func TestPartOfAnotherVersionIsNoBeginning(t *testing.T) {
	dir := t.TempDir()
	w, changed := newWeb(1, 8*mib), newWeb(2, 8*mib)
	changed.versions = []string{"v2"}
	halfFilled(t, dir, func(s *Store) *Reader { return streamed(t, s, "k", "", w) }, w.origin)
	s := openStore(t, Options{Dir: dir})
	if r, err := s.Stream(t.Context(), "k", "", 0, 0, changed.answer); !errors.Is(err, ErrChanged) {
		t.Errorf("%+v, %v", r, err)
	}
}
