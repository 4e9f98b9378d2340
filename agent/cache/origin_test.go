package cache

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDirEnv); dir != "" {
		crashChild(dir)
	}
	goleak.VerifyTestMain(m)
}

// origin is where the tests' objects come from. Its faults are used up as they happen.
type origin struct {
	data []byte
	obj  Object

	mu    sync.Mutex
	calls []call
	sent  int64

	cuts    []int64       // the n-th call is cut after that many bytes
	errs    []error       // the n-th call fails; nil: it does not
	corrupt map[int64]int // offset: how often its byte is sent wrong
	excess  []byte        // follows the data
	gate    chan struct{} // bytes from gateAt on wait for it to be closed
	gateAt  int64
	gateEnd int64         // those from here on do not; 0: they do
	waiting chan struct{} // if set, gets a value when somebody waits at the gate
}

type call struct{ offset, length int64 }

var errCut = errors.New("connection reset")

// newOrigin makes size bytes that depend on seed alone.
func newOrigin(seed uint64, size int) *origin {
	data := make([]byte, size)
	rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), byte(seed >> 24)}).Read(data)
	obj, err := Describe(bytes.NewReader(data))
	if err != nil {
		panic(err)
	}
	return &origin{data: data, obj: obj, corrupt: map[int64]int{}}
}

func (o *origin) open(ctx context.Context, offset, length int64) (io.ReadCloser, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := len(o.calls)
	o.calls = append(o.calls, call{offset, length})
	if n < len(o.errs) && o.errs[n] != nil {
		return nil, o.errs[n]
	}
	b := &originBody{o: o, ctx: ctx, at: offset, end: int64(len(o.data) + len(o.excess)), cut: -1}
	if length > 0 {
		b.end = min(b.end, offset+length)
	}
	if n < len(o.cuts) {
		b.cut = offset + o.cuts[n]
	}
	return b, nil
}

func (o *origin) seen() (calls []call, sent int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]call(nil), o.calls...), o.sent
}

type originBody struct {
	o            *origin
	ctx          context.Context
	at, end, cut int64
}

func (b *originBody) Read(p []byte) (int, error) {
	o := b.o
	limit := b.end
	o.mu.Lock()
	gate, gateAt := o.gate, o.gateAt
	o.mu.Unlock()
	if gate != nil {
		switch {
		case b.at < gateAt:
			limit = min(limit, gateAt)
		case o.gateEnd > 0 && b.at >= o.gateEnd:
		default:
			select {
			case o.waiting <- struct{}{}:
			default:
			}
			select {
			case <-gate:
			case <-b.ctx.Done():
				return 0, b.ctx.Err()
			}
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if b.cut >= 0 {
		if b.at >= b.cut {
			return 0, errCut
		}
		limit = min(limit, b.cut)
	}
	if b.at >= b.end {
		return 0, io.EOF
	}
	data := o.data
	if len(o.excess) > 0 {
		data = append(data[:len(data):len(data)], o.excess...)
	}
	n := copy(p, data[b.at:limit])
	for offset, times := range o.corrupt {
		if times > 0 && b.at <= offset && offset < b.at+int64(n) {
			p[offset-b.at] ^= 0xff
			o.corrupt[offset]--
		}
	}
	b.at += int64(n)
	o.sent += int64(n)
	return n, nil
}

func (b *originBody) Close() error { return nil }

// openStore opens a store that is closed with the test.
func openStore(t testing.TB, opts Options) *Store {
	t.Helper()
	if opts.Dir == "" {
		opts.Dir = t.TempDir()
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	s, err := Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil && !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	})
	return s
}

func fetch(t testing.TB, s *Store, key Key, o *origin) *Reader {
	t.Helper()
	r, err := s.Fetch(context.Background(), key, o.obj, o.open)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// store brings an object into the store and waits until it is published.
func store(t testing.TB, s *Store, key Key, o *origin) {
	t.Helper()
	if err := fetch(t, s, key, o).Stored(); err != nil {
		t.Fatal(err)
	}
}

func wantBytes(t testing.TB, r io.Reader, want []byte) {
	t.Helper()
	got, err := io.ReadAll(r)
	if err != nil {
		t.Errorf("read: %v after %d bytes of %d", err, len(got), len(want))
	}
	if !bytes.Equal(got, want) {
		t.Errorf("read %d bytes that are not the %d wanted", len(got), len(want))
	}
}

// wantGet reads an object that must be here.
func wantGet(t testing.TB, s *Store, key Key, o *origin, tier Tier) {
	t.Helper()
	r, ok := s.Get(key, o.obj.SHA256)
	if !ok {
		t.Errorf("%s is not here", key)
		return
	}
	defer r.Close()
	if r.Tier() != tier {
		t.Errorf("%s comes from %s, want %s", key, r.Tier(), tier)
	}
	wantBytes(t, r, o.data)
}

func wantMiss(t testing.TB, s *Store, key Key, o *origin) {
	t.Helper()
	if r, ok := s.Get(key, o.obj.SHA256); ok {
		r.Close()
		t.Errorf("%s is here", key)
	}
}
