package gateway

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pureboot/pureboot/agent/cache"
)

// noise returns n bytes that depend on seed.
func noise(seed byte, n int) []byte {
	body := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(body)
	return body
}

func etag(body []byte) string {
	sum := sha256.Sum256(body)
	return `"` + hex.EncodeToString(sum[:]) + `"`
}

func TestAFileAndHowItCameAbout(t *testing.T) {
	c := newCentral()
	body := c.file("images/debian-12/linux", noise(1, 700_000))
	s := startSite(t, c)
	for i, want := range []string{"PureBoot; fwd=miss; stored", "PureBoot; hit; detail=disk"} {
		r := s.get(t, "/images/debian-12/linux")
		if r.StatusCode != 200 || r.body != string(body) || r.ContentLength != int64(len(body)) || r.err != nil {
			t.Errorf("answered %d with %d bytes, %v", r.StatusCode, len(r.body), r.err)
		}
		h := r.Header
		if h.Get("Cache-Status") != want || h.Get("ETag") != etag(body) || h.Get("Cache-Control") != "no-cache" || h.Get("Accept-Ranges") != "bytes" ||
			h.Get("Content-Type") != "application/octet-stream" || h.Get("Last-Modified") != "Fri, 02 Jan 2026 03:04:05 GMT" {
			t.Errorf("answer %d has the headers %v", i, h)
		}
		f, err := s.Files.Open(t.Context(), "images", "debian-12/linux")
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Stored(); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	c.set(func() { c.down = errDead })
	if r := s.get(t, "/images/debian-12/linux"); r.body != string(body) {
		t.Errorf("with central away answered %d", r.StatusCode)
	}
	r := s.get(t, "/images/other")
	r.problem(t, http.StatusServiceUnavailable)
	if r.Header.Get("Retry-After") == "" || strings.Contains(r.body, errDead.Error()) {
		t.Errorf("answered %v: %s", r.Header, r.body)
	}
	c.set(func() { c.down = nil })
	s.get(t, "/images/other").problem(t, http.StatusNotFound)
	s.get(t, "/images/"+strings.Repeat("x", 300)).problem(t, http.StatusBadRequest)
}

func TestContentTypes(t *testing.T) {
	c := newCentral()
	s := startSite(t, c)
	for name, want := range map[string]string{
		"bootloaders/ipxe.efi": "application/efi", "scripts/late.sh": "text/plain; charset=utf-8", "templates/preseed.cfg": "text/plain; charset=utf-8",
		"images/page.html": "application/octet-stream", "images/linux": "application/octet-stream",
	} {
		c.file(name, []byte("<html>"))
		if r := s.get(t, "/"+name); r.Header.Get("Content-Type") != want || r.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s is %v", name, r.Header)
		}
	}
}

func TestAHeadFetchesNoBody(t *testing.T) {
	c := newCentral()
	body := c.file("images/linux", noise(1, 500_000))
	s := startSite(t, c)
	for range 2 {
		r := s.do(t, http.MethodHead, "/images/linux", "", "Range", "bytes=1-2")
		if r.StatusCode != 200 || r.ContentLength != int64(len(body)) || r.Header.Get("ETag") != etag(body) || r.Header.Get("Accept-Ranges") != "bytes" {
			t.Errorf("answered %d, %d bytes, %v", r.StatusCode, r.ContentLength, r.Header)
		}
	}
	if r := s.do(t, http.MethodHead, "/images/linux", "", "If-None-Match", etag(body)); r.StatusCode != 304 {
		t.Errorf("a known version is answered %d", r.StatusCode)
	}
	if r := s.do(t, http.MethodHead, "/images/none", ""); r.StatusCode != 404 {
		t.Errorf("a file that is not there is answered %d", r.StatusCode)
	}
	if sent := c.contentRequests(); sent != 0 {
		t.Errorf("central sent %d bodies", sent)
	}
}

