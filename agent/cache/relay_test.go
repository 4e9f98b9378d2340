package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// failAfter has the store's disk take so many bytes of each object.
func failAfter(s *Store, room int64, fault error) {
	create := s.createPart
	s.createPart = func(name string, keep bool) (part, error) {
		p, err := create(name, keep)
		return failingPart{part: p, room: room, err: fault}, err
	}
}

// TestDiskThatFailsUnderWhatCannotBeAskedForAgain cuts nobody, and costs one transfer.
func TestDiskThatFailsUnderWhatCannotBeAskedForAgain(t *testing.T) {
	for name, spec := range map[string]func(*webOrigin){
		"weak":                func(w *webOrigin) { w.weak = true },
		"no length":           func(w *webOrigin) { w.chunked = true },
		"neither":             func(w *webOrigin) { w.weak, w.chunked = true, true },
		"no length, a digest": func(w *webOrigin) { w.chunked, w.digest = true, w.obj.SHA256 },
		"weak, a digest":      func(w *webOrigin) { w.weak, w.digest = true, w.obj.SHA256 },
	} {
		for _, fault := range []error{syscall.ENOSPC, syscall.EIO} {
			t.Run(name+", "+fault.Error(), func(t *testing.T) {
				s := openStore(t, Options{})
				failAfter(s, mib, fault)
				w := newWeb(1, 3*relayWindow+5)
				spec(w)
				w.gate, w.gateAt = make(chan struct{}), mib/2
				var readers sync.WaitGroup
				for i := range 5 {
					r := streamed(t, s, "k", "", w)
					wantBytes(t, io.LimitReader(r, 1000), w.data[:1000])
					readers.Go(func() {
						in := io.Reader(r)
						if i == 0 {
							in = struct{ io.Reader }{io.LimitReader(r, 1<<40)} // small pieces
						}
						wantBytes(t, in, w.data[1000:])
						if err := r.Stored(); !errors.Is(err, ErrNotStored) {
							t.Errorf("Stored = %v", err)
						}
					})
				}
				close(w.gate)
				readers.Wait()
				if calls, _ := w.seen(); len(calls) != 1 {
					t.Errorf("calls %v", calls)
				}
				s.Close()
				wantFiles(t, s)
			})
		}
	}
}

// lateEnd is a body whose last bytes come when the channel is closed.
type lateEnd struct {
	io.ReadCloser
	left int // bytes before them
	end  chan struct{}
}

func (l *lateEnd) Read(p []byte) (int, error) {
	if l.left == 0 {
		<-l.end
		return l.ReadCloser.Read(p)
	}
	n, err := l.ReadCloser.Read(p[:min(len(p), l.left)])
	l.left -= n
	return n, err
}

