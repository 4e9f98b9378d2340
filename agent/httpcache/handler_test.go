package httpcache

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"maps"
	"net/http"
	"net/http/httputil"
	"regexp"
	"strings"
	"testing"

	"github.com/pureboot/pureboot/agent/cache"
)

// TestSecondRequest asks twice, a row a rule where policy and storage meet.
func TestSecondRequest(t *testing.T) {
	const etag = `Etag: "v1"`
	for _, tt := range []struct {
		name   string
		status int // of the origin; 200 if 0
		lines  string
		first  string
		second string
		want   int    // status of the second answer
		says   string // in its Cache-Status
		asked  int
	}{
		{"fresh", 0, "Cache-Control: max-age=60", "", "", 200, "hit", 1},
		{"expires in an hour", 0, "Expires: DATE+99999999", "", "", 200, "hit", 1},
		{"heuristically fresh", 0, "Last-Modified: DATE-9999999", "", "", 200, "hit", 1},
		{"not found, and that lasts", 404, "Cache-Control: max-age=60", "", "", 404, "hit", 1},
		{"no content", 204, "Cache-Control: max-age=60", "", "", 204, "hit", 1},
		{"moved", 301, "Cache-Control: max-age=60|Location: /b", "", "", 301, "hit", 1},
		{"no-store", 0, "Cache-Control: no-store", "", "", 200, "fwd=uri-miss", 2},
		{"private", 0, "Cache-Control: private, max-age=60", "", "", 200, "fwd=uri-miss", 2},
		{"cookie", 0, "Cache-Control: max-age=60|Set-Cookie: a=b", "", "", 200, "fwd=uri-miss", 2},
		{"varies by anything", 0, "Cache-Control: max-age=60|Vary: Accept, *", "", "", 200, "fwd=uri-miss", 2},
		{"request forbids to store", 0, "Cache-Control: max-age=60", "Cache-Control: no-store", "", 200, "fwd=uri-miss", 2},
		{"authorized", 0, "Cache-Control: max-age=60", "Authorization: Basic x", "Authorization: Basic x", 200, "fwd=uri-miss", 2},
		{"authorized, but public", 0, "Cache-Control: max-age=60, public", "Authorization: Basic x", "", 200, "hit", 1},
		{"authorized, with s-maxage", 0, "Cache-Control: s-maxage=60", "Authorization: Basic x", "", 200, "hit", 1},
		{"anonymous, then authorized", 0, "Cache-Control: max-age=60", "", "Authorization: Basic x", 200, "hit", 1},
		{"s-maxage counts for us", 0, "Cache-Control: max-age=60, s-maxage=0|" + etag, "", "", 200, "fwd=stale; fwd-status=304", 2},
		{"no-cache", 0, "Cache-Control: no-cache|" + etag, "", "", 200, "fwd=stale; fwd-status=304", 2},
		{"no-cache without a validator", 0, "Cache-Control: no-cache", "", "", 200, "fwd=stale; fwd-status=200", 2},
		{"client insists", 0, "Cache-Control: max-age=60|" + etag, "", "Cache-Control: no-cache", 200, "fwd=request; fwd-status=304", 2},
		{"client insists in the old way", 0, "Cache-Control: max-age=60|" + etag, "", "Pragma: no-cache", 200, "fwd=request; fwd-status=304", 2},
		{"immutable: a client's max-age is no reason", 0, "Cache-Control: max-age=60, immutable", "", "Cache-Control: max-age=0", 200, "hit", 1},
		{"nobody is to be asked", 0, "Cache-Control: max-age=0|" + etag, "", "Cache-Control: only-if-cached", 504, "", 1},
		{"stale will do", 0, "Cache-Control: max-age=0", "", "Cache-Control: max-stale", 200, "hit", 1},
		{"it has that version", 0, "Cache-Control: max-age=60|" + etag, "", `If-None-Match: "v1"`, 304, "hit", 1},
		{"it has another", 0, "Cache-Control: max-age=60|" + etag, "", `If-None-Match: "v0"`, 200, "hit", 1},
		{"it has the newest", 0, "Last-Modified: DATE-9999999", "", "If-Modified-Since: DATE-9999999", 304, "hit", 1},
		{"only the origin can refuse", 0, "Cache-Control: max-age=60|" + etag, "", `If-Match: "v0"`, 412, "fwd=request", 2},
		{"a part", 0, "Cache-Control: max-age=60|" + etag, "", "Range: bytes=2-3", 206, "hit", 1},
		{"a part of that version", 0, "Cache-Control: max-age=60|" + etag, "", `Range: bytes=2-3|If-Range: "v0"`, 200, "hit", 1},
		{"a part behind the end", 0, "Cache-Control: max-age=60|" + etag, "", "Range: bytes=10-", 416, "hit", 1},
		{"another language", 0, "Cache-Control: max-age=60|Vary: Accept-Language", "", "Accept-Language: de", 200, "fwd=vary-miss", 2},
		{"the same language", 0, "Cache-Control: max-age=60|Vary: Accept-Language", "Accept-Language: de", "Accept-Language:  DE", 200, "hit", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			split := func(s string) []string { return strings.FieldsFunc(s, func(c rune) bool { return c == '|' }) }
			o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Accept-Ranges", "none")
				maps.Copy(w.Header(), fields(split(tt.lines)...))
				switch {
				case r.Header.Get("If-None-Match") == `"v1"`:
					w.WriteHeader(304)
				case r.Header.Get("If-Match") == `"v0"`:
					w.WriteHeader(412)
				case tt.status == 204:
					w.WriteHeader(204)
				default:
					if tt.status != 0 {
						w.WriteHeader(tt.status)
					}
					w.Write([]byte("0123456789"))
				}
			})
			s := startSite(t, o.URL)
			s.get("/up/a", split(tt.first)...)
			s.settled()
			second := s.get("/up/a", split(tt.second)...)
			if second.StatusCode != tt.want || second.err != nil {
				t.Errorf("status %d, %v, want %d", second.StatusCode, second.err, tt.want)
			}
			s.says(second, tt.says)
			switch body := string(second.body); {
			case tt.want == 206 && (body != "23" || second.Header.Get("Content-Range") != "bytes 2-3/10"):
				t.Errorf("part is %q, %s", body, second.Header.Get("Content-Range"))
			case tt.want == 200 && body != "0123456789":
				t.Errorf("body is %q", body)
			case (tt.want == 304 || tt.want == 204 || tt.want == 416) && body != "":
				t.Errorf("body is %q", body)
			}
			if got := o.requests(); len(got) != tt.asked {
				t.Errorf("origin was asked %q, want %d requests", got, tt.asked)
			}
			st := s.handler.Stats()
			if st.Requests != 2 || st.OriginRequests != int64(tt.asked) || st.OriginBytes != o.bytes() {
				t.Errorf("counted %+v, the origin %d requests and %d bytes", st, tt.asked, o.bytes())
				t.Logf("%+v", s.store.Stats())
			}
		})
	}
}

