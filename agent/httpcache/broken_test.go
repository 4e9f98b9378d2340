package httpcache

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync/atomic"
	"testing"
)

// cuttingOrigin cuts its first answers after some bytes each.
func cuttingOrigin(data []byte, cuts int, after int, lines ...string) http.HandlerFunc {
	whole := file(data, lines...)
	var answers atomic.Int32
	return func(w http.ResponseWriter, r *http.Request) {
		if int(answers.Add(1)) > cuts {
			whole(w, r)
			return
		}
		whole(&cutWriter{ResponseWriter: w, left: after}, r)
	}
}

type cutWriter struct {
	http.ResponseWriter
	left int
}

func (w *cutWriter) Write(b []byte) (int, error) {
	n, _ := w.ResponseWriter.Write(b[:min(len(b), w.left)])
	if w.left -= n; w.left == 0 {
		http.NewResponseController(w.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	return n, nil
}

func TestCutIsResumed(t *testing.T) {
	data := random(1 << 20)
	const modified = "Last-Modified: Sun, 01 Mar 2020 12:00:00 GMT"
	for _, tt := range []struct {
		validator, condition string
		http2                bool
	}{
		{`Etag: "v1"`, `if-range "v1"`, false},
		{modified, "if-range Sun, 01 Mar 2020 12:00:00 GMT", false},
		{`Etag: "v1"`, `if-range "v1"`, true},
	} {
		o := &countingOrigin{}
		answer := o.counting(cuttingOrigin(data, 2, 400_000, tt.validator, "Cache-Control: max-age=60"))
		var transport http.RoundTripper
		if tt.http2 {
			o.Server = newTLSServer(t, answer)
			transport = trusting(o.Server)
		} else {
			o.Server = httptest.NewServer(answer)
			t.Cleanup(o.Close)
		}
		s := startSite(t, o.URL, func(opt *Options) { opt.Transport = transport })
		s.body(s.get("/up/a"), 200, data)
		o.wantRequests(t, "GET /a", "GET /a bytes=400000- "+tt.condition, "GET /a bytes=800000- "+tt.condition)
		if o.bytes() != int64(len(data)) {
			t.Errorf("%d bytes sent for %d", o.bytes(), len(data))
		}
		s.settled()
		s.says(s.get("/up/a"), "hit")
	}
}

// TestNeverAShortBodyThatLooksWhole has origins whose fault cannot be made good.
func TestNeverAShortBodyThatLooksWhole(t *testing.T) {
	data, other := random(1<<20), random(1<<20+1)
	const fresh = "Cache-Control: max-age=60"
	cut := func(then http.HandlerFunc, lines ...string) http.HandlerFunc {
		first := cuttingOrigin(data, 1, 400_000, lines...)
		var answers atomic.Int32
		return func(w http.ResponseWriter, r *http.Request) {
			if answers.Add(1) == 1 {
				first(w, r)
			} else {
				then(w, r)
			}
		}
	}
	for _, tt := range []struct {
		name   string
		origin http.HandlerFunc
	}{
		{"no validator", cut(file(data, fresh), fresh)},
		{"weak validator", cut(file(data, fresh, `Etag: W/"v1"`), fresh, `Etag: W/"v1"`)},
		{"another version later", cut(file(other, fresh, `Etag: "v2"`), fresh, `Etag: "v1"`)},
		{"another length of the same version", cut(file(other, fresh, `Etag: "v1"`), fresh, `Etag: "v1"`)},
		{"another part than was asked for", cut(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Etag", `"v1"`)
			w.Header().Set("Content-Range", fmt.Sprintf("bytes 0-%d/%d", len(data)-1, len(data)))
			w.WriteHeader(206)
			w.Write(data)
		}, fresh, `Etag: "v1"`)},
		{"no length, cut", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Cache-Control", "max-age=60")
			w.Write(data[:400_000])
			http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}},
		{"less than it says", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Cache-Control", "max-age=60")
			w.Header().Set("Content-Length", strconv.Itoa(len(data)))
			w.Write(data[:400_000])
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := startOrigin(t, tt.origin)
			s := startSite(t, o.URL)
			r, err := s.try(t.Context(), http.MethodGet, "/up/a")
			if err == nil && r.err == nil && r.StatusCode == 200 && !bytes.Equal(r.body, data) && !bytes.Equal(r.body, other) {
				t.Errorf("%d bytes that look whole", len(r.body))
			}
			if err == nil && r.StatusCode == 200 && !bytes.HasPrefix(data, r.body) && !bytes.Equal(r.body, other) {
				t.Errorf("%d bytes are of no version", len(r.body))
			}
			s.settled()
			for e := range s.store.All() {
				if e.Object.Size != int64(len(data)) && e.Object.Size != int64(len(other)) {
					t.Errorf("stored %+v", e.Object)
				}
			}
		})
	}
}