func TestWrongObjectIsNotRelayedToItsEnd(t *testing.T) {
	dir := t.TempDir()
	w := newWeb(1, 3*mib)
	w.chunked, w.digest = true, w.obj.SHA256
	w.digest[0]++
	synctest.Test(t, func(t *testing.T) {
		s := openStore(t, Options{Dir: dir})
		failAfter(s, mib, syscall.EIO)
		w.gate, w.gateAt = make(chan struct{}), mib/2 // the disk fails when there is a reader
		end := make(chan struct{})
		r, err := s.Stream(t.Context(), "k", "", 0, 0, func(ctx context.Context, version string, offset, length int64) (*Arrival, error) {
			a, err := w.answer(ctx, version, offset, length)
			if err == nil {
				a.Body = &lateEnd{a.Body, 3*mib - 1, end}
			}
			return a, err
		})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		close(w.gate)
		var got []byte
		read := make(chan error)
		go func() {
			var err error
			for err == nil {
				var n int
				buf := make([]byte, 32<<10)
				n, err = r.Read(buf)
				got = append(got, buf[:n]...)
			}
			read <- err
		}()
		synctest.Wait()
		if n := len(got); n > 3*mib-withheld || n < mib {
			t.Errorf("%d bytes before the end has come", n)
		}
		close(end)
		if err := <-read; !errors.Is(err, ErrCorrupt) || len(got) > 3*mib-withheld {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})
}

// laidOnly is a disk that takes the zeros that a block is laid out with, and then no data behind room.
type laidOnly struct {
	part
	room int64
}

func (p laidOnly) WriteAt(b []byte, offset int64) (int, error) {
	if &b[0] != &zeros[0] && offset+int64(len(b)) > p.room {
		return 0, syscall.EIO
	}
	return p.part.WriteAt(b, offset)
}

// TestTheKernelSendsNothingOfWhatARelayHas: in the part file there is something else at its place.
func TestTheKernelSendsNothingOfWhatARelayHas(t *testing.T) {
	s := openStore(t, Options{})
	create := s.createPart
	s.createPart = func(name string, keep bool) (part, error) {
		p, err := create(name, keep)
		return laidOnly{p, mib + 100_000}, err
	}
	w := newWeb(1, 3*mib)
	w.weak = true
	w.gate, w.gateAt = make(chan struct{}), mib/2
	r, err := s.Stream(t.Context(), "k", "", 0, 0, func(ctx context.Context, version string, offset, length int64) (*Arrival, error) {
		a, err := w.answer(ctx, version, offset, length)
		if err == nil {
			a.Body = fewBytes{a.Body, 10_000}
		}
		return a, err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	close(w.gate)
	var got bytes.Buffer
	for got.Len() < len(w.data) {
		file, n, err := r.Sendable(mib)
		if err != nil {
			t.Fatal(err)
		}
		if file == nil { // it has to be read
			if n, err = io.CopyN(&got, r, 1000); n == 0 {
				t.Fatal(err)
			}
			continue
		}
		if _, err := io.CopyN(&got, file, n); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Seek(n, io.SeekCurrent); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(got.Bytes(), w.data) {
		t.Error("other bytes")
	}
}

// TestReaderThatTakesNothing of a relay is cut, and the others go on.
func TestReaderThatTakesNothing(t *testing.T) {
	dir := t.TempDir()
	w := newWeb(1, 3*relayWindow)
	w.weak = true
	synctest.Test(t, func(t *testing.T) {
		s := openStore(t, Options{Dir: dir, Stall: time.Minute})
		failAfter(s, mib, syscall.ENOSPC)
		w.gate, w.gateAt = make(chan struct{}), mib/2
		stalled, r := streamed(t, s, "k", "", w), streamed(t, s, "k", "", w)
		wantBytes(t, io.LimitReader(stalled, 1000), w.data[:1000])
		if err := r.Ready(); err != nil {
			t.Fatal(err)
		}
		close(w.gate)
		began := time.Now()
		wantBytes(t, r, w.data)
		if took := time.Since(began); took < time.Minute || took > 2*time.Minute {
			t.Errorf("it took %v", took)
		}
		if _, err := io.ReadAll(stalled); !errors.Is(err, ErrNotStored) {
			t.Errorf("who stalled gets %v", err)
		}
	})
}

// TestReadersThatTakeNothing are cut one after the other.
func TestReadersThatTakeNothing(t *testing.T) {
	dir := t.TempDir()
	w := newWeb(1, 3*relayWindow)
	w.weak = true
	synctest.Test(t, func(t *testing.T) {
		s := openStore(t, Options{Dir: dir, Stall: time.Minute})
		failAfter(s, mib, syscall.ENOSPC)
		w.gate, w.gateAt = make(chan struct{}), mib/2
		r, first, second := streamed(t, s, "k", "", w), streamed(t, s, "k", "", w), streamed(t, s, "k", "", w)
		if err := r.Ready(); err != nil {
			t.Fatal(err)
		}
		close(w.gate)
		wantBytes(t, io.LimitReader(first, mib+1000), w.data[:mib+1000])
		wantBytes(t, io.LimitReader(second, mib+2000), w.data[:mib+2000])
		began := time.Now()
		wantBytes(t, r, w.data)
		if took := time.Since(began); took > 5*time.Minute {
			t.Errorf("it took %v", took)
		}
	})
}

// TestRelayEndsWithItsReaders: nobody else needs it.
func TestRelayEndsWithItsReaders(t *testing.T) {
	dir := t.TempDir()
	w := newWeb(1, 3*relayWindow)
	w.weak = true
	synctest.Test(t, func(t *testing.T) {
		s := openStore(t, Options{Dir: dir})
		failAfter(s, mib, syscall.ENOSPC)
		ctx, leave := context.WithCancel(t.Context())
		r, err := s.Stream(ctx, "k", "", 0, 0, w.answer)
		if err != nil {
			t.Fatal(err)
		}
		wantBytes(t, io.LimitReader(r, 2*mib), w.data[:2*mib])
		leave()
		r.Close()
		synctest.Wait()
		if _, sent := w.seen(); sent > 3*mib+relayWindow || s.Stats().Filling != 0 || s.relays.Load() != 0 {
			t.Errorf("%d bytes were fetched for nobody", sent)
		}
	})
}

// TestRelaysAreBounded, and with them their memory: one too many ends where the disk does.
func TestRelaysAreBounded(t *testing.T) {
	dir := t.TempDir()
	o := newOrigin(1, relayWindow+2*mib)
	synctest.Test(t, func(t *testing.T) {
		s := openStore(t, Options{Dir: dir})
		failAfter(s, mib, syscall.EIO)
		gate := make(chan struct{})
		var readers []*Reader
		for i := range maxRelays + 1 {
			w := &webOrigin{origin: &origin{data: o.data, obj: o.obj, gate: gate, gateAt: mib / 2}, weak: true, versions: []string{"v1"}}
			readers = append(readers, streamed(t, s, Key(fmt.Sprint("k", i)), "", w))
		}
		close(gate)
		synctest.Wait() // each has what it may hold
		if n := s.relays.Load(); n != maxRelays {
			t.Errorf("%d relays", n)
		}
		cut := 0
		for _, r := range readers {
			got, err := io.ReadAll(r)
			if errors.Is(err, ErrNotStored) && bytes.Equal(got, o.data[:mib]) {
				cut++
			} else if err != nil || !bytes.Equal(got, o.data) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		}
		if cut != 1 {
			t.Errorf("%d readers are cut, want 1", cut)
		}
	})
}
