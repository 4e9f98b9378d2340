package httpcache

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/pureboot/pureboot/agent/cache"
)

// bare is a handler that nobody asks, before an origin with a path of its own.
func bare(t *testing.T) *Handler {
	t.Helper()
	return startSite(t, "http://origin.example/base").handler
}

func TestAKeyTellsTheURL(t *testing.T) {
	h := bare(t)
	rapid.Check(t, func(t *rapid.T) {
		path := rapid.StringMatching(`([a-z.%A-Z0-9 |^?{}~-]{0,5}/){0,4}[a-z^|]{0,3}`).Draw(t, "path")
		query := rapid.StringMatching(`([a-z]{1,2}=[a-z/|^?]{0,4}&?){0,3}`).Draw(t, "query")
		u := &url.URL{Scheme: "http", Host: "origin.example", Path: "/base/" + path, RawQuery: query}
		key, ok := h.Resource(u)
		if !ok {
			t.Fatalf("%s is none of the origin's", u)
		}
		if at, ok := h.URL(key, nil); !ok || at != PrimaryKey(u) {
			t.Errorf("%s is stored at %s, which is taken for %s", PrimaryKey(u), key, at)
		}
		// A prefix of the URL that ends anywhere but within an escape.
		cut := rapid.IntRange(len("http://origin.example/"), len(PrimaryKey(u))).Draw(t, "cut")
		if part := PrimaryKey(u)[:cut]; !strings.Contains(part[max(0, cut-2):], "%") {
			prefix, err := url.Parse(part)
			if err != nil {
				t.Fatal(err)
			}
			if !h.Below(prefix)(cache.Entry{Key: key}) {
				t.Errorf("%s is not found below %s", key, prefix)
			}
			prefix.Path += "x-"
			prefix.RawPath = ""
			if at := PrimaryKey(prefix); h.Below(prefix)(cache.Entry{Key: key}) && !strings.HasPrefix(PrimaryKey(u), at) {
				t.Errorf("%s is found below %s", key, prefix)
			}
		}
		if !h.Owns(key) || ResourceOf(key+"^0123456789abcdef") != key {
			t.Errorf("%s is not taken for its own", key)
		}
	})
}

func TestALongURLIsKeptWithItsObject(t *testing.T) {
	o := startOrigin(t, file([]byte("body"), "Cache-Control: max-age=60", "Surrogate-Key: one two"))
	s := startSite(t, o.URL)
	path := "/up/" + strings.Repeat("long/", 200)
	s.get(path)
	s.settled()
	want := o.URL + strings.TrimPrefix(path, "/up")
	found := 0
	for e := range s.store.All() {
		found++
		if at, ok := s.handler.URL(e.Key, e.Meta); !ok || at != want {
			t.Errorf("%s is taken for %q", e.Key, at)
		}
		if !Tagged("two")(e) || Tagged("tw")(e) || Tagged("")(e) {
			t.Error("its tags are not known")
		}
	}
	if found != 1 {
		t.Errorf("%d objects", found)
	}
}

func TestATagIsFoundHoweverItIsWritten(t *testing.T) {
	h := bare(t)
	for _, tag := range []string{"a", "z", "ab", "zzz", "a<b>&c", `q"uo\te`, "grün", "\u2028", "release-2025", "0123456789abcdef", "e"} {
		e := cache.Entry{Key: "upstream/up/x", Meta: h.slots.encode(Meta{Status: 200, Header: http.Header{"Cache-Tag": {"first, " + tag + " ,last"}}})}
		if !Tagged(tag)(e) || !Tagged("last")(e) {
			t.Errorf("%q is not found", tag)
		}
		if Tagged(tag+"x")(e) || Tagged("x"+tag)(e) || Tagged("missing")(e) {
			t.Errorf("what is not %q is found", tag)
		}
	}
}

func TestWhatIsNoUpstreamsHasNoURL(t *testing.T) {
	h := bare(t)
	for _, key := range []cache.Key{"images/linux", "upstream/other/x", "upstream/up/^long/0123"} {
		if at, ok := h.URL(key, []byte("{")); ok {
			t.Errorf("%s is taken for %s", key, at)
		}
	}
	for _, at := range []string{"http://elsewhere/base/x", "http://origin.example/bas", "https://origin.example/base/x"} {
		u, err := url.Parse(at)
		if err != nil {
			t.Fatal(err)
		}
		if key, ok := h.Resource(u); ok {
			t.Errorf("%s is stored at %s", at, key)
		}
	}
}