func TestMoreThanItSays(t *testing.T) {
	data := random(1000)
	o := startOrigin(t, func(w http.ResponseWriter, _ *http.Request) {
		c, buf, err := http.NewResponseController(w.(*countingWriter).ResponseWriter).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		fmt.Fprintf(buf, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nConnection: close\r\nCache-Control: max-age=60\r\n\r\n%s%s", data, "HTTP/1.1 200 OK\r\n\r\nand more")
		buf.Flush()
	})
	s := startSite(t, o.URL)
	s.body(s.get("/up/a"), 200, data)
}

func TestWithoutLength(t *testing.T) {
	data := random(700_000)
	g := make(gate)
	o := startOrigin(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Write(data[:100_000])
		http.NewResponseController(w).Flush()
		<-g
		w.Write(data[100_000:])
	})
	s := startSite(t, o.URL)
	f, err := s.follow(t.Context(), "/up/a")
	if err != nil {
		t.Fatal(err)
	}
	head, err := f.read(100_000)
	if err != nil || f.ContentLength != -1 {
		t.Errorf("length %d, %v", f.ContentLength, err)
	}
	g.open()
	rest, err := f.rest()
	if err != nil || !bytes.Equal(append(head, rest...), data) {
		t.Errorf("%d bytes, %v", len(head)+len(rest), err)
	}
	s.settled()
	r := s.get("/up/a", "Range: bytes=10-19")
	s.body(r, 206, data[10:20])
	s.says(r, "hit")
	if r = s.get("/up/a"); r.ContentLength != int64(len(data)) {
		t.Errorf("length %d once it is known", r.ContentLength)
	}
}

func TestRangesThatTheOriginDoesNotServe(t *testing.T) {
	data := random(4 << 20)
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		r.Header.Del("Range")
		file(data, `Etag: "v1"`, "Cache-Control: max-age=60")(w, r)
	})
	s := startSite(t, o.URL)
	s.body(s.get("/up/a", "Range: bytes=3000000-3000099"), 206, data[3_000_000:3_000_100])
	s.body(s.get("/up/a", "Range: bytes=-100"), 206, data[len(data)-100:])
	s.settled()
	o.wantRequests(t, "GET /a bytes=3000000-3000099")
}

func TestPartsThatAreNotStored(t *testing.T) {
	data := random(4 << 20)
	o := startOrigin(t, file(data, `Etag: "v1"`, "Cache-Control: no-store"))
	s := startSite(t, o.URL)
	for range 2 {
		s.body(s.get("/up/a", "Range: bytes=3000000-3000099"), 206, data[3_000_000:3_000_100])
		s.body(s.get("/up/b", "Range: bytes=10-19"), 206, data[10:20])
		if r := s.get("/up/b", `If-None-Match: "v1"`); r.StatusCode != 304 {
			t.Errorf("status %d", r.StatusCode)
		}
	}
	s.settled()
	if st := s.store.Stats(); st.Entries != 0 || st.Parts != 0 {
		t.Errorf("stored %+v", st)
	}
}
