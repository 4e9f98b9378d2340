package cache

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

const mib = 1 << 20

func TestHerdCostsOneTransfer(t *testing.T) {
	for _, size := range []int{0, 1, 1000, ChunkSize, 2*mib + 17} {
		s := openStore(t, Options{})
		o := newOrigin(1, size)
		var herd sync.WaitGroup
		for range 50 {
			herd.Go(func() {
				r, err := s.Fetch(t.Context(), "images/linux", o.obj, o.open)
				if err != nil {
					t.Error(err)
					return
				}
				defer r.Close()
				wantBytes(t, r, o.data)
			})
		}
		herd.Wait()
		if calls, sent := o.seen(); sent != int64(size) || len(calls) > 1 {
			t.Errorf("%d bytes cost %d in %d calls", size, sent, len(calls))
		}
		if st := s.Stats(); st.Misses != 1 || st.Misses+st.Coalesced+st.DiskHits != 50 || st.BytesIn != int64(size) {
			t.Errorf("stats %+v", st)
		}
	}
}

func TestReadersStreamWhileTheFillRuns(t *testing.T) {
	s := openStore(t, Options{})
	o := newOrigin(1, 4*ChunkSize)
	o.gate, o.gateAt = make(chan struct{}), 2*ChunkSize+100
	first, second := fetch(t, s, "k", o), fetch(t, s, "k", o)
	if first.Tier() != TierFill || second.Tier() != TierJoined {
		t.Errorf("tiers %s and %s", first.Tier(), second.Tier())
	}
	for _, r := range []*Reader{first, second} {
		wantBytes(t, io.LimitReader(r, 2*ChunkSize), o.data[:2*ChunkSize])
		if _, whole := r.File(); whole {
			t.Error("half an object offered as a file")
		}
	}
	wantMiss(t, s, "k", o)
	close(o.gate)
	for _, r := range []*Reader{first, second} {
		wantBytes(t, r, o.data[2*ChunkSize:])
		if f, whole := r.File(); !whole {
			t.Error("a whole object is not offered as a file")
		} else {
			wantBytes(t, f, o.data)
		}
	}
}

func TestFirstClientLeaves(t *testing.T) {
	s := openStore(t, Options{})
	o := newOrigin(1, 4*ChunkSize)
	o.gate, o.gateAt = make(chan struct{}), ChunkSize
	ctx, leave := context.WithCancel(t.Context())
	first, err := s.Fetch(ctx, "k", o.obj, o.open)
	if err != nil {
		t.Fatal(err)
	}
	second := fetch(t, s, "k", o)
	if err := first.Ready(); err != nil {
		t.Fatal(err)
	}
	leave()
	first.Close()
	close(o.gate)
	wantBytes(t, second, o.data)
	if calls, _ := o.seen(); len(calls) != 1 {
		t.Errorf("calls %v", calls)
	}
}

func TestLoneClientLeaves(t *testing.T) {
	s := openStore(t, Options{})
	o := newOrigin(1, 4*ChunkSize)
	o.gate, o.gateAt = make(chan struct{}), ChunkSize
	ctx, leave := context.WithCancel(t.Context())
	lone, err := s.Fetch(ctx, "k", o.obj, o.open)
	if err != nil {
		t.Fatal(err)
	}
	leave()
	lone.Close()
	close(o.gate)
	store(t, s, "k", o)
	if calls, _ := o.seen(); len(calls) != 1 {
		t.Errorf("calls %v", calls)
	}
	wantGet(t, s, "k", o, TierDisk)
}

func TestWaitingReaderReturnsWhenItsContextEnds(t *testing.T) {
	s := openStore(t, Options{})
	o := newOrigin(1, 4*ChunkSize)
	o.gate, o.gateAt, o.waiting = make(chan struct{}), ChunkSize, make(chan struct{}, 1)
	gone := errors.New("client is gone")
	ctx, leave := context.WithCancelCause(t.Context())
	r, err := s.Fetch(ctx, "k", o.obj, o.open)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	wantBytes(t, io.LimitReader(r, ChunkSize), o.data[:ChunkSize])
	<-o.waiting
	time.AfterFunc(0, func() { leave(gone) })
	if n, err := r.Read(make([]byte, 1)); n != 0 || !errors.Is(err, gone) {
		t.Errorf("Read = %d, %v", n, err)
	}
	if err := r.Ready(); !errors.Is(err, gone) {
		t.Errorf("Ready = %v", err)
	}
	if err := r.Stored(); !errors.Is(err, gone) {
		t.Errorf("Stored = %v", err)
	}
	if _, err := s.Fetch(ctx, "k", o.obj, o.open); !errors.Is(err, gone) {
		t.Errorf("Fetch = %v", err)
	}
}