func TestRangesAndConditions(t *testing.T) {
	c := newCentral()
	body := c.file("images/linux", noise(1, 600_000))
	s := startSite(t, c)
	size := len(body)
	for _, cold := range []bool{true, false} {
		for _, tt := range []struct {
			headers   []string
			status    int
			from, to  int // of the body; to is excluded
			satisfies string
		}{
			{nil, 200, 0, size, ""},
			{[]string{"Range", "bytes=500000-"}, 206, 500_000, size, "bytes 500000-599999/600000"},
			{[]string{"Range", "bytes=0-"}, 206, 0, size, "bytes 0-599999/600000"},
			{[]string{"Range", "bytes=100-199"}, 206, 100, 200, "bytes 100-199/600000"},
			{[]string{"Range", "bytes=262143-262144"}, 206, 262_143, 262_145, "bytes 262143-262144/600000"},
			{[]string{"Range", "bytes=-5"}, 206, size - 5, size, "bytes 599995-599999/600000"},
			{[]string{"Range", "bytes=599999-700000"}, 206, size - 1, size, "bytes 599999-599999/600000"},
			{[]string{"Range", "bytes=10-19", "If-Range", etag(body)}, 206, 10, 20, "bytes 10-19/600000"},
			{[]string{"Range", "bytes=10-19", "If-Range", etag(nil)}, 200, 0, size, ""},
			{[]string{"Range", "bytes=10-19", "If-Range", "W/" + etag(body)}, 200, 0, size, ""},
			{[]string{"Range", "bytes=600000-"}, 416, 0, 0, "bytes */600000"},
			{[]string{"Range", "bytes=-0"}, 416, 0, 0, "bytes */600000"},
			{[]string{"Range", "bytes=0-9,-0"}, 206, 0, 10, "bytes 0-9/600000"},
			{[]string{"Range", "bytes=0-499999,100-599999"}, 206, 0, size, "bytes 0-599999/600000"},
			{[]string{"Range", "bytes=x-"}, 200, 0, size, ""},
			{[]string{"Range", "lines=1-2"}, 200, 0, size, ""}, // RFC 9110, section 14.2
			{[]string{"If-None-Match", etag(body)}, 304, 0, 0, ""},
			{[]string{"If-None-Match", etag(nil) + ", " + etag(body)}, 304, 0, 0, ""},
			{[]string{"If-None-Match", etag(nil)}, 200, 0, size, ""},
			{[]string{"If-Match", etag(nil)}, 412, 0, 0, ""},
			{[]string{"If-Modified-Since", "Fri, 02 Jan 2026 03:04:05 GMT"}, 304, 0, 0, ""},
		} {
			if cold {
				if err := s.cache.Remove("images/linux"); err != nil {
					t.Fatal(err)
				}
			}
			r := s.get(t, "/images/linux", tt.headers...)
			if r.StatusCode != tt.status || r.err != nil || r.Header.Get("Content-Range") != tt.satisfies || r.Header.Get("Cache-Status") == "" {
				t.Errorf("%v is answered %d, %q, %v; want %d, %q", tt.headers, r.StatusCode, r.Header.Get("Content-Range"), r.err, tt.status, tt.satisfies)
			}
			if tt.to > 0 && (r.body != string(body[tt.from:tt.to]) || r.ContentLength != int64(tt.to-tt.from)) {
				t.Errorf("%v is answered with %d bytes, said to be %d, that are not %d to %d", tt.headers, len(r.body), r.ContentLength, tt.from, tt.to)
			}
		}
	}
}

func TestManyRangesAtOnce(t *testing.T) {
	c := newCentral()
	body := c.file("images/linux", noise(1, 600_000))
	s := startSite(t, c)
	for range 2 {
		r := s.get(t, "/images/linux", "Range", "bytes=0-9,300000-300009,-10")
		kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
		if r.StatusCode != 206 || kind != "multipart/byteranges" || err != nil || r.ContentLength != int64(len(r.body)) {
			t.Fatalf("answered %d, %v", r.StatusCode, r.Header)
		}
		parts := multipart.NewReader(strings.NewReader(r.body), params["boundary"])
		for _, from := range []int{0, 300_000, 599_990} {
			part, err := parts.NextPart()
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(part)
			if err != nil || string(got) != string(body[from:from+10]) || part.Header.Get("Content-Range") != fmt.Sprintf("bytes %d-%d/600000", from, from+9) {
				t.Errorf("a part is %v of %d bytes, %v", part.Header, len(got), err)
			}
		}
	}
}

