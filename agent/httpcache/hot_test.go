package httpcache

import (
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pureboot/pureboot/agent/cache"
)

// hotHandler has an answer to /up/a in memory, whose origin said these lines. The origin is asked no second time.
func hotHandler(t testing.TB, lines ...string) *Handler {
	t.Helper()
	store, err := cache.Open(cache.Options{Dir: t.TempDir(), HotBytes: 1 << 20, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	h := New(Options{
		Cache: store, Prefix: "/up/", Origin: mustParse(t, "http://deb.example/"), Log: slog.New(slog.DiscardHandler),
		Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			if asked++; asked > 1 {
				return nil, errNot
			}
			return answering(r, random(100), lines...), nil
		}),
	})
	t.Cleanup(func() {
		h.Close()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	h.ServeHTTP(&nowhere{header: http.Header{}}, get(t, "/up/a"))
	for deadline := time.Now().Add(20 * time.Second); store.Hot("upstream/up/a") == nil; {
		if time.Now().After(deadline) {
			t.Fatal("never in memory")
		}
		e, _ := store.Lookup("upstream/up/a")
		if r, ok := store.GetVersion(e.Key, e.Object.Version); ok { // which brings it there, fresh or not
			r.Close()
		}
	}
	return h
}

func get(t testing.TB, path string, lines ...string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header = fields(lines...)
	return r
}

func TestAHotAnswerIsTheOneThatServeHTTPGives(t *testing.T) {
	h := hotHandler(t, `Etag: "v1"`, "Cache-Control: max-age=600", "Content-Type: a/b", "Vary: Accept-Language", "Cache-Status: inner; hit",
		"X-Two: 1", "X-Two: 2", "Content-Length: 100", "Via: 1.0 inner")
	for range 20 { // until both are of one second
		w := &nowhere{header: http.Header{}}
		before := h.Stats()
		h.ServeHTTP(w, get(t, "/up/a"))
		middle := h.Stats()
		hit := h.Hot(get(t, "/up/a", "User-Agent: x", "Connection: keep-alive"))
		if hit == nil {
			t.Fatal("not answered from memory")
		}
		if after := h.Stats(); after.Requests-middle.Requests != 1 || after.Hits-middle.Hits != middle.Hits-before.Hits || after.BytesSent-middle.BytesSent != 100 {
			t.Errorf("counted %+v, then %+v", middle, after)
		}
		want := w.header.Clone()
		same(t, "type", hit.Type[0], want.Get("Content-Type"))
		same(t, "length", hit.Length[0], want.Get("Content-Length"))
		same(t, "date", hit.Date[0], want.Get("Date"))
		for _, name := range []string{"Content-Type", "Content-Length", "Date"} {
			want.Del(name)
		}
		var text strings.Builder
		if err := want.Write(&text); err != nil {
			t.Fatal(err)
		}
		if string(hit.Fields) == text.String() {
			return
		}
		if want.Get("Age") == "" || !strings.Contains(string(hit.Fields), "ttl=") {
			t.Fatalf("has\n%swant\n%s", hit.Fields, &text)
		}
	}
	t.Error("never the same")
}

func TestWhatNeedsThoughtIsNotAnsweredFromMemory(t *testing.T) {
	h := hotHandler(t, `Etag: "v1"`, "Cache-Control: max-age=600", "Content-Type: a/b", "Vary: Accept-Language")
	for _, tt := range []struct {
		why    string
		change func(*http.Request)
	}{
		{"another method", func(r *http.Request) { r.Method = http.MethodHead }},
		{"content", func(r *http.Request) { r.ContentLength = -1 }},
		{"a query", func(r *http.Request) { r.URL.RawQuery = "x" }},
		{"an empty query", func(r *http.Request) { r.URL.ForceQuery = true }},
		{"an encoded path", func(r *http.Request) { r.URL.RawPath = "/up/%61" }},
		{"another path", func(r *http.Request) { r.URL.Path = "/up//a" }},
		{"another prefix", func(r *http.Request) { r.URL.Path = "/a" }},
		{"what Vary names", func(r *http.Request) { r.Header = fields("Accept-Language: nb") }},
		{"a range", func(r *http.Request) { r.Header = fields("Range: bytes=0-1") }},
		{"a condition", func(r *http.Request) { r.Header = fields(`If-None-Match: "v1"`) }},
		{"a directive", func(r *http.Request) { r.Header = fields("Cache-Control: no-cache") }},
		{"an old directive", func(r *http.Request) { r.Header = fields("Pragma: no-cache") }},
		{"an upgrade", func(r *http.Request) { r.Header = fields("Connection: upgrade", "Upgrade: x") }},
		{"a field for this hop", func(r *http.Request) { r.Header = fields("Connection: accept-language") }},
		{"a loop", func(r *http.Request) { r.Header = fields("Via: 1.1 " + h.name) }},
	} {
		r := get(t, "/up/a")
		tt.change(r)
		if h.Hot(r) != nil {
			t.Errorf("%s is answered", tt.why)
		}
	}
	if h.Hot(get(t, "/up/a")) == nil {
		t.Fatal("a plain request is not answered")
	}
	h.slots.disown("upstream/up/a") // as if it had been on its way then, and come after
	if h.Hot(get(t, "/up/a")) != nil {
		t.Error("what was invalidated is answered")
	}
}

func TestWhatIsToldOtherwiseToEachClientIsNotAnsweredFromMemory(t *testing.T) {
	for _, line := range []string{"Content-Location: /x", "Location: /x", "Vary: Host", "X-Request-Id: 1", "X-Long: " + strings.Repeat("x", MaxFields)} {
		if h := hotHandler(t, "Cache-Control: max-age=600", "Content-Type: a/b", line); h.Hot(get(t, "/up/a")) != nil {
			t.Errorf("%s is answered", line)
		}
	}
}

func TestWhatIsNotFreshIsNotAnsweredFromMemory(t *testing.T) {
	for _, lines := range [][]string{
		{"Cache-Control: max-age=600, no-cache", "Content-Type: a/b", `Etag: "v1"`},
		{"Cache-Control: max-age=600", "Age: 600", "Content-Type: a/b"},
		{"Cache-Control: max-age=600, stale-while-revalidate=600", "Age: 601", "Content-Type: a/b"}, // which has to be begun
		{"Cache-Control: max-age=600"}, // what it is has to be guessed from its bytes
	} {
		if h := hotHandler(t, lines...); h.Hot(get(t, "/up/a")) != nil {
			t.Errorf("%q is answered", lines)
		}
	}
}

// TestAStalePurgeIsNotAnsweredFromMemory marks what is in memory.
func TestAStalePurgeIsNotAnsweredFromMemory(t *testing.T) {
	h := hotHandler(t, `Etag: "v1"`, "Cache-Control: max-age=600", "Content-Type: a/b")
	if h.Hot(get(t, "/up/a")) == nil {
		t.Fatal("not answered from memory")
	}
	if n, err := h.Cache.MarkStale(func(cache.Entry) bool { return true }); n != 1 || err != nil {
		t.Fatalf("marked %d, %v", n, err)
	}
	if h.Hot(get(t, "/up/a")) != nil {
		t.Error("what was purged softly is answered")
	}
}

// TestASimplePathIsItsOwnKey compares the short way to a path's key with the long one.
func TestASimplePathIsItsOwnKey(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		origin := rapid.SampledFrom([]string{"http://x/", "http://x", "http://x/d/", "http://x/d", "https://X:443/d%20/"}).Draw(t, "origin")
		prefix := rapid.SampledFrom([]string{"/", "/up/", "/a/b/"}).Draw(t, "prefix")
		rest := rapid.StringMatching(`([a-zA-Z0-9+~_.%?^|:;@!$ /-]|\.\.|//){0,20}|x{480,500}`).Draw(t, "rest")
		base, err := url.Parse(origin)
		if err != nil {
			t.Fatal(err)
		}
		h := &Handler{Options: Options{Prefix: prefix, Origin: base}}
		s := &slots{name: storeName(prefix), base: PrimaryKey(base)}
		s.folder = strings.HasSuffix(s.base, "/")
		path := prefix + rest
		if !s.simple(path) {
			return
		}
		target, err := h.target(&url.URL{Path: path})
		if err != nil {
			t.Fatalf("%q is refused: %v", path, err)
		}
		if got, want := Root+path[1:], s.primary(target); got != want {
			t.Fatalf("%q below %s of %s has the key %q, want %q", rest, prefix, origin, got, want)
		}
	})
	s := &slots{name: storeName("/up/"), folder: true}
	for path, want := range map[string]bool{
		"/up/pool/main/g/g++-14_1.0~rc1_amd64.deb": true, "/up/a": true, "/up/": false, "/up": false, "/up/.a": false, "/up/a/../b": false, "/up//a": false,
	} {
		same(t, path, s.simple(path), want)
	}
}
