package gateway

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pureboot/pureboot/agent/cache"
	"github.com/pureboot/pureboot/agent/httpcache"
	"github.com/pureboot/pureboot/central/wire"
)

// startHotSite makes a gateway as it is in service: small files in memory, no line in the log for a hit, and an
// upstream below /up/ that answers each path with as many bytes as its last part says.
func startHotSite(t testing.TB, c *central) *site {
	t.Helper()
	s := openSiteWith(t, c, slog.LevelInfo, 16<<20)
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var n int
		if _, err := fmt.Sscanf(r.URL.Path, "/d/%d", &n); err != nil {
			http.NotFound(w, r)
			return
		}
		h := w.Header()
		h["Etag"], h["Cache-Control"], h["Content-Type"] = []string{`"v1"`}, []string{"max-age=3600"}, []string{"a/b"}
		h["Warning"] = []string{"110 x y", "112 x z"}
		_, _ = w.Write(noise(2, n))
	}))
	at, err := url.Parse(origin.URL + "/d/")
	if err != nil {
		t.Fatal(err)
	}
	up := httpcache.New(httpcache.Options{Cache: s.cache, Prefix: "/up/", Origin: at, Log: discard})
	t.Cleanup(func() { up.Close(); origin.Close() })
	s.Upstreams = []Upstream{{"/up/", up}}
	s.start(t)
	return s
}

// heat asks until the file is in memory.
func (s *site) heat(t testing.TB, path string, key cache.Key) *cache.Hot {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		if r := s.get(t, path); r.StatusCode != 200 || r.err != nil {
			t.Fatalf("%s is answered %d, %v", path, r.StatusCode, r.err)
		}
		if hot := s.cache.Hot(key); hot != nil {
			return hot
		}
	}
	t.Fatalf("%s never gets into memory", path)
	return nil
}

// TestTheShortWaySaysWhatTheLongWaySays holds what is kept ready to what is made for each request: a field that the
// short way does not know sends a request the long way. The sizes are around those of net/http's buffers.
func TestTheShortWaySaysWhatTheLongWaySays(t *testing.T) {
	c := newCentral()
	s := startHotSite(t, c)
	type file struct {
		path string
		key  cache.Key
		body []byte
	}
	var files []file
	for _, size := range []int{1, 2047, 2048, 3500, 3700, 3900, 4095, 4096, 4097, 6000, 7500, 8192, 70_000, 1 << 20} {
		name := fmt.Sprintf("images/d/%d", size)
		files = append(files, file{"/" + name, cache.Key(name), c.file(name, noise(1, size))},
			file{fmt.Sprintf("/up/%d", size), cache.Key(fmt.Sprintf("upstream/up/%d", size)), noise(2, size)})
	}
	for _, name := range []string{"bootloaders/ipxe.efi", "scripts/late.sh"} {
		files = append(files, file{"/" + name, cache.Key(name), c.file(name, noise(3, 3000))})
	}
	for _, f := range files {
		hot := s.heat(t, f.path, f.key)
		// Compression is the client's own wish, and a scripts' file has a form for it.
		short := s.get(t, f.path, "Accept-Encoding", "identity;q=0.5")
		if strings.HasPrefix(f.path, "/scripts") {
			short = s.raw(t, "GET "+f.path+" HTTP/1.1\r\nHost: x\r\n\r\n")
		}
		if hot.Memo() == nil {
			t.Errorf("%s goes the long way", f.path)
		}
		long := s.get(t, f.path, "Accept-Encoding", "identity;q=0.5", "X-Test", "1")
		if short.body != string(f.body) || long.body != string(f.body) || short.err != nil || long.err != nil {
			t.Errorf("%s: %d and %d bytes are not its own (%v, %v)", f.path, len(short.body), len(long.body), short.err, long.err)
		}
		if short.Header.Get("X-Request-Id") == "" {
			t.Errorf("%s has no name: %v", f.path, short.Header)
		}
		a, b := maps.Clone(short.Header), maps.Clone(long.Header)
		for _, h := range []http.Header{a, b} {
			// These depend on the moment.
			delete(h, "X-Request-Id")
			delete(h, "Age")
			h["Cache-Status"] = []string{strings.Split(h.Get("Cache-Status"), "; ttl=")[0]}
			if strings.HasPrefix(f.path, "/images") {
				delete(h, "Date")
			}
		}
		if !reflect.DeepEqual(a, b) {
			t.Errorf("%s has\n%v\nbut the long way\n%v", f.path, a, b)
		}
		if short.StatusCode != 200 || short.ContentLength != int64(len(f.body)) {
			t.Errorf("%s is answered %d, %d bytes", f.path, short.StatusCode, short.ContentLength)
		}
	}
}