// TestGRUBsConnection is how GRUB reads a file: one connection, and a Range that begins anywhere and has no end.
func TestGRUBsConnection(t *testing.T) {
	c := newCentral()
	body := c.file("images/linux", noise(1, 300_000))
	s := startSite(t, c)
	conn, err := net.Dial("tcp", s.server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	in := bufio.NewReader(conn)
	for _, tt := range []struct {
		request string
		want    []byte
	}{
		{"HEAD /images/linux HTTP/1.1\r\nHost: x\r\n\r\n", nil},
		{"GET /images/linux HTTP/1.1\r\nHost: x\r\nRange: bytes=0-\r\n\r\n", body},
		{"GET /images/linux HTTP/1.1\r\nHost: x\r\nRange: bytes=299000-\r\n\r\n", body[299_000:]},
		{"GET //images//linux HTTP/1.1\r\nHost: x\r\n\r\n", body},
	} {
		if _, err := io.WriteString(conn, tt.request); err != nil {
			t.Fatal(err)
		}
		method, _, _ := strings.Cut(tt.request, " ")
		res, err := http.ReadResponse(in, &http.Request{Method: method})
		if err != nil {
			t.Fatal(err)
		}
		if r := read(res); r.body != string(tt.want) || r.err != nil || r.Close || len(r.TransferEncoding) > 0 ||
			method == "GET" && r.ContentLength != int64(len(tt.want)) {
			t.Errorf("%q is answered %d with %d bytes, %v, close %t, %v", tt.request, r.StatusCode, len(r.body), r.err, r.Close, r.TransferEncoding)
		}
	}
}

// sendfileSpy sees what the connection's own writer is given to send by itself.
type sendfileSpy struct {
	http.ResponseWriter
	files, bytes *atomic.Int64
}

func (w sendfileSpy) ReadFrom(r io.Reader) (int64, error) {
	n, err := w.ResponseWriter.(io.ReaderFrom).ReadFrom(r)
	if limit, ok := r.(*io.LimitedReader); ok {
		if _, ok := limit.R.(*os.File); ok {
			w.files.Add(1)
			w.bytes.Add(n)
		}
	}
	return n, err
}

func (w sendfileSpy) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func TestTheKernelSendsWhatIsOnDisk(t *testing.T) {
	c := newCentral()
	body := c.file("images/linux", noise(1, 5<<19))
	s := openSite(t, c)
	var files, bytes atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.ServeHTTP(sendfileSpy{w, &files, &bytes}, r)
	}))
	defer server.Close()
	s.server = server
	s.get(t, "/images/linux")
	f, err := s.Files.Open(t.Context(), "images", "linux")
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Stored(); err != nil {
		t.Fatal(err)
	}
	f.Close()
	s.idle(t)
	if bytes.Load() != int64(len(body)) {
		t.Errorf("while the fill ran the kernel was given %d bytes, want %d", bytes.Load(), len(body))
	}
	files.Store(0)
	bytes.Store(0)
	if r := s.get(t, "/images/linux"); r.body != string(body) {
		t.Errorf("answered %d with %d bytes", r.StatusCode, len(r.body))
	}
	s.idle(t)
	if files.Load() != 3 || bytes.Load() != int64(len(body)) {
		t.Errorf("the kernel was given %d pieces of %d bytes, want 3 of %d", files.Load(), bytes.Load(), len(body))
	}
	if !strings.Contains(s.log.String(), fmt.Sprintf(`"status":200,"bytes":%d`, len(body))) {
		t.Errorf("the log does not say how much was sent: %s", s.log)
	}
	server.Client().CloseIdleConnections()
}

func TestAFillThatFailsMidwayIsNoWholeBody(t *testing.T) {
	c := newCentral()
	body := c.file("images/linux", noise(1, 3*cache.ChunkSize))
	s := startSite(t, c)
	for _, headers := range [][]string{nil, {"Range", "bytes=10-"}} {
		cut := make(chan struct{})
		c.set(func() { c.cut = cut })
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.server.URL+"/images/linux", nil)
		if err != nil {
			t.Fatal(err)
		}
		if headers != nil {
			req.Header.Set(headers[0], headers[1])
		}
		res, err := s.server.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		close(cut) // the status has left, and so has the first chunk
		r := read(res)
		if r.err == nil || r.StatusCode >= 300 || len(r.body) == 0 || int64(len(r.body)) >= r.ContentLength || !strings.Contains(string(body), r.body) {
			t.Errorf("%v: answered %d with %d of %d bytes, %v", headers, r.StatusCode, len(r.body), r.ContentLength, r.err)
		}
	}
	c.set(func() { c.cut = nil })
	if r := s.get(t, "/images/linux"); r.body != string(body) {
		t.Errorf("afterwards answered %d with %d bytes", r.StatusCode, len(r.body))
	}
	if log := s.log.String(); !strings.Contains(log, `"err":"source failed`) {
		t.Errorf("the log says nothing: %s", log)
	}
}

// pipes is a listener whose connections are in memory, so that time in a bubble passes for them.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.done); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial() net.Conn {
	client, server := net.Pipe()
	p.conns <- server
	return client
}

// serve runs the site's gateway in a bubble until the test ends.
func (s *site) serve(t *testing.T) *pipes {
	l := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
	server := &http.Server{Handler: s.Gateway}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	return l
}

