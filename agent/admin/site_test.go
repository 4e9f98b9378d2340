package admin

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pureboot/pureboot/agent/cache"
	"github.com/pureboot/pureboot/agent/content"
	"github.com/pureboot/pureboot/agent/httpcache"
	"github.com/pureboot/pureboot/agent/node"
	"github.com/pureboot/pureboot/central/wire"
)

// statusOf is an API with nothing but a status.
func statusOf(t *testing.T, status func(context.Context) Status) *API {
	t.Helper()
	return New(Options{Status: status, Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
}

// smallCentral has files in memory.
type smallCentral struct {
	mu    sync.Mutex
	epoch int64
	files map[string][]byte
	sent  map[string]int // content requests
	gate  chan struct{}  // content waits for it to be closed; nil: it does not
	down  error
}

func (c *smallCentral) put(name, body string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.files[name] = []byte(body)
	c.epoch++
}

func (c *smallCentral) describe(name string) wire.Chunks {
	obj, err := cache.Describe(bytes.NewReader(c.files[name]))
	if err != nil {
		panic(err)
	}
	category, path, _ := strings.Cut(name, "/")
	d := wire.Chunks{File: wire.File{Category: category, Path: path, Size: obj.Size, SHA256: obj.SHA256.String()}, ChunkSize: wire.ChunkSize}
	for _, chunk := range obj.Chunks {
		d.Chunks = append(d.Chunks, hex.EncodeToString(chunk[:]))
	}
	d.Epoch = wire.Epoch{Stream: "s", N: c.epoch}
	return d
}

func (c *smallCentral) Chunks(_ context.Context, category, path string) (wire.Chunks, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.down != nil {
		return wire.Chunks{}, c.down
	}
	if _, ok := c.files[category+"/"+path]; !ok {
		return wire.Chunks{}, &wire.Refusal{Status: 404}
	}
	return c.describe(category + "/" + path), nil
}

func (c *smallCentral) ReadContent(ctx context.Context, category, path, _ string, offset, _ int64) (io.ReadCloser, error) {
	c.mu.Lock()
	name, gate := category+"/"+path, c.gate
	c.sent[name]++
	body, down := c.files[name], c.down
	c.mu.Unlock()
	if down != nil {
		return nil, down
	}
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return io.NopCloser(bytes.NewReader(body[offset:])), nil
}

func (c *smallCentral) Manifest(context.Context, wire.ManifestQuery) (wire.Manifest, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := wire.Manifest{Full: true, Epoch: wire.Epoch{Stream: "s", N: c.epoch}}
	for name := range c.files {
		m.Items = append(m.Items, wire.ManifestItem{File: c.describe(name).File})
	}
	return m, c.down
}

func (c *smallCentral) Online() bool { return true }

// site is an API over real rooms, an origin below /up/ and one below /up/nested/.
type site struct {
	*API
	t       *testing.T
	dir     string
	central *smallCentral
	origin  *httptest.Server
	mu      sync.Mutex
	asked   []string // of the origin
	close   func()
}

func openSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir(), central: &smallCentral{files: map[string][]byte{}, sent: map[string]int{}}}
	s.origin = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.asked = append(s.asked, strings.TrimSpace(r.URL.RequestURI()+" "+r.Header.Get("If-None-Match")))
		s.mu.Unlock()
		w.Header().Set("Cache-Control", "max-age=1000")
		w.Header().Set("ETag", `"1"`)
		w.Header().Set("Cache-Tag", "all, "+strings.Trim(r.URL.Path, "/"))
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader("body of "+r.URL.Path))
	}))
	t.Cleanup(s.origin.Close)
	s.open()
	t.Cleanup(func() { s.close() })
	return s
}

