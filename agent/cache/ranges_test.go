package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// wantRange reads [begin, end) of the object.
func wantRange(t testing.TB, r *Reader, o *origin, begin, end int64) {
	t.Helper()
	if _, err := r.Seek(begin, io.SeekStart); err != nil {
		t.Error(err)
		return
	}
	wantBytes(t, io.LimitReader(r, end-begin), o.data[begin:end])
}

func TestTailRangeOvertakesTheFill(t *testing.T) {
	s := openStore(t, Options{})
	o := newOrigin(1, 8*mib+1000)
	o.gate, o.gateAt, o.gateEnd = make(chan struct{}), mib, 7*mib
	front, tail := fetch(t, s, "k", o), fetch(t, s, "k", o)
	if err := front.Ready(); err != nil {
		t.Fatal(err)
	}
	wantRange(t, tail, o, o.obj.Size-900, o.obj.Size)
	calls, _ := o.seen()
	if want := (call{8 * mib, 1000}); len(calls) < 2 || calls[1] != want {
		t.Errorf("calls %v, want %v second", calls, want)
	}
	close(o.gate)
	wantBytes(t, front, o.data)
	if err := front.Stored(); err != nil {
		t.Fatal(err)
	}
	if calls, sent := o.seen(); len(calls) != 2 || sent > o.obj.Size+1000 {
		t.Errorf("%d bytes cost %d in calls %v", o.obj.Size, sent, calls)
	}
	wantGet(t, s, "k", o, TierDisk)
}

func TestEqualColdRangesCostOneRequest(t *testing.T) {
	s := openStore(t, Options{})
	o := newOrigin(1, 16*mib)
	var herd sync.WaitGroup
	for range 20 {
		r := fetch(t, s, "k", o)
		herd.Go(func() { wantRange(t, r, o, 10*mib+5, 10*mib+70_000) })
	}
	herd.Wait()
	if calls, sent := o.seen(); len(calls) != 1 || sent > mib {
		t.Errorf("%d bytes in calls %v", sent, calls)
	}
}

// TestReaderFromTheMiddleIsFollowed reads on from the middle: each request asks for more than the last.
func TestReaderFromTheMiddleIsFollowed(t *testing.T) {
	s := openStore(t, Options{})
	o := newOrigin(1, 32*mib)
	r := fetch(t, s, "k", o)
	wantRange(t, r, o, 4*mib+77, o.obj.Size)
	if calls, sent := o.seen(); len(calls) > 12 || sent > 28*mib {
		t.Errorf("%d bytes in calls %v", sent, calls)
	}
}

func TestExpectedRangeIsAskedForAtOnce(t *testing.T) {
	s := openStore(t, Options{})
	o := newOrigin(1, 16*mib)
	r := fetch(t, s, "k", o)
	if _, err := r.Seek(4*mib, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	r.Expect(10 * mib)
	wantRange(t, r, o, 4*mib, 14*mib)
	if calls, _ := o.seen(); len(calls) < 1 || calls[0] != (call{4 * mib, 10 * mib}) {
		t.Errorf("calls %v", calls)
	}
}

func TestCorruptChunkInARangeIsFetchedAlone(t *testing.T) {
	s := openStore(t, Options{})
	o := newOrigin(1, 8*mib)
	o.corrupt[5*mib+3] = 1
	wantRange(t, fetch(t, s, "k", o), o, 5*mib, 5*mib+100)
	o.mu.Lock()
	o.corrupt[7*mib+3] = 2
	o.mu.Unlock()
	r := fetch(t, s, "k", o)
	if _, err := r.Seek(7*mib, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if n, err := r.Read(make([]byte, 10)); n != 0 || !errors.Is(err, ErrCorrupt) {
		t.Errorf("Read = %d, %v", n, err)
	}
}

func TestCutRangeIsResumed(t *testing.T) {
	o := newOrigin(1, 8*mib)
	o.cuts = []int64{1000}
	inBubble(t, o, func(t *testing.T, s *Store) {
		wantRange(t, fetch(t, s, "k", o), o, 5*mib, 5*mib+300_000)
		if calls, _ := o.seen(); len(calls) != 2 || calls[1] != (call{5*mib + 1000, mib - 1000}) {
			t.Errorf("calls %v", calls)
		}
	})
}

// TestAnyMixOfReadersCostsTheObjectOnce lets readers want ranges in any order while others read the whole.
func TestAnyMixOfReadersCostsTheObjectOnce(t *testing.T) {
	o := newOrigin(7, 12*mib+12345)
	base := memoryDir(t)
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(base, "")
		if err != nil {
			rt.Fatal(err)
		}
		defer os.RemoveAll(dir)
		o := &origin{data: o.data, obj: o.obj}
		ranges := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) segment {
			begin := rapid.Int64Range(0, o.obj.Size-1).Draw(t, "begin")
			return segment{begin, min(o.obj.Size, begin+rapid.Int64Range(1, 2*mib).Draw(t, "length"))}
		}), 1, 12).Draw(rt, "ranges")
		whole := rapid.IntRange(0, 2).Draw(rt, "whole readers")
		for range whole {
			ranges = append(ranges, segment{0, o.obj.Size})
		}
		if err := readAll(dir, o, ranges); err != nil {
			rt.Fatal(err)
		}
		_, sent := o.seen()
		if limit := o.obj.Size + o.obj.Size/20 + int64(len(ranges))*mib; sent > limit {
			rt.Fatalf("%d bytes sent, at most %d wanted", sent, limit)
		}
	})
}

