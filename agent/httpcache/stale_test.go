package httpcache

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pureboot/pureboot/agent/cache"
)

func newTLSServer(t *testing.T, h http.Handler) *httptest.Server {
	o := httptest.NewUnstartedServer(h)
	o.EnableHTTP2 = true
	o.StartTLS()
	t.Cleanup(o.Close)
	return o
}

// trusting is our transport, but for whom it trusts.
func trusting(o *httptest.Server) http.RoundTripper {
	transport := NewTransport()
	transport.TLSClientConfig = o.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	return transport
}

// TestOriginFails has a stale response and an origin that fails, a row a rule.
func TestOriginFails(t *testing.T) {
	const none = "X: none"
	for _, tt := range []struct {
		name    string
		control string
		request string // a line of it
		status  int    // of the failing origin; 0: it cuts the connection
		want    int
	}{
		{"500", "max-age=0", none, 500, 200},
		{"502", "max-age=0", none, 502, 200},
		{"503", "max-age=0", none, 503, 200},
		{"504", "max-age=0", none, 504, 200},
		{"no answer", "max-age=0", none, 0, 200},
		{"no answer to who insists", "max-age=60", "Cache-Control: no-cache", 0, 200},
		{"501 is an answer", "max-age=0", none, 501, 501},
		{"403 is an answer", "max-age=0", none, 403, 403},
		{"404 is an answer", "max-age=0", none, 404, 404},
		{"must-revalidate", "max-age=0, must-revalidate", none, 503, 503},
		{"must-revalidate, no answer", "max-age=0, must-revalidate", none, 0, 504},
		{"proxy-revalidate", "max-age=0, proxy-revalidate", none, 0, 504},
		{"s-maxage", "s-maxage=0", none, 0, 504},
		{"no-cache", "no-cache", none, 0, 504},
		{"stale-if-error is over", "max-age=0, stale-if-error=0", none, 503, 503},
		{"stale-if-error lasts", "max-age=0, stale-if-error=60", none, 503, 200},
		{"client forbids", "max-age=0", "Cache-Control: stale-if-error=0", 503, 503},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var failing atomic.Bool
			o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
				switch {
				case !failing.Load():
					file(random(1000), `Etag: "v1"`, "Cache-Control: "+tt.control)(w, r)
				case tt.status == 0:
					panic(http.ErrAbortHandler)
				default:
					w.WriteHeader(tt.status)
				}
			})
			s := startSite(t, o.URL)
			s.get("/up/a")
			s.settled()
			failing.Store(true)
			r := s.get("/up/a", tt.request)
			if r.StatusCode != tt.want {
				t.Errorf("status %d, want %d", r.StatusCode, tt.want)
			}
			if tt.want == 200 {
				s.body(r, 200, random(1000))
			}
			if tt.want == 200 {
				eventually(t, "it is counted", func() bool { return s.handler.Stats().Stale == 1 })
			}
		})
	}
}

func TestSilentOriginIsNotWaitedFor(t *testing.T) {
	var silent atomic.Bool
	g := make(gate)
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		if silent.Load() {
			<-g
			file(random(2000), `Etag: "v2"`, "Cache-Control: max-age=60")(w, r)
			return
		}
		file(random(1000), `Etag: "v1"`, "Cache-Control: max-age=0")(w, r)
	})
	s := startSite(t, o.URL)
	s.get("/up/a")
	s.settled()
	silent.Store(true)
	var herd sync.WaitGroup
	for range 20 {
		herd.Go(func() {
			r, err := s.try(t.Context(), http.MethodGet, "/up/a")
			if err != nil || r.StatusCode != 200 || len(r.body) != 1000 {
				t.Errorf("%v, %v", r.Response, err)
			}
		})
	}
	herd.Wait()
	s.body(s.get("/up/a"), 200, random(1000))
	g.open()
	eventually(t, "the answer that came too late is stored", func() bool { return s.store.Stats().Fills == 2 })
	r := s.get("/up/a")
	s.body(r, 200, random(2000))
	s.says(r, "hit")
	if n := len(o.requests()); n != 2 {
		t.Errorf("origin was asked %q", o.requests())
	}
}

// originOf answers as its function does.
type originOf func(*http.Request) (*http.Response, error)

