package content

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pureboot/pureboot/agent/cache"
	"github.com/pureboot/pureboot/central/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// countingCentral is central's repository in memory. It counts what is asked of it.
type countingCentral struct {
	pageSize int

	mu      sync.Mutex
	stream  string
	changes []wire.ManifestItem // the n-th change made epoch n+1
	bodies  map[string][]byte   // by digest
	down    error               // what everything is answered with
	offline bool
	gate    chan struct{} // content from the second chunk on waits for it to be closed

	asked, sent, paged int // questions, content requests, pages
}

func newCentral() *countingCentral {
	return &countingCentral{pageSize: 100, stream: "s1", bodies: map[string][]byte{}}
}

// noise returns n bytes that depend on seed.
func noise(seed uint64, n int) []byte {
	random := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(n)})
	body := make([]byte, n)
	random.Read(body)
	return body
}

func chunksOf(category, path string, body []byte) wire.Chunks {
	obj, err := cache.Describe(bytes.NewReader(body))
	if err != nil {
		panic(err)
	}
	c := wire.Chunks{
		File: wire.File{
			Category: category, Path: path, Size: obj.Size, SHA256: obj.SHA256.String(),
			Modified: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		},
		ChunkSize: wire.ChunkSize, Chunks: []string{},
	}
	for _, d := range obj.Chunks {
		c.Chunks = append(c.Chunks, d.String())
	}
	return c
}

// put stores a file, in place of what had its name.
func (c *countingCentral) put(category, path string, body []byte) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	file := chunksOf(category, path, body).File
	c.bodies[file.SHA256] = body
	c.changes = append(c.changes, wire.ManifestItem{File: file})
	return body
}

func (c *countingCentral) remove(category, path string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changes = append(c.changes, wire.ManifestItem{File: wire.File{Category: category, Path: path}, Removed: true})
}

func (c *countingCentral) set(down error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down = down
}

func (c *countingCentral) now() wire.Epoch {
	c.mu.Lock()
	defer c.mu.Unlock()
	return wire.Epoch{Stream: c.stream, N: int64(len(c.changes))}
}

func (c *countingCentral) counts() (asked, sent, paged int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked, c.sent, c.paged
}

// current returns the last change of a name. mu is held.
func (c *countingCentral) current(category, path string) (wire.ManifestItem, error) {
	for _, item := range slices.Backward(c.changes) {
		if item.Category == category && item.Path == path && !item.Removed {
			return item, nil
		}
		if item.Category == category && item.Path == path {
			break
		}
	}
	return wire.ManifestItem{}, &wire.Refusal{Status: 404}
}

func (c *countingCentral) Chunks(_ context.Context, category, path string) (wire.Chunks, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked++
	if c.down != nil {
		return wire.Chunks{}, c.down
	}
	item, err := c.current(category, path)
	if err != nil {
		return wire.Chunks{}, err
	}
	chunks := chunksOf(category, path, c.bodies[item.SHA256])
	chunks.Epoch = wire.Epoch{Stream: c.stream, N: int64(len(c.changes))}
	return chunks, nil
}

func (c *countingCentral) ReadContent(ctx context.Context, category, path, sha string, offset, length int64) (io.ReadCloser, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent++
	if c.down != nil {
		return nil, c.down
	}
	item, err := c.current(category, path)
	if err == nil && item.SHA256 != sha {
		err = &wire.Refusal{Status: 412}
	}
	if err != nil {
		return nil, err
	}
	body := c.bodies[sha][offset:]
	if length > 0 {
		body = body[:min(length, int64(len(body)))]
	}
	if c.gate != nil {
		return &gated{Reader: bytes.NewReader(body), ctx: ctx, gate: c.gate, free: cache.ChunkSize}, nil
	}
	return io.NopCloser(bytes.NewReader(body)), nil
}

func (c *countingCentral) Manifest(_ context.Context, q wire.ManifestQuery) (wire.Manifest, error) {
	since, cursor := q.Since, q.Cursor
	c.mu.Lock()
	defer c.mu.Unlock()
	c.paged++
	if c.down != nil {
		return wire.Manifest{}, c.down
	}
	m := wire.Manifest{Full: since.Stream != c.stream || since.N == 0}
	from := int(since.N)
	if m.Full {
		from = 0
	}
	if cursor != "" {
		if _, err := fmt.Sscanf(cursor, "%d %t", &from, &m.Full); err != nil {
			return m, &wire.Refusal{Status: 400}
		}
	}
	to := min(from+c.pageSize, len(c.changes))
	m.Items = slices.Clone(c.changes[from:to])
	m.Epoch = wire.Epoch{Stream: c.stream, N: int64(to)}
	if to < len(c.changes) {
		m.Next = fmt.Sprintf("%d %t", to, m.Full)
	}
	return m, nil
}

func (c *countingCentral) Online() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.offline
}

// gated lets only the first bytes through until its gate opens.
type gated struct {
	*bytes.Reader
	ctx  context.Context
	gate chan struct{}
	free int
}

