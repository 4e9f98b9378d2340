package httpcache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

func TestHerdCostsOneRequest(t *testing.T) {
	data := random(1 << 20)
	g := make(gate)
	o := startOrigin(t, gatedFile(data, 1000, g, `Etag: "v1"`, "Cache-Control: max-age=60"))
	s := startSite(t, o.URL)
	const clients = 200
	var herd, began sync.WaitGroup
	began.Add(clients)
	for range clients {
		herd.Go(func() {
			f, err := s.follow(t.Context(), "/up/a")
			if err != nil {
				t.Error(err)
				began.Done()
				return
			}
			head, err := f.read(1000) // while the origin keeps the rest back
			began.Done()
			rest, restErr := f.rest()
			if err := errors.Join(err, restErr); err != nil || !bytes.Equal(append(head, rest...), data) {
				t.Errorf("%d bytes, %v", len(head)+len(rest), err)
			}
		})
	}
	began.Wait()
	g.open()
	herd.Wait()
	s.settled()
	o.wantRequests(t, "GET /a")
	if st := s.handler.Stats(); st.Misses != 1 || st.Collapsed != clients-1 || st.OriginBytes != int64(len(data)) || st.BytesSent != int64(clients*len(data)) {
		t.Errorf("counted %+v", st)
	}
	r := s.get("/up/a")
	s.body(r, 200, data)
	s.says(r, "hit")
}

// TestHerdThatTricklesIn comes while the object is being received, some of it later than the origin's answer.
func TestHerdThatTricklesIn(t *testing.T) {
	for _, tt := range []struct {
		control string
		asked   int // of the origin, by one who began it and ten who came later
	}{
		{"Cache-Control: max-age=60", 1},
		{"X: the origin does not say", 1},
		{"Cache-Control: max-age=0", 11},
		{"Cache-Control: no-cache", 11},
	} {
		data := random(300_000)
		g := make(gate)
		first := gatedFile(data, 1000, g, `Etag: "v1"`, tt.control)
		o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("If-None-Match") == `"v1"` {
				w.Header().Set("Etag", `"v1"`)
				w.WriteHeader(304)
				return
			}
			first(w, r)
		})
		s := startSite(t, o.URL)
		var herd []follower
		for range 11 {
			f, err := s.follow(t.Context(), "/up/a")
			if err != nil {
				t.Fatal(err)
			}
			herd = append(herd, f)
		}
		g.open()
		for _, f := range herd {
			if got, err := f.rest(); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%s: %d bytes, %v", tt.control, len(got), err)
			}
		}
		if got := o.requests(); len(got) != tt.asked || o.bytes() != int64(len(data)) {
			t.Errorf("%s: origin was asked %q and sent %d bytes", tt.control, got, o.bytes())
		}
	}
}

func TestFirstClientLeaves(t *testing.T) {
	data := random(1 << 20)
	g := make(gate)
	o := startOrigin(t, gatedFile(data, 100_000, g, `Etag: "v1"`, "Cache-Control: max-age=60"))
	s := startSite(t, o.URL)
	ctx, cancel := context.WithCancel(t.Context())
	first, err := s.follow(ctx, "/up/a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := first.read(1000); err != nil {
		t.Fatal(err)
	}
	second, err := s.follow(t.Context(), "/up/a")
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	first.Body.Close()
	g.open()
	if got, err := second.rest(); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	s.settled()
	s.says(s.get("/up/a"), "hit")
	o.wantRequests(t, "GET /a")
}

func TestLoneClientLeaves(t *testing.T) {
	data := random(1 << 20)
	g := make(gate)
	o := startOrigin(t, gatedFile(data, 1000, g, `Etag: "v1"`, "Cache-Control: max-age=60"))
	s := startSite(t, o.URL)
	ctx, cancel := context.WithCancel(t.Context())
	f, err := s.follow(ctx, "/up/a")
	if err != nil {
		t.Fatal(err)
	}
	f.read(1000)
	cancel()
	f.Body.Close()
	g.open()
	s.settled()
	r := s.get("/up/a")
	s.body(r, 200, data)
	s.says(r, "hit")
	o.wantRequests(t, "GET /a")
}