func readAll(dir string, o *origin, ranges []segment) (err error) {
	s, err := Open(Options{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	var (
		readers sync.WaitGroup
		mu      sync.Mutex
	)
	for _, g := range ranges {
		readers.Go(func() {
			e := readRange(s, o, g)
			mu.Lock()
			defer mu.Unlock()
			err = errors.Join(err, e)
		})
	}
	readers.Wait()
	return err
}

func readRange(s *Store, o *origin, g segment) error {
	r, err := s.Fetch(context.Background(), "k", o.obj, o.open)
	if err != nil {
		return err
	}
	defer r.Close()
	if _, err := r.Seek(g.Begin, io.SeekStart); err != nil {
		return err
	}
	got, err := io.ReadAll(io.LimitReader(r, g.len()))
	if err != nil || !bytes.Equal(got, o.data[g.Begin:g.End]) {
		return fmt.Errorf("range %v: %d wrong bytes, %v", g, len(got), err)
	}
	return nil
}

// farOrigin is a round trip of 100 ms away, at 8 MiB/s.
func farOrigin(o *origin) Source {
	return func(ctx context.Context, offset, length int64) (io.ReadCloser, error) {
		time.Sleep(100 * time.Millisecond)
		body, err := o.open(ctx, offset, length)
		return farBody{body}, err
	}
}

type farBody struct{ io.ReadCloser }

func (b farBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p[:min(len(p), 32<<10)])
	time.Sleep(time.Duration(n) * time.Second / (8 * mib))
	return n, err
}

func TestGapsAreAskedForARoundTripEarly(t *testing.T) {
	o := newOrigin(1, 16*mib)
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := openStore(t, Options{Dir: dir})
		get := func() *Reader {
			r, err := s.Fetch(t.Context(), "k", o.obj, farOrigin(o))
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		r := get()
		defer r.Close()
		for _, at := range []int64{4, 8, 12} {
			wantRange(t, r, o, at*mib, at*mib+10)
		}
		synctest.Wait()
		time.Sleep(time.Second) // the windows are here
		begin := time.Now()
		wantRange(t, r, o, 0, o.obj.Size)
		ideal := 100*time.Millisecond + 13*time.Second/8
		if took := time.Since(begin); took > ideal+100*time.Millisecond {
			t.Errorf("13 MiB in four gaps took %v, one stream would %v", took, ideal)
		}
		if _, sent := o.seen(); sent != o.obj.Size {
			t.Errorf("%d bytes sent", sent)
		}
	})
}

func TestSlowTailReaderDoesNotSlowTheFront(t *testing.T) {
	s := openStore(t, Options{})
	o := newOrigin(1, 8*mib)
	tail := fetch(t, s, "k", o)
	wantRange(t, tail, o, 6*mib, 6*mib+10)
	store(t, s, "k", o) // while the tail's reader does nothing
	wantBytes(t, tail, o.data[6*mib+10:])
}

// TestFillBuffersNoObject counts what the fill of a large object allocates.
func TestFillBuffersNoObject(t *testing.T) {
	o := newOrigin(1, 64*mib)
	s := openStore(t, Options{})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	store(t, s, "k", o)
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 8*mib {
		t.Errorf("64 MiB cost %d bytes of memory", n)
	}
}