func (g *gated) Read(p []byte) (int, error) {
	if g.free == 0 {
		select {
		case <-g.gate:
			return g.Reader.Read(p)
		case <-g.ctx.Done():
			return 0, g.ctx.Err()
		}
	}
	n, err := g.Reader.Read(p[:min(len(p), g.free)])
	g.free -= n
	return n, err
}

func (g *gated) Close() error { return nil }

var errDead = errors.New("connect: no route to host")

// deadCentral is not reached.
type deadCentral struct{}

func (deadCentral) Chunks(context.Context, string, string) (wire.Chunks, error) {
	return wire.Chunks{}, errDead
}

func (deadCentral) ReadContent(context.Context, string, string, string, int64, int64) (io.ReadCloser, error) {
	return nil, errDead
}

func (deadCentral) Manifest(context.Context, wire.ManifestQuery) (wire.Manifest, error) {
	return wire.Manifest{}, errDead
}

func (deadCentral) Online() bool { return true }

// slowCentral takes every question and answers none.
type slowCentral struct{ deadCentral }

func (slowCentral) Chunks(ctx context.Context, _, _ string) (wire.Chunks, error) {
	<-ctx.Done()
	return wire.Chunks{}, ctx.Err()
}

// stallingCentral describes files but sends none of their bytes.
type stallingCentral struct{ *countingCentral }

func (stallingCentral) ReadContent(ctx context.Context, _, _, _ string, _, _ int64) (io.ReadCloser, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// corruptCentral sends other bytes than it describes.
type corruptCentral struct{ *countingCentral }

func (c corruptCentral) ReadContent(ctx context.Context, category, path, sha string, offset, length int64) (io.ReadCloser, error) {
	body, err := c.countingCentral.ReadContent(ctx, category, path, sha, offset, length)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(body)
	for i := range data {
		data[i] ^= 0xff
	}
	return io.NopCloser(bytes.NewReader(data)), err
}

// scriptedCentral answers with the manifest pages it was given, one after the other.
type scriptedCentral struct {
	deadCentral
	pages []wire.Manifest
}

func (c *scriptedCentral) Manifest(context.Context, wire.ManifestQuery) (wire.Manifest, error) {
	if len(c.pages) == 0 {
		return wire.Manifest{}, errDead
	}
	page := c.pages[0]
	if len(c.pages) > 1 { // the last is repeated for ever
		c.pages = c.pages[1:]
	}
	return page, nil
}

// site is one site's files over a real cache, both of which live on in dir when they are opened again.
type site struct {
	*Files
	cache *cache.Store
	dir   string
}

func openSite(t testing.TB, central Central) *site {
	t.Helper()
	return openSiteIn(t, t.TempDir(), central)
}

func openSiteIn(t testing.TB, dir string, central Central) *site {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	store, err := cache.Open(cache.Options{Dir: dir + "/cache", Rank: Rank, Log: log, Tries: 2})
	if err != nil {
		t.Fatal(err)
	}
	files, err := Open(Options{Cache: store, Central: central, Dir: dir, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	s := &site{Files: files, cache: store, dir: dir}
	t.Cleanup(s.close)
	return s
}

// close is what happens when the agent ends. It may be called again.
func (s *site) close() {
	s.Files.Close()
	_ = s.cache.Close() // ErrClosed the second time
}

// wantFile opens a file, reads all of it, and waits until it is in the cache.
func (s *site) wantFile(t testing.TB, name string, body []byte, status Status) {
	t.Helper()
	category, path, _ := strings.Cut(name, "/")
	f, err := s.Open(t.Context(), category, path)
	if err != nil {
		t.Errorf("open %s: %v", name, err)
		return
	}
	defer f.Close()
	if f.Status != status {
		t.Errorf("%s is a %s, want %s", name, f.Status, status)
	}
	if f.Info.Category != category || f.Info.Path != path || f.Size() != int64(len(body)) {
		t.Errorf("%s is described as %+v", name, f.Info)
	}
	got, err := io.ReadAll(f)
	if err != nil || !bytes.Equal(got, body) {
		t.Errorf("%s: read %d bytes, %v; want these %d", name, len(got), err, len(body))
	}
	if status != Pass {
		if err := f.Stored(); err != nil {
			t.Errorf("%s is not stored: %v", name, err)
		}
	}
}

// wantError opens a file in vain.
func (s *site) wantError(t testing.TB, name string, want error) {
	t.Helper()
	category, path, _ := strings.Cut(name, "/")
	f, err := s.Open(t.Context(), category, path)
	if err == nil {
		f.Close()
	}
	if !errors.Is(err, want) {
		t.Errorf("open %s: %v, want %v", name, err, want)
	}
}

func (s *site) pull(t testing.TB, c *countingCentral) {
	t.Helper()
	if err := s.Pull(t.Context(), c.now()); err != nil {
		t.Fatal(err)
	}
}

func (s *site) cached(name string) bool {
	_, ok := s.cache.Current(cache.Key(name))
	return ok
}

// eventually waits for what other goroutines are about to do.
func eventually(t testing.TB, done func() bool) {
	t.Helper()
	for began := time.Now(); !done(); time.Sleep(time.Millisecond) {
		if time.Since(began) > 20*time.Second {
			t.Fatal("it never happened")
		}
	}
}
