package cache

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// inBubble runs a story whose pauses take no time.
func inBubble(t *testing.T, o *origin, story func(t *testing.T, s *Store)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		if o.gateAt > 0 {
			o.gate = make(chan struct{})
		}
		story(t, openStore(t, Options{Dir: dir}))
	})
}

func TestCutIsResumed(t *testing.T) {
	o := newOrigin(1, 8*ChunkSize+5)
	o.cuts = []int64{100, 0, 3*ChunkSize - 7, 0, 0, ChunkSize, 1, 1}
	inBubble(t, o, func(t *testing.T, s *Store) {
		wantBytes(t, fetch(t, s, "k", o), o.data)
		calls, sent := o.seen()
		if sent != o.obj.Size || len(calls) != 9 {
			t.Errorf("%d bytes cost %d in %d calls", o.obj.Size, sent, len(calls))
		}
		if calls[1] != (call{100, 0}) || calls[3] != (call{3*ChunkSize + 93, 0}) {
			t.Errorf("calls %v", calls)
		}
		if st := s.Stats(); st.Resumes != 8 {
			t.Errorf("%d resumes, want 8", st.Resumes)
		}
	})
}

func TestShortBodyIsResumed(t *testing.T) {
	o := newOrigin(1, 2*ChunkSize)
	o.errs = []error{io.EOF, nil}
	inBubble(t, o, func(t *testing.T, s *Store) {
		wantBytes(t, fetch(t, s, "k", o), o.data)
	})
}

func TestHopelessSourceEndsFill(t *testing.T) {
	o := newOrigin(1, 4*ChunkSize)
	o.cuts = []int64{ChunkSize + 1, 0, 0, 0, 0, 0}
	inBubble(t, o, func(t *testing.T, s *Store) {
		r := fetch(t, s, "k", o)
		begin := time.Now()
		got, err := io.ReadAll(r)
		if !errors.Is(err, errCut) || !bytes.Equal(got, o.data[:ChunkSize]) {
			t.Errorf("read %d bytes, %v", len(got), err)
		}
		if took := time.Since(begin); took < 2*time.Second || took > 20*time.Second {
			t.Errorf("gave up after %v", took)
		}
		if calls, _ := o.seen(); len(calls) != 6 {
			t.Errorf("%d calls, want 6", len(calls))
		}
		if st := s.Stats(); st.FillErrors != 1 || st.Entries != 0 || st.Filling != 0 {
			t.Errorf("stats %+v", st)
		}
		wantBytes(t, fetch(t, s, "k", o), o.data) // a later one starts afresh
	})
}

func TestPermanentErrorEndsFillAtOnce(t *testing.T) {
	notFound := errors.New("not found")
	o := newOrigin(1, 100)
	o.errs = []error{backoff.Permanent(notFound)}
	s := openStore(t, Options{})
	r, err := s.Fetch(t.Context(), "k", o.obj, o.open)
	if err == nil {
		defer r.Close()
		err = r.Ready()
	}
	if !errors.Is(err, notFound) {
		t.Errorf("error %v", err)
	}
	if calls, _ := o.seen(); len(calls) != 1 {
		t.Errorf("calls %v", calls)
	}
}

func TestStalledSourceIsCut(t *testing.T) {
	o := newOrigin(1, 2*ChunkSize)
	o.gateAt = ChunkSize + 50
	inBubble(t, o, func(t *testing.T, s *Store) {
		r := fetch(t, s, "k", o)
		time.AfterFunc(45*time.Second, func() { close(o.gate) })
		wantBytes(t, r, o.data)
		calls, sent := o.seen()
		if len(calls) != 2 || sent != o.obj.Size {
			t.Errorf("%d bytes in calls %v", sent, calls)
		}
	})
}

func TestSourceThatNeverSendsEndsFill(t *testing.T) {
	o := newOrigin(1, 2*ChunkSize)
	o.gateAt = ChunkSize
	inBubble(t, o, func(t *testing.T, s *Store) {
		got, err := io.ReadAll(fetch(t, s, "k", o))
		if !errors.Is(err, errStalled) || len(got) != ChunkSize {
			t.Errorf("read %d bytes, %v", len(got), err)
		}
	})
}

func TestCorruptChunkIsFetchedAlone(t *testing.T) {
	for _, chunk := range []int64{0, 2, 4} {
		o := newOrigin(1, 4*ChunkSize+99)
		o.corrupt[chunk*ChunkSize+7] = 1
		s := openStore(t, Options{})
		wantBytes(t, fetch(t, s, "k", o), o.data)
		want := []call{{0, 0}, {chunk * ChunkSize, o.obj.chunkLen(chunk)}}
		if calls, _ := o.seen(); !slices.Equal(calls, want) {
			t.Errorf("calls %v, want %v", calls, want)
		}
		if st := s.Stats(); st.Corruptions != 1 || st.BytesIn != o.obj.Size+o.obj.chunkLen(chunk) {
			t.Errorf("stats %+v", st)
		}
	}
}