func TestQueryIsPartOfTheKey(t *testing.T) {
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Write([]byte(r.URL.RequestURI()))
	})
	s := startSite(t, o.URL)
	paths := []string{
		"/a", "/a?", "/a?b", "/a?b=/c", "/a?b=%2Fc", "/a?b|c", "/a%2Fb", "/a/b", "/a//b", "/a/b/", "/", "/?q", "/a^", "/a%3Fb",
		"/" + strings.Repeat("long/", 300), "/" + strings.Repeat("long/", 300) + "x", "/%41", "/ä", "/a^0123456789abcdef",
	}
	for range 2 {
		for _, path := range paths {
			want := strings.NewReplacer("ä", "%C3%A4", "^", "%5E").Replace(path)
			if got := string(s.get("/up" + path).body); got != want {
				t.Errorf("%s gets %s", path, got)
			}
		}
		s.settled()
	}
	if n := len(o.requests()); n != len(paths) {
		t.Errorf("origin was asked %d times for %d resources", n, len(paths))
	}
	if s.get("/up/A").Header.Get("Cache-Status") == "" || len(o.requests()) != len(paths) {
		t.Error("an escaped letter makes another resource")
	}
}

func TestPathsThatMeanNothing(t *testing.T) {
	o := startOrigin(t, file([]byte("secret")))
	s := startSite(t, o.URL)
	for _, path := range []string{"/up/../a", "/up/%2e%2E/a", "/up/a/.", "/up/a%00b", "/up/a%0d%0ab", "/up/x/.%2e/y"} {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, s.server.URL, nil)
		req.URL.Opaque = path
		resp, err := s.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 400 {
			t.Errorf("%s: status %d", path, resp.StatusCode)
		}
	}
	o.wantRequests(t)
}