func (s *site) open() {
	s.t.Helper()
	log := slog.New(slog.NewTextHandler(s.t.Output(), nil))
	must := func(err error) {
		s.t.Helper()
		if err != nil {
			s.t.Fatal(err)
		}
	}
	var files *content.Files
	store, err := cache.Open(cache.Options{
		Dir: s.dir + "/cache", Rank: content.Rank, HotBytes: 1 << 20, MaxBytes: 1 << 30, Tries: 1, Log: log,
		Repair: func(key cache.Key, obj cache.Object) cache.Source { return files.Repair(key, obj) },
	})
	must(err)
	files, err = content.Open(content.Options{Cache: store, Central: s.central, Dir: s.dir, Log: log})
	must(err)
	nodes, err := node.Open(s.t.Context(), node.Options{Dir: s.dir, Log: log})
	must(err)
	up := map[string]*httpcache.Handler{}
	for prefix, base := range map[string]string{"/up/": "/", "/up/nested/": "/deep/er/"} {
		at, err := url.Parse(s.origin.URL + base)
		must(err)
		up[prefix] = httpcache.New(httpcache.Options{Cache: store, Prefix: prefix, Origin: at, Log: log})
	}
	s.API = New(Options{
		Cache: store, Files: files, Nodes: nodes, Upstreams: up, Dir: s.dir, Log: log,
		Status: func(context.Context) Status { return Status{} },
	})
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	s.close = sync.OnceFunc(func() {
		stop()
		files.Close()
		for _, h := range up {
			h.Close()
		}
		if err := errors.Join(<-ended, store.Close(), nodes.Close()); err != nil {
			s.t.Error(err)
		}
	})
}

// reopen is a restart of the agent.
func (s *site) reopen() {
	s.t.Helper()
	s.close()
	s.open()
}

// file brings one of central's files into the cache.
func (s *site) file(name, body string) {
	s.t.Helper()
	s.central.put(name, body)
	s.pull()
	category, path, _ := strings.Cut(name, "/")
	if err := s.Files.Prefetch(s.t.Context(), category, path); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) pull() {
	s.t.Helper()
	if err := s.Files.Pull(s.t.Context(), wire.Epoch{Stream: "s", N: s.central.epoch}); err != nil {
		s.t.Fatal(err)
	}
}

// get asks an upstream as a machine does, and waits until the answer is stored.
func (s *site) get(path string) (cacheStatus string) {
	s.t.Helper()
	prefix := "/up/"
	if strings.HasPrefix(path, "/up/nested/") {
		prefix = "/up/nested/"
	}
	w := httptest.NewRecorder()
	s.Upstreams[prefix].ServeHTTP(w, httptest.NewRequest("GET", path, nil))
	if w.Code != 200 {
		s.t.Fatalf("%s: %d", path, w.Code)
	}
	eventually(s.t, func() bool { return s.Cache.Stats().Filling == 0 })
	return w.Header().Get("Cache-Status")
}

func (s *site) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

// call sends a request with a body and decodes the answer into out; it returns the status.
func (s *site) call(method, path, body string, out any) int {
	s.t.Helper()
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
	want := "application/json"
	if w.Code >= 300 {
		want = wire.MediaTypeProblem
	}
	if kind := w.Header().Get("Content-Type"); kind != want {
		s.t.Errorf("%s %s: %d is of type %q", method, path, w.Code, kind)
	}
	if out != nil {
		if err := json.Unmarshal(w.Body.Bytes(), out); err != nil {
			s.t.Errorf("%s %s: %v: %s", method, path, err, w.Body)
		}
	}
	return w.Code
}

// refused wants a status, and that the answer names each of those.
func (s *site) refused(method, path, body string, status int, says ...string) {
	s.t.Helper()
	var p wire.Problem
	got := s.call(method, path, body, &p)
	text := fmt.Sprint(p)
	for _, word := range says {
		if !strings.Contains(text, word) {
			s.t.Errorf("%s %s %s: %q does not say %q", method, path, body, text, word)
		}
	}
	if got != status || p.Status != status {
		s.t.Errorf("%s %s %s: %d %q, want %d", method, path, body, got, text, status)
	}
}

// keys lists what is in the cache.
func (s *site) keys() string {
	var keys []string
	for e := range s.Cache.All() {
		keys = append(keys, string(e.Key))
	}
	slices.Sort(keys)
	return strings.Join(keys, " ")
}

func (s *site) wantKeys(want string) {
	s.t.Helper()
	if got := s.keys(); got != want {
		s.t.Errorf("in the cache is\n\t%s\nwant\n\t%s", got, want)
	}
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