func TestCutWhileAChunkIsFetchedAlone(t *testing.T) {
	o := newOrigin(1, 4*ChunkSize)
	o.corrupt[ChunkSize] = 1
	o.cuts = []int64{5 * ChunkSize, 1000}
	inBubble(t, o, func(t *testing.T, s *Store) {
		wantBytes(t, fetch(t, s, "k", o), o.data)
		want := []call{{0, 0}, {ChunkSize, ChunkSize}, {ChunkSize + 1000, ChunkSize - 1000}}
		if calls, _ := o.seen(); !slices.Equal(calls, want) {
			t.Errorf("calls %v, want %v", calls, want)
		}
	})
}

func TestSlippedStreamIsOpenedAnew(t *testing.T) {
	o := newOrigin(1, 6*ChunkSize)
	o.corrupt[ChunkSize], o.corrupt[2*ChunkSize] = 1, 1
	s := openStore(t, Options{})
	wantBytes(t, fetch(t, s, "k", o), o.data)
	want := []call{{0, 0}, {ChunkSize, ChunkSize}, {2 * ChunkSize, ChunkSize}, {3 * ChunkSize, 0}}
	if calls, _ := o.seen(); !slices.Equal(calls, want) {
		t.Errorf("calls %v, want %v", calls, want)
	}
}

func TestChunkCorruptTwiceEndsFill(t *testing.T) {
	o := newOrigin(1, 4*ChunkSize)
	o.corrupt[2*ChunkSize+100] = 2
	o.gate, o.gateAt = make(chan struct{}), ChunkSize
	s := openStore(t, Options{})
	first, second := fetch(t, s, "k", o), fetch(t, s, "k", o)
	close(o.gate)
	for _, r := range []*Reader{first, second} {
		got, err := io.ReadAll(r)
		if !errors.Is(err, ErrCorrupt) || !bytes.Equal(got, o.data[:2*ChunkSize]) {
			t.Errorf("read %d bytes, %v", len(got), err)
		}
		if err := r.Stored(); !errors.Is(err, ErrCorrupt) {
			t.Errorf("Stored = %v", err)
		}
	}
	if st := s.Stats(); st.Corruptions != 2 || st.FillErrors != 1 || st.Entries != 0 {
		t.Errorf("stats %+v", st)
	}
	s.Close()
	wantFiles(t, s)
}

// TestWrongWholeIsNeverWhole has a description whose chunks are right but not its digest.
func TestWrongWholeIsNeverWhole(t *testing.T) {
	o := newOrigin(1, 3*ChunkSize)
	o.obj.SHA256[0]++
	o.gate, o.gateAt = make(chan struct{}), ChunkSize
	s := openStore(t, Options{})
	r := fetch(t, s, "k", o)
	close(o.gate)
	got, err := io.ReadAll(r)
	if !errors.Is(err, ErrCorrupt) || len(got) != 2*ChunkSize {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
	wantMiss(t, s, "k", o)
}

func TestExcessBytesAreIgnored(t *testing.T) {
	o := newOrigin(1, ChunkSize+1)
	o.excess = bytes.Repeat([]byte("x"), 1000)
	s := openStore(t, Options{})
	wantBytes(t, fetch(t, s, "k", o), o.data)
	store(t, s, "k", o)
	wantGet(t, s, "k", o, TierDisk)
	if st := s.Stats(); st.BytesIn != o.obj.Size {
		t.Errorf("stats %+v", st)
	}
}

// halved is a body that takes one byte over the wire for two that it brings.
type halved struct {
	io.ReadCloser
	brought int64
}

func (h *halved) Read(p []byte) (int, error) {
	n, err := h.ReadCloser.Read(p)
	h.brought += int64(n)
	return n, err
}

func (h *halved) Received() int64 { return h.brought / 2 }

func TestWhatWentOverTheWireIsCountedAndPaid(t *testing.T) {
	o := newOrigin(30, 5*ChunkSize)
	o.cuts = []int64{2 * ChunkSize}
	var paid atomic.Int64
	s := openStore(t, Options{Admit: func(_ context.Context, n int, _ Load) error {
		paid.Add(int64(n))
		return nil
	}})
	r, err := s.Fetch(t.Context(), "a", o.obj, func(ctx context.Context, offset, length int64) (io.ReadCloser, error) {
		body, err := o.open(ctx, offset, length)
		if offset > 0 || err != nil {
			return body, err // the rest comes as it is
		}
		return &halved{ReadCloser: body}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, o.data) {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
	const want = 4 * ChunkSize // the first two at half the price
	if in := s.Stats().BytesIn; in != want || paid.Load() != want {
		t.Errorf("counted %d bytes and paid for %d, want %d", in, paid.Load(), want)
	}
}