func TestSlowReaderSlowsNobody(t *testing.T) {
	s := openStore(t, Options{})
	o := newOrigin(1, 8*ChunkSize)
	slow := fetch(t, s, "k", o)
	wantBytes(t, io.LimitReader(slow, 10), o.data[:10])
	wantBytes(t, fetch(t, s, "k", o), o.data)
	wantBytes(t, slow, o.data[10:])
}

func TestNewVersionReplacesOld(t *testing.T) {
	s := openStore(t, Options{HotBytes: 8 * mib})
	v1, v2 := newOrigin(1, 2*ChunkSize), newOrigin(2, 2*ChunkSize)
	store(t, s, "images/linux", v1)
	wantGet(t, s, "images/linux", v1, TierDisk)
	old := fetch(t, s, "images/linux", v1)
	wantBytes(t, io.LimitReader(old, 100), v1.data[:100])

	v2.gate, v2.gateAt = make(chan struct{}), ChunkSize
	next := fetch(t, s, "images/linux", v2)
	if err := next.Ready(); err != nil {
		t.Fatal(err)
	}
	if cur, ok := s.Current("images/linux"); !ok || cur.SHA256 != v1.obj.SHA256 {
		t.Error("the old version went before the new one was whole")
	}
	close(v2.gate)
	wantBytes(t, next, v2.data)
	if err := next.Stored(); err != nil {
		t.Fatal(err)
	}
	wantBytes(t, old, v1.data[100:])
	wantMiss(t, s, "images/linux", v1)
	wantGet(t, s, "images/linux", v2, TierDisk)
	if st := s.Stats(); st.Entries != 1 || st.Bytes != v2.obj.Size {
		t.Errorf("stats %+v", st)
	}
	wantFiles(t, s, "images/linux")
}

func TestLateOldVersionDoesNotReplaceNew(t *testing.T) {
	s := openStore(t, Options{})
	v1, v2 := newOrigin(1, 2*ChunkSize), newOrigin(2, 2*ChunkSize)
	v1.gate, v1.gateAt = make(chan struct{}), ChunkSize
	late := fetch(t, s, "k", v1)
	store(t, s, "k", v2)
	close(v1.gate)
	wantBytes(t, late, v1.data)
	if err := late.Stored(); err != nil {
		t.Fatal(err)
	}
	wantGet(t, s, "k", v2, TierDisk)
	wantMiss(t, s, "k", v1)
	s.Close() // and with it the removal of the part file
	wantFiles(t, s, "k")
}

func TestRemovedObjectIsFetchedAgain(t *testing.T) {
	s := openStore(t, Options{HotBytes: mib})
	o := newOrigin(1, 1000)
	store(t, s, "a/b/c", o)
	wantGet(t, s, "a/b/c", o, TierDisk)
	open := fetch(t, s, "a/b/c", o)
	if err := s.Remove("a/b/c"); err != nil {
		t.Fatal(err)
	}
	wantMiss(t, s, "a/b/c", o)
	wantFiles(t, s)
	wantBytes(t, open, o.data)
	if err := s.Remove("a/b/c"); err != nil {
		t.Errorf("removing nothing: %v", err)
	}
	store(t, s, "a/b/c", o)
	if calls, _ := o.seen(); len(calls) != 2 {
		t.Errorf("%d calls, want 2", len(calls))
	}
}

