package httpcache

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pureboot/pureboot/agent/cache"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// countingOrigin notes what it is asked, and how many bytes of bodies it sends.
type countingOrigin struct {
	*httptest.Server
	mu    sync.Mutex
	asked []*http.Request
	sent  int64
}

func startOrigin(t *testing.T, answer http.HandlerFunc) *countingOrigin {
	o := &countingOrigin{}
	o.Server = httptest.NewServer(o.counting(answer))
	t.Cleanup(o.Close)
	return o
}

func (o *countingOrigin) counting(answer http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		o.mu.Lock()
		o.asked = append(o.asked, r.Clone(context.WithoutCancel(r.Context())))
		o.mu.Unlock()
		answer(&countingWriter{w, o}, r)
	}
}

type countingWriter struct {
	http.ResponseWriter
	o *countingOrigin
}

func (w *countingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Write counts before a client can have it.
func (w *countingWriter) Write(b []byte) (int, error) {
	w.o.count(len(b))
	n, err := w.ResponseWriter.Write(b)
	w.o.count(n - len(b))
	return n, err
}

func (o *countingOrigin) count(sent int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sent += int64(sent)
}

// requests says what was asked so far: "GET /a", with a range "GET /a bytes=0-9", with a condition "GET /a if "v1"".
func (o *countingOrigin) requests() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var all []string
	for _, r := range o.asked {
		var s strings.Builder
		s.WriteString(r.Method + " " + r.URL.RequestURI())
		for _, name := range []string{"Range", "If-Range", "If-None-Match"} {
			if v := r.Header.Get(name); v != "" {
				s.WriteString(" " + strings.TrimPrefix(strings.ToLower(name)+" ", "range ") + v)
			}
		}
		all = append(all, s.String())
	}
	return all
}

func (o *countingOrigin) wantRequests(t *testing.T, want ...string) {
	t.Helper()
	if got := o.requests(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("origin was asked\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

func (o *countingOrigin) bytes() int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.sent
}

// site is a cache before an origin, with clients.
type site struct {
	t       *testing.T
	dir     string
	options Options
	store   *cache.Store
	handler *Handler
	server  *httptest.Server
	client  *http.Client
}

// startSite serves an origin below /up/.
func startSite(t *testing.T, origin string, change ...func(*Options)) *site {
	t.Helper()
	at, err := url.Parse(origin + "/")
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, dir: t.TempDir(), options: Options{Prefix: "/up/", Origin: at, Log: slog.New(slog.NewTextHandler(t.Output(), nil))}}
	for _, f := range change {
		f(&s.options)
	}
	s.open(cache.Options{Tries: 3})
	t.Cleanup(s.close)
	return s
}

func (s *site) open(o cache.Options) {
	s.t.Helper()
	o.Dir, o.Log = s.dir, s.options.Log
	store, err := cache.Open(o)
	if err != nil {
		s.t.Fatal(err)
	}
	s.store, s.options.Cache = store, store
	s.handler = New(s.options)
	s.server = httptest.NewServer(s.handler)
	s.client = &http.Client{
		Transport:     &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 300},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func (s *site) close() {
	s.client.CloseIdleConnections()
	s.server.CloseClientConnections()
	s.server.Close()
	s.handler.Close()
	if err := s.store.Close(); err != nil {
		s.t.Error(err)
	}
}

func (s *site) reopen() {
	s.t.Helper()
	s.close()
	s.open(cache.Options{})
}

// reply is an answer, all of it.
type reply struct {
	*http.Response
	body []byte
	err  error // that ended the body
}

func (s *site) do(method, path string, lines ...string) reply {
	s.t.Helper()
	r, err := s.try(s.t.Context(), method, path, lines...)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	return r
}

func (s *site) try(ctx context.Context, method, path string, lines ...string) (reply, error) {
	req, err := http.NewRequestWithContext(ctx, method, s.server.URL+path, nil)
	if err != nil {
		return reply{}, err
	}
	req.Header = fields(lines...)
	resp, err := s.client.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return reply{resp, body, err}, nil
}

func (s *site) get(path string, lines ...string) reply {
	s.t.Helper()
	return s.do(http.MethodGet, path, lines...)
}

// says is whether Cache-Status begins so.
func (s *site) says(r reply, want string) {
	s.t.Helper()
	if got := r.Header.Get("Cache-Status"); !strings.HasPrefix(got, "PureBoot; "+want) {
		s.t.Errorf("Cache-Status is %q, want %s", got, want)
	}
}

// body is that it is whole and right.
func (s *site) body(r reply, status int, want []byte) {
	s.t.Helper()
	if r.StatusCode != status || r.err != nil || !bytes.Equal(r.body, want) {
		s.t.Errorf("status %d, %d bytes, %v; want status %d, %d bytes", r.StatusCode, len(r.body), r.err, status, len(want))
	}
}

// settled waits until nothing is being received.
func (s *site) settled() {
	s.t.Helper()
	eventually(s.t, "what is received is stored", func() bool { return s.store.Stats().Filling == 0 })
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !done(); {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		<-time.After(2 * time.Millisecond)
	}
}

// random makes n bytes.
func random(n int) []byte {
	data := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(n)}).Read(data)
	return data
}

// file answers as an origin of one file does, with ranges and conditions.
func file(data []byte, lines ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		maps.Copy(w.Header(), fields(lines...))
		modified, _ := http.ParseTime(w.Header().Get("Last-Modified"))
		http.ServeContent(w, r, "", modified, bytes.NewReader(data))
	}
}

// gate lets an origin's bytes pass when it is opened.
type gate chan struct{}

func (g gate) open() { close(g) }

// gatedFile answers GET without a range by the bytes before at, and by the rest once the gate is open.
func gatedFile(data []byte, at int, g gate, lines ...string) http.HandlerFunc {
	whole := file(data, lines...)
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Range") != "" || r.Method != http.MethodGet {
			whole(w, r)
			return
		}
		maps.Copy(w.Header(), fields(lines...))
		w.Header().Set("Content-Length", strconv.Itoa(len(data)))
		w.Write(data[:at])
		http.NewResponseController(w).Flush()
		select {
		case <-g:
			w.Write(data[at:])
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		}
	}
}

// follower is a client that reads an answer as it comes.
type follower struct {
	*http.Response
	r *bufio.Reader
}

func (s *site) follow(ctx context.Context, path string, lines ...string) (follower, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.server.URL+path, nil)
	if err != nil {
		return follower{}, err
	}
	req.Header = fields(lines...)
	resp, err := s.client.Do(req)
	if err != nil {
		return follower{}, err
	}
	return follower{resp, bufio.NewReader(resp.Body)}, nil
}

func (f follower) read(n int) ([]byte, error) {
	b := make([]byte, n)
	_, err := io.ReadFull(f.r, b)
	return b, err
}

func (f follower) rest() ([]byte, error) {
	defer f.Body.Close()
	return io.ReadAll(f.r)
}

var errNot = errors.New("not what was wanted")

func mustParse(t testing.TB, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// answering is an origin's answer, without the origin.
func answering(r *http.Request, body []byte, lines ...string) *http.Response {
	return &http.Response{
		StatusCode: http.StatusOK, ProtoMajor: 1, ProtoMinor: 1, Header: fields(lines...), Request: r,
		ContentLength: int64(len(body)), Body: io.NopCloser(bytes.NewReader(body)),
	}
}