// TestTheShortWayIsForPlainRequests asks for what is in memory in ways that need thought.
func TestTheShortWayIsForPlainRequests(t *testing.T) {
	c := newCentral()
	body := c.file("images/x", noise(1, 5000))
	script := c.file("scripts/x.sh", []byte(strings.Repeat("echo hello\n", 500)))
	c.file("bootloaders/autoexec.ipxe", []byte("#!ipxe\nnot this one\n"))
	s := startHotSite(t, c)
	s.heat(t, "/images/x", "images/x")
	s.heat(t, "/scripts/x.sh", "scripts/x.sh")
	for _, tt := range []struct {
		method, path, header, value string
		status, length              int
	}{
		{"GET", "/images/x", "Range", "bytes=0-9", 206, 10},
		{"GET", "/images/x", "If-None-Match", etag(body), 304, 0},
		{"GET", "/images/x", "If-Match", `"other"`, 412, 0},
		{"GET", "/images/x", "If-Modified-Since", "Fri, 02 Jan 2027 03:04:05 GMT", 304, 0},
		{"HEAD", "/images/x", "", "", 200, 0},
		{"GET", "//images//x", "", "", 200, len(body)},
		{"GET", "/images/x?a=b", "", "", 200, len(body)},
		{"GET", "/images%2fx", "", "", 400, -1},
		{"GET", "/images/%78", "", "", 200, len(body)},
		{"GET", "/scripts/x.sh", "Accept-Encoding", "identity", 200, len(script)},
	} {
		r := s.do(t, tt.method, tt.path, "", append([]string{}, nonEmpty(tt.header, tt.value)...)...)
		if r.StatusCode != tt.status || tt.length >= 0 && len(r.body) != tt.length || r.err != nil {
			t.Errorf("%s %s, %s: %s is answered %d, %d bytes, %v", tt.method, tt.path, tt.header, tt.value, r.StatusCode, len(r.body), r.err)
		}
	}
	if r := s.get(t, "/scripts/x.sh", "Accept-Encoding", "zstd"); r.Header.Get("Content-Encoding") != "zstd" {
		t.Errorf("a script is not compressed: %v", r.Header)
	}
	if r := s.get(t, "/images/x", "X-Request-Id", "mine"); r.Header.Get("X-Request-Id") != "mine" {
		t.Errorf("a request's name is lost: %v", r.Header)
	}
	f, err := s.Files.Open(t.Context(), "bootloaders", "autoexec.ipxe")
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Stored(); err != nil {
		t.Fatal(err)
	}
	f.Close()
	for deadline := time.Now().Add(20 * time.Second); s.cache.Hot("bootloaders/autoexec.ipxe") == nil && time.Now().Before(deadline); {
		if f, err := s.Files.Open(t.Context(), "bootloaders", "autoexec.ipxe"); err == nil {
			f.Close()
		}
	}
	s.get(t, "/bootloaders/autoexec.ipxe").script(t) // the bootstrap, whatever central calls so
}

// TestAnEmptyFileIsCountedOnce although the short way finds it first.
func TestAnEmptyFileIsCountedOnce(t *testing.T) {
	c := newCentral()
	c.file("images/empty", nil)
	s := startHotSite(t, c)
	s.heat(t, "/images/empty", "images/empty")
	before := s.Files.Stats().Hits
	if r := s.get(t, "/images/empty"); r.StatusCode != 200 || r.body != "" {
		t.Errorf("is answered %d, %q", r.StatusCode, r.body)
	}
	if n := s.Files.Stats().Hits - before; n != 1 {
		t.Errorf("counted %d times", n)
	}
}

func nonEmpty(name, value string) []string {
	if name == "" {
		return nil
	}
	return []string{name, value}
}

// TestANewVersionEndsTheOldOneInMemory replaces a file that is kept ready.
func TestANewVersionEndsTheOldOneInMemory(t *testing.T) {
	c := newCentral()
	old := c.file("images/x", noise(1, 5000))
	s := startHotSite(t, c)
	s.heat(t, "/images/x", "images/x")
	if r := s.get(t, "/images/x"); r.body != string(old) {
		t.Fatalf("answered %d", r.StatusCode)
	}
	body := c.file("images/x", noise(2, 5000))
	made, err := c.Chunks(t.Context(), "images", "x")
	if err != nil {
		t.Fatal(err)
	}
	epoch := wire.Epoch{Stream: "s", N: 1}
	c.set(func() {
		c.manifest = &wire.Manifest{Epoch: epoch, Full: true, Items: []wire.ManifestItem{{File: made.File}}}
	})
	if err := s.Files.Pull(t.Context(), epoch); err != nil {
		t.Fatal(err)
	}
	if r := s.get(t, "/images/x"); r.body != string(body) || r.Header.Get("ETag") != etag(body) {
		t.Errorf("after a pull answered %d with %s", r.StatusCode, r.Header.Get("ETag"))
	}
	s.heat(t, "/up/5000", "upstream/up/5000")
	if err := s.cache.Remove("upstream/up/5000"); err != nil {
		t.Fatal(err)
	}
	if r := s.get(t, "/up/5000"); !strings.Contains(r.Header.Get("Cache-Status"), "fwd=") {
		t.Errorf("what was removed is answered with %v", r.Header)
	}
}