func (f originOf) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestStaleWithinASecond measures how long an origin is waited for that has fallen silent, by a clock that stands still
// while there is work.
func TestStaleWithinASecond(t *testing.T) {
	dir, at := t.TempDir(), mustParse(t, "http://origin.example/")
	synctest.Test(t, func(t *testing.T) {
		store, err := cache.Open(cache.Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		silent := false
		h := New(Options{Cache: store, Prefix: "/up/", Origin: at, Log: slog.New(slog.DiscardHandler), Transport: originOf(func(r *http.Request) (*http.Response, error) {
			if silent {
				<-r.Context().Done()
				return nil, r.Context().Err()
			}
			return &http.Response{
				StatusCode: 200, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r, ContentLength: 4,
				Header: fields(`Etag: "v1"`, "Cache-Control: max-age=0"), Body: io.NopCloser(strings.NewReader("body")),
			}, nil
		})})
		get := func() (took time.Duration) {
			began, w := time.Now(), httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/up/a", nil))
			if w.Code != 200 || w.Body.String() != "body" {
				t.Errorf("status %d, %q", w.Code, w.Body)
			}
			return time.Since(began)
		}
		get()
		synctest.Wait()
		silent = true
		var herd sync.WaitGroup
		for range 20 {
			herd.Go(func() {
				if took := get(); took > time.Second {
					t.Errorf("stale after %v", took)
				}
			})
		}
		herd.Wait()
		if took := get(); took > 0 { // others wait for the same
			t.Errorf("who comes later waits for %v again", took)
		}
		time.Sleep(downTime)
		if took := get(); took > time.Second {
			t.Errorf("stale after %v when the origin is tried again", took)
		}
		if n := h.Stats().Stale; n != 22 {
			t.Errorf("%d were counted", n)
		}
		h.Close()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestStaleWhileRevalidate(t *testing.T) {
	var version atomic.Int32
	version.Store(1)
	g := make(gate)
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		if version.Load() == 1 {
			file(random(1000), `Etag: "v1"`, "Cache-Control: max-age=0, stale-while-revalidate=60")(w, r)
			return
		}
		<-g
		file(random(2000), `Etag: "v2"`, "Cache-Control: max-age=60")(w, r)
	})
	s := startSite(t, o.URL)
	s.get("/up/a")
	s.settled()
	version.Store(2)
	for range 10 {
		r := s.get("/up/a")
		s.body(r, 200, random(1000))
		s.says(r, "hit; ttl=")
	}
	g.open()
	eventually(t, "the new version is stored", func() bool { return len(s.get("/up/a").body) == 2000 })
	o.wantRequests(t, "GET /a", `GET /a if-none-match "v1"`)
}

// TestAPartOfWhatIsStaleHasTheWholeValidated: what the client asked for beside it is the client's alone.
func TestAPartOfWhatIsStaleHasTheWholeValidated(t *testing.T) {
	var changed atomic.Bool
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		if changed.Load() {
			file(random(2000), `Etag: "v2"`, "Cache-Control: max-age=60")(w, r)
			return
		}
		file(random(1000), `Etag: "v1"`, "Cache-Control: max-age=0, stale-while-revalidate=60")(w, r)
	})
	s := startSite(t, o.URL)
	s.get("/up/a")
	s.settled()
	changed.Store(true)
	s.body(s.get("/up/a", "Range: bytes=100-199", `If-Match: "v1"`), 206, random(1000)[100:200])
	eventually(t, "it is replaced", func() bool { return s.store.Stats().Fills == 2 })
	s.body(s.get("/up/a"), 200, random(2000))
	o.wantRequests(t, "GET /a", `GET /a if-none-match "v1"`)
}

func TestDeadOriginWithoutAnythingStored(t *testing.T) {
	o := startOrigin(t, file(nil))
	s := startSite(t, o.URL)
	o.Close()
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost} {
		r := s.do(method, "/up/a")
		if r.StatusCode != http.StatusBadGateway || r.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: status %d, %v", method, r.StatusCode, r.Header)
		}
	}
	if st := s.handler.Stats(); st.Failures != 3 || st.OriginFailures != 3 {
		t.Errorf("counted %+v", st)
	}
}

func TestCloseEndsWhatIsInTheBackground(t *testing.T) {
	var silent atomic.Bool
	asked := make(chan struct{})
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		if silent.Load() {
			close(asked)
			<-r.Context().Done()
			return
		}
		file(random(10), `Etag: "v1"`, "Cache-Control: max-age=0, stale-while-revalidate=60")(w, r)
	})
	s := startSite(t, o.URL)
	s.get("/up/a")
	s.settled()
	silent.Store(true)
	s.get("/up/a")
	<-asked
	s.handler.Close() // goleak says whether anything is left
	s.body(s.get("/up/a"), 200, random(10))
}