func TestEqualColdRangesCostOne(t *testing.T) {
	data := random(8 << 20)
	g := make(gate)
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		<-g
		file(data, `Etag: "v1"`, "Cache-Control: max-age=60")(w, r)
	})
	s := startSite(t, o.URL)
	var herd sync.WaitGroup
	ask := func() {
		r, err := s.try(t.Context(), http.MethodGet, "/up/a", "Range: bytes=5000000-5099999")
		if err != nil || r.err != nil || r.StatusCode != 206 || !bytes.Equal(r.body, data[5_000_000:5_100_000]) {
			t.Errorf("%d bytes, %v", len(r.body), err)
		}
	}
	for range 20 {
		herd.Go(ask)
	}
	eventually(t, "all wait", func() bool { return s.handler.Stats().Requests == 20 })
	g.open()
	herd.Wait()
	if n := len(o.requests()); n != 1 || o.bytes() > 100_000+1<<20 {
		t.Errorf("origin was asked %q and sent %d bytes", o.requests(), o.bytes())
	}
}

func TestRangeAtTheEndWhileTheRestIsReceived(t *testing.T) {
	data := random(8 << 20)
	g := make(gate)
	o := startOrigin(t, gatedFile(data, 100_000, g, `Etag: "v1"`, "Cache-Control: max-age=60"))
	s := startSite(t, o.URL)
	f, err := s.follow(t.Context(), "/up/a")
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		r := s.get("/up/a", "Range: bytes=-1000")
		s.body(r, 206, data[len(data)-1000:])
		if got, want := r.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-%d/%d", len(data)-1000, len(data)-1, len(data)); got != want {
			t.Errorf("Content-Range is %s, want %s", got, want)
		}
	}
	s.body(s.get("/up/a", "Range: bytes=1000-1999"), 206, data[1000:2000])
	g.open()
	if got, err := f.rest(); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if n := len(o.requests()); n != 2 || o.bytes() > int64(len(data))+1<<20 {
		t.Errorf("origin was asked %q and sent %d bytes", o.requests(), o.bytes())
	}
}

func TestManyParts(t *testing.T) {
	data := random(3 << 20)
	o := startOrigin(t, file(data, `Etag: "v1"`, "Cache-Control: max-age=60", "Content-Type: a/b"))
	s := startSite(t, o.URL)
	for range 2 { // cold, then stored
		r := s.get("/up/a", "Range: bytes=0-9, 2000000-2000099, -5, 5-12")
		_, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
		if err != nil || r.StatusCode != 206 || r.err != nil || r.ContentLength != int64(len(r.body)) || r.Header.Get("Content-Range") != "" {
			t.Fatalf("status %d, %v, %v, header %v", r.StatusCode, err, r.err, r.Header)
		}
		parts := multipart.NewReader(bytes.NewReader(r.body), params["boundary"])
		for _, want := range []Span{{0, 13}, {2_000_000, 2_000_100}, {int64(len(data)) - 5, int64(len(data))}} {
			p, err := parts.NextRawPart()
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(p)
			if err != nil || !bytes.Equal(got, data[want.Start:want.End]) || p.Header.Get("Content-Type") != "a/b" ||
				p.Header.Get("Content-Range") != (ContentRange{Span: want, Size: int64(len(data))}).String() {
				t.Errorf("%d bytes, %v, %v", len(got), err, p.Header)
			}
		}
		if _, err := parts.NextRawPart(); !errors.Is(err, io.EOF) {
			t.Errorf("more parts: %v", err)
		}
		s.settled()
	}
}

func TestHeadNeverFetchesABody(t *testing.T) {
	g := make(gate)
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		<-g
		file(random(1<<20), `Etag: "v1"`, "Cache-Control: max-age=60")(w, r)
	})
	s := startSite(t, o.URL)
	var herd sync.WaitGroup
	for range 20 {
		herd.Go(func() {
			r, err := s.try(t.Context(), http.MethodHead, "/up/a")
			if err != nil || r.StatusCode != 200 || r.ContentLength != 1<<20 {
				t.Errorf("%v, %v", r.Response, err)
			}
		})
	}
	eventually(t, "all wait", func() bool { return s.handler.Stats().Requests == 20 })
	g.open()
	herd.Wait()
	o.wantRequests(t, "HEAD /a")
	s.settled()
	s.says(s.do(http.MethodHead, "/up/a"), "hit")
	r := s.do(http.MethodHead, "/up/a", `If-None-Match: "v1"`)
	if r.StatusCode != 304 {
		t.Errorf("status %d", r.StatusCode)
	}
	s.body(s.get("/up/a"), 200, random(1<<20))
	o.wantRequests(t, "HEAD /a", "GET /a")
}