func TestHeadersOfThisHop(t *testing.T) {
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Private") != "" || r.Header.Get("Te") != "" || !strings.HasPrefix(r.Header.Get("Via"), "1.1 pureboot-") || r.Header.Get("X-Kept") == "" {
			t.Errorf("origin gets %v", r.Header)
		}
		w.Header().Set("Connection", "X-Hop")
		w.Header().Set("X-Hop", "1")
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Age", "10")
		w.Header().Set("Cache-Status", "Origin; hit")
		w.Write([]byte("x"))
	})
	s := startSite(t, o.URL)
	for i := range 2 {
		r := s.get("/up/a", "Connection: X-Private", "X-Private: 1", "Te: deflate", "X-Kept: 1")
		h := r.Header
		if h.Get("X-Hop") != "" || h.Get("Age") != "10" && h.Get("Age") != "11" || !strings.HasPrefix(h.Get("Via"), "1.1 pureboot-") || h.Get("Date") == "" {
			t.Errorf("client gets %v", h)
		}
		says := "Origin; hit|PureBoot; fwd=uri-miss; fwd-status=200; ttl=NN; stored"
		if i > 0 {
			says = "Origin; hit|PureBoot; hit; ttl=NN"
		}
		if got := regexp.MustCompile("ttl=(49|50)").ReplaceAllString(strings.Join(h["Cache-Status"], "|"), "ttl=NN"); got != says {
			t.Errorf("Cache-Status is %q, want %q", got, says)
		}
		s.settled()
	}
}

func TestLoopEnds(t *testing.T) {
	var back *httputil.ReverseProxy
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) { back.ServeHTTP(w, r) })
	s := startSite(t, o.URL)
	back = &httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(mustParse(t, s.server.URL+"/up/")) }, Transport: s.client.Transport}
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		if r := s.do(method, "/up/a"); r.StatusCode != http.StatusLoopDetected {
			t.Errorf("%s: status %d", method, r.StatusCode)
		}
	}
}

func TestRestartKeepsObjectsAndMetadata(t *testing.T) {
	data := random(300_000)
	o := startOrigin(t, file(data, `Etag: "v1"`, "Cache-Control: max-age=60", "Vary: Accept", "Content-Type: a/b"))
	s := startSite(t, o.URL)
	s.get("/up/a?b", "Accept: x")
	s.get("/up/a?b", "Accept: y")
	s.do(http.MethodHead, "/up/head")
	s.settled()
	s.reopen()
	for _, accept := range []string{"Accept: x", "Accept: y"} {
		r := s.get("/up/a?b", accept)
		s.body(r, 200, data)
		s.says(r, "hit")
		if r.Header.Get("Content-Type") != "a/b" || r.Header.Get("Etag") != `"v1"` {
			t.Errorf("header %v", r.Header)
		}
	}
	s.says(s.do(http.MethodHead, "/up/head"), "hit")
	o.wantRequests(t, "GET /a?b", "GET /a?b", "HEAD /head")
}

func TestAnotherOriginBehindThePrefix(t *testing.T) {
	old, now := random(1000), random(2000)
	was, is := startOrigin(t, file(old, "Cache-Control: max-age=60")), startOrigin(t, file(now, "Cache-Control: max-age=60"))
	s := startSite(t, was.URL)
	s.body(s.get("/up/a"), 200, old)
	s.settled()
	s.options.Origin = mustParse(t, is.URL+"/")
	s.reopen()
	s.body(s.get("/up/a"), 200, now)
	s.settled()
	r := s.get("/up/a")
	s.body(r, 200, now)
	s.says(r, "hit")
}

func TestCredentialsAreNotKept(t *testing.T) {
	o := startOrigin(t, file(random(100), "Cache-Control: public, max-age=60", "Vary: Authorization, Cookie"))
	s := startSite(t, o.URL)
	for range 2 {
		s.get("/up/a", "Authorization: Bearer hunter2")
		s.get("/up/b", "Cookie: session=hunter2")
		s.get("/up/c")
	}
	s.settled()
	for e := range s.store.All() {
		if bytes.Contains(e.Meta, []byte("hunter2")) {
			t.Errorf("%s keeps %s", e.Key, e.Meta)
		}
	}
	o.wantRequests(t, "GET /a", "GET /b", "GET /c", "GET /a", "GET /b")
}

