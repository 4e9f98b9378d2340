package cache

import (
	"bytes"
	"errors"
	"io"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// TestTheKernelCanSendWhatAFillHasBrought reads a fill as who calls sendfile does.
func TestTheKernelCanSendWhatAFillHasBrought(t *testing.T) {
	s := openStore(t, Options{})
	o := newOrigin(1, 4*ChunkSize+100)
	o.gate, o.gateAt = make(chan struct{}), 2*ChunkSize+100
	r := fetch(t, s, "k", o)
	var got bytes.Buffer
	take := func(most int64) int64 {
		t.Helper()
		file, n, err := r.Sendable(most)
		if err != nil || file == nil || n < 1 || n > most {
			t.Fatalf("offered %d bytes of %v, %v", n, file, err)
		}
		if _, err := io.CopyN(&got, file, n); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Seek(n, io.SeekCurrent); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for take(10); got.Len() < 2*ChunkSize; {
		take(1 << 20)
	}
	if got.Len() != 2*ChunkSize { // what follows is not verified, and where it is not written it is a hole
		t.Errorf("offered %d bytes before the gate was open", got.Len())
	}
	close(o.gate)
	for got.Len() < len(o.data) {
		take(1 << 20)
	}
	if !bytes.Equal(got.Bytes(), o.data) {
		t.Error("not the object")
	}
	if _, _, err := r.Sendable(1); !errors.Is(err, io.EOF) {
		t.Errorf("behind the end: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Sendable(1); !errors.Is(err, os.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

func TestWhatIsInNoFileHasToBeRead(t *testing.T) {
	s := openStore(t, Options{HotBytes: mib})
	o := newOrigin(1, 1000)
	store(t, s, "k", o)
	wantGet(t, s, "k", o, TierDisk)
	s.hot.cache.Wait()
	r, ok := s.Get("k", o.obj.SHA256)
	if !ok {
		t.Fatal("not here")
	}
	defer r.Close()
	if file, n, err := r.Sendable(1000); file != nil || n != 0 || err != nil {
		t.Errorf("of memory %v is offered, %d bytes, %v", file, n, err)
	}
	wantBytes(t, r, o.data)

	// A disk that breaks half-way turns its reader to the source.
	create := s.createPart
	s.createPart = func(name string, keep bool) (part, error) {
		p, err := create(name, keep)
		return failingPart{part: p, room: ChunkSize, err: syscall.EIO}, err
	}
	big := newOrigin(2, 3*ChunkSize)
	b := fetch(t, s, "big", big)
	defer b.Close()
	for {
		file, n, err := b.Sendable(1 << 20)
		if err != nil {
			t.Fatal(err)
		}
		if file == nil {
			break
		}
		if _, err := b.Seek(n, io.SeekCurrent); err != nil {
			t.Fatal(err)
		}
	}
	at, err := b.Seek(0, io.SeekCurrent)
	if err != nil || at > ChunkSize {
		t.Fatalf("the file ends at %d, %v", at, err)
	}
	wantBytes(t, b, big.data[at:])
}

// TestAHerdIsWokenForManyBytesAtOnce counts how often those who wait are woken when bytes come each millisecond.
func TestAHerdIsWokenForManyBytesAtOnce(t *testing.T) {
	for _, tt := range []struct {
		users int
		pause time.Duration
	}{
		{0, 0},
		{1, pausePerReader},
		{50, 5 * time.Millisecond},
		{200, maxPause},
		{10_000, maxPause},
	} {
		synctest.Test(t, func(t *testing.T) {
			const during = 200 * time.Millisecond
			f := &fill{wake: make(chan struct{}), users: tt.users}
			woken, came := 0, time.Time{}
			wake := f.wake
			notice := func() {
				f.mu.Lock()
				defer f.mu.Unlock()
				if f.wake != wake {
					woken++
					wake = f.wake
					if came.IsZero() {
						t.Error("woken for nothing")
					}
					if late := time.Since(came); late > tt.pause {
						t.Errorf("%d waited %v too long", tt.users, late-tt.pause)
					}
					came = time.Time{}
				}
			}
			for began := time.Now(); time.Since(began) < during; {
				f.mu.Lock()
				if came.IsZero() {
					came = time.Now() // of the first byte that nobody has been woken for
				}
				f.arrived()
				f.mu.Unlock()
				notice()
				if woken == 0 {
					t.Fatal("not woken for the first bytes")
				}
				for range 10 {
					time.Sleep(100 * time.Microsecond)
					synctest.Wait()
					notice()
				}
			}
			time.Sleep(maxPause)
			synctest.Wait()
			notice()
			if !came.IsZero() {
				t.Error("nobody was woken for the last bytes")
			}
			if most := int(during/max(tt.pause, time.Millisecond)) + 2; woken > most || woken < most/3 {
				t.Errorf("%d were woken %d times, want about %d", tt.users, woken, most)
			}
		})
	}
}