// TestServeContent shows that net/http can serve a reader, ranges of a running fill included.
func TestServeContent(t *testing.T) {
	s := openStore(t, Options{})
	o := newOrigin(1, 3*ChunkSize)
	o.gate, o.gateAt = make(chan struct{}), 2*ChunkSize
	for _, tt := range []struct {
		header string
		want   []byte
	}{
		{"bytes=100-299", o.data[100:300]},
		{"bytes=262100-262199", o.data[262100:262200]},
	} {
		req := httptest.NewRequest(http.MethodGet, "/k", nil)
		req.Header.Set("Range", tt.header)
		rec := httptest.NewRecorder()
		http.ServeContent(rec, req, "k", time.Time{}, fetch(t, s, "k", o))
		if rec.Code != http.StatusPartialContent || !bytes.Equal(rec.Body.Bytes(), tt.want) {
			t.Errorf("%s: status %d, %d bytes", tt.header, rec.Code, rec.Body.Len())
		}
	}
	close(o.gate)
}

func TestSeek(t *testing.T) {
	s := openStore(t, Options{})
	o := newOrigin(1, ChunkSize+10)
	r := fetch(t, s, "k", o)
	for _, tt := range []struct {
		offset int64
		whence int
		want   int64
		ok     bool
	}{
		{5, io.SeekStart, 5, true},
		{5, io.SeekCurrent, 10, true},
		{-11, io.SeekCurrent, 10, false},
		{0, 9, 10, false},
		{-3, io.SeekEnd, ChunkSize + 7, true},
	} {
		if got, err := r.Seek(tt.offset, tt.whence); got != tt.want || (err == nil) != tt.ok {
			t.Errorf("Seek(%d, %d) = %d, %v", tt.offset, tt.whence, got, err)
		}
	}
	wantBytes(t, r, o.data[ChunkSize+7:])
	if _, err := r.Seek(1, io.SeekEnd); err != nil {
		t.Error(err)
	}
	if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("Read behind the end = %d, %v", n, err)
	}
}

func TestCloseStopsFills(t *testing.T) {
	s := openStore(t, Options{})
	o, whole := newOrigin(1, 4*ChunkSize), newOrigin(2, 100)
	store(t, s, "whole", whole)
	o.gate, o.gateAt = make(chan struct{}), ChunkSize
	r, file := fetch(t, s, "k", o), fetch(t, s, "whole", whole)
	wantBytes(t, io.LimitReader(r, 10), o.data[:10])
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if !errors.Is(err, ErrClosed) || !bytes.Equal(got, o.data[10:ChunkSize]) {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
	wantBytes(t, file, whole.data)
	if _, err := s.Fetch(t.Context(), "k", o.obj, o.open); !errors.Is(err, ErrClosed) {
		t.Errorf("Fetch = %v", err)
	}
	if err := s.Remove("whole"); !errors.Is(err, ErrClosed) {
		t.Errorf("Remove = %v", err)
	}
	if err := s.Close(); !errors.Is(err, ErrClosed) {
		t.Errorf("Close = %v", err)
	}
}

func TestFetchRefusesNonsense(t *testing.T) {
	s := openStore(t, Options{})
	o := newOrigin(1, 10)
	for _, key := range []Key{"", ".", "/a", "a/", "a//b", "../a", "a/./b", "a\xff", Key(bytes.Repeat([]byte("x"), 1025))} {
		if _, err := s.Fetch(t.Context(), key, o.obj, o.open); !errors.Is(err, ErrBadKey) {
			t.Errorf("key %.20q: %v", key, err)
		}
	}
	for _, obj := range []Object{
		{Size: -1},
		{},
		{Size: 1},
		{Size: ChunkSize, Chunks: make([]Digest, 2)},
		{Size: ChunkSize + 1, Chunks: make([]Digest, 1)},
	} {
		if _, err := s.Fetch(t.Context(), "k", obj, o.open); !errors.Is(err, ErrBadObject) {
			t.Errorf("object %+v: %v", obj, err)
		}
	}
	if calls, _ := o.seen(); len(calls) != 0 {
		t.Errorf("calls %v", calls)
	}
}

func TestClosedReader(t *testing.T) {
	s := openStore(t, Options{})
	r, err := s.Fetch(t.Context(), "k", newOrigin(1, 10).obj, newOrigin(1, 10).open)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Read(make([]byte, 1)); err == nil || err == io.EOF {
		t.Errorf("Read = %v", err)
	}
	if r.Ready() == nil || r.Close() == nil {
		t.Error("a closed reader does not say so")
	}
}