func TestWhatIsTooLargePassesThrough(t *testing.T) {
	data := random(3 << 20)
	o := startOrigin(t, file(data, "Cache-Control: max-age=60", `Etag: "v1"`))
	s := startSite(t, o.URL)
	s.store.SetLimits(1<<20, 0)
	for range 2 {
		s.body(s.get("/up/a"), 200, data)
	}
	if st := s.store.Stats(); st.Entries != 0 {
		t.Errorf("stored %+v", st)
	}
}

func TestVariantsAreBounded(t *testing.T) {
	o := startOrigin(t, file(random(10), "Cache-Control: max-age=60", "Vary: X"))
	s := startSite(t, o.URL)
	for i := range 3 * maxVariants {
		s.get("/up/a", "X: "+strings.Repeat("x", i))
		s.settled()
	}
	if st := s.store.Stats(); st.Entries > maxVariants {
		t.Errorf("%d variants", st.Entries)
	}
	s.says(s.get("/up/a", "X: "+strings.Repeat("x", 3*maxVariants-1)), "hit")
}

func TestVariantsAreReceivedAtOnce(t *testing.T) {
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		file([]byte(r.Header.Get("Accept-Language")), "Cache-Control: max-age=60", "Vary: Accept-Language")(w, r)
	})
	s := startSite(t, o.URL)
	languages := []string{"de", "en", "fr", "nl"}
	done := make(chan error)
	for i := range 40 {
		go func() {
			want := languages[i%len(languages)]
			r, err := s.try(t.Context(), http.MethodGet, "/up/a", "Accept-Language: "+want)
			if err == nil && string(r.body) != want {
				err = errNot
			}
			done <- err
		}()
	}
	for range 40 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	s.settled()
	before := len(o.requests())
	for _, want := range languages {
		r := s.get("/up/a", "Accept-Language: "+want)
		s.body(r, 200, []byte(want))
		s.says(r, "hit")
	}
	if got := len(o.requests()); got != before || got > 2*len(languages) {
		t.Errorf("%d requests, later %d, for %d variants", before, got, len(languages))
	}
}

func TestFreshenedLives(t *testing.T) {
	answers := 0
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		answers++
		w.Header().Set("Etag", `"v1"`)
		w.Header().Set("X-Answer", string(rune('0'+answers)))
		if r.Header.Get("If-None-Match") == `"v1"` {
			w.Header().Set("Cache-Control", "max-age=60")
			w.WriteHeader(304)
			return
		}
		w.Header().Set("Cache-Control", "max-age=0")
		w.Write([]byte("x"))
	})
	s := startSite(t, o.URL)
	s.get("/up/a")
	s.settled()
	s.says(s.get("/up/a"), "fwd=stale; fwd-status=304; ttl=")
	s.reopen()
	r := s.get("/up/a")
	s.says(r, "hit")
	if r.Header.Get("X-Answer") != "2" || r.Header.Get("Cache-Control") != "max-age=60" {
		t.Errorf("header %v", r.Header)
	}
	o.wantRequests(t, "GET /a", `GET /a if-none-match "v1"`)
}

func TestPurgedSoftly(t *testing.T) {
	o := startOrigin(t, file(random(10), "Cache-Control: max-age=60", `Etag: "v1"`))
	s := startSite(t, o.URL)
	s.get("/up/a")
	s.settled()
	if _, err := s.store.MarkStale(func(cache.Entry) bool { return true }); err != nil {
		t.Fatal(err)
	}
	s.says(s.get("/up/a"), "fwd=stale; fwd-status=304")
	s.says(s.get("/up/a"), "hit")
}

func TestWithheldUntilTheDigestChecks(t *testing.T) {
	data := random(300_000)
	for _, right := range []bool{true, false} {
		digest := "sha-256=:" + sum(data) + ":"
		if !right {
			digest = "sha-256=:" + sum(data[1:]) + ":"
		}
		o := startOrigin(t, file(data, "Cache-Control: max-age=60", `Etag: "v1"`, "Repr-Digest: "+digest))
		s := startSite(t, o.URL)
		r, err := s.try(t.Context(), http.MethodGet, "/up/a")
		if right {
			if err != nil {
				t.Fatal(err)
			}
			s.body(r, 200, data)
		} else if err == nil && r.err == nil || len(r.body) > len(data)-64<<10 {
			t.Errorf("a wrong object: %d bytes, %v, %v", len(r.body), r.err, err)
		}
	}
}

func sum(data []byte) string {
	d := sha256.Sum256(data)
	return base64.StdEncoding.EncodeToString(d[:])
}