// TestASmallAnswerIsOneSegment reads once: what was written at once comes at once.
func TestASmallAnswerIsOneSegment(t *testing.T) {
	c := newCentral()
	body := c.file("images/x", noise(1, 4096))
	s := startHotSite(t, c)
	s.heat(t, "/images/x", "images/x")
	conn, err := net.Dial("tcp", s.server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	in := make([]byte, 64<<10)
	for range 100 {
		if _, err := io.WriteString(conn, "GET /images/x HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		n, err := conn.Read(in)
		if err != nil || !bytes.HasSuffix(in[:n], body) || !bytes.HasPrefix(in, []byte("HTTP/1.1 200 OK\r\n")) {
			t.Fatalf("the first read gets %d bytes, %v", n, err)
		}
	}
	// Requests that come at once are answered one after the other.
	if _, err := io.WriteString(conn, strings.Repeat("GET /images/x HTTP/1.1\r\nHost: x\r\n\r\n", 50)); err != nil {
		t.Fatal(err)
	}
	all := bufio.NewReader(conn)
	for i := range 50 {
		res, err := http.ReadResponse(all, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(res.Body); err != nil || !bytes.Equal(got, body) {
			t.Fatalf("answer %d has %d bytes, %v", i, len(got), err)
		}
	}
	if _, err := io.WriteString(conn, "GET /images/x HTTP/1.0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(all)
	if err != nil || !bytes.HasSuffix(rest, body) {
		t.Errorf("to HTTP/1.0 %d bytes are sent, %v", len(rest), err)
	}
}

// deaf is a response that nobody gets: it takes what is to be put together, and ends that as a connection would.
type deaf struct {
	header http.Header
	conn   *conn
	sent   int
	err    error
}

func (w *deaf) Header() http.Header { return w.header }
func (w *deaf) WriteHeader(int)     {}

func (w *deaf) Write(b []byte) (int, error) {
	parcels.Put(w.conn.parcel)
	w.conn.parcel = nil
	w.sent += len(b)
	return len(b), w.err
}

// hotRequest is one for what is in memory, and a connection that takes its answer.
func (s *site) hotRequest(t testing.TB, path string) (*deaf, *http.Request) {
	t.Helper()
	client, server := net.Pipe()
	t.Cleanup(func() { client.Close(); server.Close() })
	c := &conn{}
	c.reads.set, c.writes.set = server.SetReadDeadline, server.SetWriteDeadline
	r := httptest.NewRequestWithContext(context.WithValue(t.Context(), connKey{}, c), http.MethodGet, path, nil)
	r.Header["User-Agent"], r.Header["Connection"] = []string{"curl/8"}, []string{"keep-alive"}
	return &deaf{header: http.Header{}, conn: c}, r
}

// maxHotAllocs is what a hit from memory allocates: nothing. What a request costs beside it is net/http's.
const maxHotAllocs = 0

func TestAHitFromMemoryAllocatesNothing(t *testing.T) {
	c := newCentral()
	c.file("images/x", noise(1, 4096))
	s := startHotSite(t, c)
	for path, key := range map[string]cache.Key{"/images/x": "images/x", "/up/4096": "upstream/up/4096"} {
		s.heat(t, path, key)
		w, r := s.hotRequest(t, path)
		const runs = 2000
		// Age and ttl are written anew once a second, which is not counted. With the race detector sync.Pool forgets at
		// random.
		if n := testing.AllocsPerRun(runs, func() { s.ServeHTTP(w, r) }); n > maxHotAllocs && !raced {
			t.Errorf("%s: %v allocations, want %d", path, n, maxHotAllocs)
		}
		if w.sent < runs*4096 {
			t.Errorf("%s: only %d bytes went the short way", path, w.sent)
		}
	}
}

func TestAClientThatLeavesIsToldOfInTheLog(t *testing.T) {
	c := newCentral()
	c.file("images/x", noise(1, 4096))
	s := startHotSite(t, c)
	s.heat(t, "/images/x", "images/x")
	s.idle(t)
	w, r := s.hotRequest(t, "/images/x")
	w.err = errors.New("connection reset by peer")
	defer func() {
		if p := recover(); p != http.ErrAbortHandler { //nolint:errorlint // it is compared by identity
			t.Errorf("ended with %v", p)
		}
		if log := s.log.String(); !strings.Contains(log, "reset by peer") {
			t.Errorf("the log says only %s", log)
		}
		if n := s.Active(); n != 0 {
			t.Errorf("%d requests are left", n)
		}
	}()
	s.ServeHTTP(w, r)
}

// BenchmarkHot answers with 4 KiB out of memory, without a connection.
func BenchmarkHot(b *testing.B) {
	c := newCentral()
	c.file("images/x", noise(1, 4096))
	s := startHotSite(b, c)
	for path, key := range map[string]cache.Key{"/images/x": "images/x", "/up/4096": "upstream/up/4096"} {
		b.Run(strings.Split(path, "/")[1], func(b *testing.B) {
			s.heat(b, path, key)
			w, r := s.hotRequest(b, path)
			b.SetBytes(4096)
			b.ReportAllocs()
			for b.Loop() {
				s.ServeHTTP(w, r)
			}
		})
	}
}