func TestASlowMachineHasAllTheTimeItNeeds(t *testing.T) {
	for _, from := range []string{"cache", "fill", "file"} { // a file is what an upstream's objects are sent from
		synctest.Test(t, func(t *testing.T) {
			c := newCentral()
			body := c.file("images/linux", noise(1, 4<<20))
			s := openSite(t, c)
			path := "/images/linux"
			switch from {
			case "file":
				path = s.sendsFile(t, body)
			case "cache":
				f, err := s.Files.Open(t.Context(), "images", "linux")
				if err != nil {
					t.Fatal(err)
				}
				if err := f.Stored(); err != nil {
					t.Fatal(err)
				}
				f.Close()
			}
			conn := s.serve(t).dial()
			defer conn.Close()
			io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n")
			res, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			began := time.Now()
			got := make([]byte, 0, len(body))
			buf := make([]byte, 100<<10)
			for len(got) < len(body) {
				n, err := io.ReadFull(res.Body, buf[:min(len(buf), len(body)-len(got))])
				got = append(got, buf[:n]...)
				if err != nil {
					t.Fatalf("%s: cut after %d bytes and %v: %v", from, len(got), time.Since(began), err)
				}
				time.Sleep(9 * time.Second)
			}
			if string(got) != string(body) || time.Since(began) < 2*pieceTime {
				t.Errorf("%s: %d bytes in %v", from, len(got), time.Since(began))
			}
		})
	}
}

func TestAMachineThatStopsReadingIsLetGo(t *testing.T) {
	for _, file := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			c := newCentral()
			body := c.file("images/linux", noise(1, 4<<20))
			s := openSite(t, c)
			path := "/images/linux"
			if file {
				path = s.sendsFile(t, body)
			}
			conn := s.serve(t).dial()
			defer conn.Close()
			io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n")
			time.Sleep(pieceTime + time.Second)
			synctest.Wait()
			if s.Active() != 0 {
				t.Errorf("%s: the request still runs", path)
			}
		})
	}
}

// sendsFile has the kernel send body from a file, as an upstream's object, and returns its path.
func (s *site) sendsFile(t *testing.T, body []byte) string {
	t.Helper()
	name := filepath.Join(s.dir, "linux")
	if err := os.WriteFile(name, body, 0o600); err != nil {
		t.Fatal(err)
	}
	s.Upstreams = []Upstream{{"/up/", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		file, err := os.Open(name)
		if err != nil {
			t.Error(err)
			return
		}
		defer file.Close()
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = io.CopyN(w, file, int64(len(body))) // who reads it sees what is missing
	})}}
	return "/up/linux"
}

// TestAnEndMayComeLate after the last byte: a body of no known length ends when its origin says so.
func TestAnEndMayComeLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openSite(t, newCentral())
		s.Upstreams = []Upstream{{"/up/", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "all there is")
			_ = http.NewResponseController(w).Flush()
			time.Sleep(pieceTime + time.Second)
		})}}
		conn := s.serve(t).dial()
		defer conn.Close()
		io.WriteString(conn, "GET /up/x HTTP/1.1\r\nHost: x\r\n\r\n")
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if got, err := io.ReadAll(res.Body); string(got) != "all there is" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	})
}

func TestASlowCentralIsNoSlowMachine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCentral()
		body := c.file("images/linux", noise(1, 6*cache.ChunkSize))
		s := openSite(t, c)
		// A chunk takes most of the time that a machine has for a piece.
		c.pause = 110 * time.Second
		conn := s.serve(t).dial()
		defer conn.Close()
		io.WriteString(conn, "GET /images/linux HTTP/1.1\r\nHost: x\r\n\r\n")
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		if r := read(res); r.body != string(body) || r.err != nil {
			t.Errorf("answered %d with %d bytes, %v", r.StatusCode, len(r.body), r.err)
		}
	})
}

// TestAPartOfAColdFileIsFetchedAlone: GRUB reads the head of an image, and UEFI asks whether it still has one. Neither
// is a reason to bring the whole of it over the WAN.
func TestAPartOfAColdFileIsFetchedAlone(t *testing.T) {
	c := newCentral()
	body := c.file("images/cd.iso", noise(7, 8<<20))
	s := startSite(t, c)
	if r := s.get(t, "/images/cd.iso", "If-None-Match", `"old", `+etag(body)); r.StatusCode != http.StatusNotModified {
		t.Errorf("a version that the client has: %d", r.StatusCode)
	}
	if n := c.contentRequests(); n != 0 {
		t.Errorf("central was asked for content %d times", n)
	}
	const from = 5<<20 + 17
	r := s.get(t, "/images/cd.iso", "Range", fmt.Sprintf("bytes=%d-%d", from, from+999))
	if r.StatusCode != http.StatusPartialContent || r.body != string(body[from:from+1000]) {
		t.Errorf("a range: %d, %d bytes", r.StatusCode, len(r.body))
	}
	if n := c.contentRequests(); n != 1 {
		t.Errorf("a range cost %d requests", n)
	}
	if in := s.cache.Stats().BytesIn; in > 1<<20 {
		t.Errorf("1000 bytes cost %d", in)
	}
}