func TestHeadTellsOfWhatIsStored(t *testing.T) {
	var changed atomic.Bool
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodHead && !changed.Load():
			file(random(100), `Etag: "v1"`, "Cache-Control: max-age=60", "X: head")(w, r)
		case changed.Load():
			file(random(200), `Etag: "v2"`, "Cache-Control: max-age=60")(w, r)
		default:
			file(random(100), `Etag: "v1"`, "Cache-Control: max-age=60")(w, r)
		}
	})
	s := startSite(t, o.URL)
	s.get("/up/a")
	s.settled()
	s.do(http.MethodHead, "/up/a", "Cache-Control: no-cache")
	s.settled()
	r := s.get("/up/a")
	s.says(r, "hit")
	if r.Header.Get("X") != "head" {
		t.Error("HEAD has not updated what is stored")
	}
	changed.Store(true)
	s.do(http.MethodHead, "/up/a", "Cache-Control: no-cache")
	s.settled()
	r = s.get("/up/a")
	s.body(r, 200, random(200))
	s.says(r, "fwd=stale; fwd-status=200")
}

func TestValidationsAreOne(t *testing.T) {
	var herding atomic.Bool
	g := make(gate)
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		if herding.Load() {
			<-g
		}
		file(random(1000), `Etag: "v1"`, "Cache-Control: no-cache")(w, r)
	})
	s := startSite(t, o.URL)
	s.get("/up/a")
	s.settled()
	herding.Store(true)
	var herd sync.WaitGroup
	for range 30 {
		herd.Go(func() {
			r, err := s.try(t.Context(), http.MethodGet, "/up/a")
			if err != nil || r.StatusCode != 200 || !bytes.Equal(r.body, random(1000)) {
				t.Errorf("%v, %v", r.Response, err)
			}
		})
	}
	eventually(t, "all wait", func() bool { return s.handler.Stats().Requests == 31 })
	g.open()
	herd.Wait()
	if got := o.requests(); len(got) > 5 { // who comes after the answer asks again
		t.Errorf("origin was asked %d times", len(got))
	}
}

// TestFilesAreSentByTheKernel holds that what is whole on disk reaches the connection as a file.
func TestFilesAreSentByTheKernel(t *testing.T) {
	data := random(3 << 20)
	o := startOrigin(t, file(data, `Etag: "v1"`, "Cache-Control: max-age=60"))
	s := startSite(t, o.URL)
	s.get("/up/a")
	s.settled()
	for _, tt := range []struct {
		header string
		want   []int64
	}{{"X: none", []int64{3 << 20}}, {"Range: bytes=10-1999", []int64{1990}}, {"Range: bytes=0-9,1000-1999", []int64{10, 1000}}} {
		w := &fileWriter{header: http.Header{}}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/up/a", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header = fields(tt.header)
		s.handler.ServeHTTP(w, r)
		if !slices.Equal(w.files, tt.want) {
			t.Errorf("%s: files of %d bytes, want %d", tt.header, w.files, tt.want)
		}
	}
}

// fileWriter notes how many bytes of files it is given.
type fileWriter struct {
	header http.Header
	files  []int64
}

func (w *fileWriter) Header() http.Header         { return w.header }
func (w *fileWriter) WriteHeader(int)             {}
func (w *fileWriter) Write(b []byte) (int, error) { return len(b), nil }

func (w *fileWriter) ReadFrom(r io.Reader) (int64, error) {
	if l, ok := r.(*io.LimitedReader); ok {
		if _, ok := l.R.(*os.File); ok {
			w.files = append(w.files, l.N)
		}
	}
	return io.Copy(io.Discard, r)
}

func TestHTTP2ToTheOrigin(t *testing.T) {
	data := random(1 << 20)
	o := &countingOrigin{}
	o.Server = newTLSServer(t, o.counting(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Proto", r.Proto)
		file(data, `Etag: "v1"`, "Cache-Control: max-age=60")(w, r)
	}))
	s := startSite(t, o.URL, func(opt *Options) { opt.Transport = trusting(o.Server) })
	r := s.get("/up/a")
	s.body(r, 200, data)
	if !strings.HasPrefix(r.Header.Get("X-Proto"), "HTTP/2") {
		t.Errorf("origin was asked by %s", r.Header.Get("X-Proto"))
	}
	s.settled()
	s.says(s.get("/up/a"), "hit")
}
