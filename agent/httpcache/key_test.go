package httpcache

import (
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestPrimaryKey(t *testing.T) {
	for _, tt := range []struct{ name, url, want string }{
		{"4.2.3: as it is", "http://deb.example/debian/Release?a=b", "http://deb.example/debian/Release?a=b"},
		{"4.2.3: case of scheme and host", "HTTP://Deb.EXAMPLE/Debian", "http://deb.example/Debian"},
		{"4.2.3: default port of http", "http://deb.example:80/", "http://deb.example/"},
		{"4.2.3: default port of https", "https://deb.example:443/", "https://deb.example/"},
		{"4.2.3: empty port", "http://deb.example:/", "http://deb.example/"},
		{"4.2.3: the other one's port", "http://deb.example:443/", "http://deb.example:443/"},
		{"4.2.3: address of version 6", "http://[2001:DB8::1]:80/", "http://[2001:db8::1]/"},
		{"4.2.3: empty path", "http://deb.example", "http://deb.example/"},
		{"4.2.3: empty path before a query", "http://deb.example?a", "http://deb.example/?a"},
		{"4.2.3: escaped unreserved characters", "http://deb.example/%7Ea%2d%41?%7e", "http://deb.example/~a-A?~"},
		{"4.2.3: escaped reserved characters stay", "http://deb.example/a%2fb%3f?c%26d", "http://deb.example/a%2Fb%3F?c%26d"},
		{"4.2.3: escapes of escapes stay", "http://deb.example/%2541", "http://deb.example/%2541"},
		{"4.2.3: all unreserved characters", "http://deb.example/%61%7A%41%5A%30%39%2D%2E%5F%7E", "http://deb.example/azAZ09-._~"},
		{"4.2.3: all digits of escapes", "http://deb.example/%0a%A0%fF%9f%Af%F9", "http://deb.example/%0A%A0%FF%9F%AF%F9"},
		{"4.2.3: what has to be escaped in a query", "http://deb.example/?a\"<>", "http://deb.example/?a%22%3C%3E"},
		{"4.2.3: what has to be escaped", "http://deb.example/ü?a=é|", "http://deb.example/%C3%BC?a=%C3%A9%7C"},
		{"4.2.3: no escapes", "http://deb.example/?a=%zz%4", "http://deb.example/?a=%zz%4"},
		{"2: query in its order", "http://deb.example/?b&a&b", "http://deb.example/?b&a&b"},
		{"2: empty query is another one", "http://deb.example/?", "http://deb.example/?"},
		{"2: slashes are not joined", "http://deb.example//a//", "http://deb.example//a//"},
		{"2: dot segments stay", "http://deb.example/a/../b", "http://deb.example/a/../b"},
		{"7.1 of 9110: fragment is no part", "http://deb.example/a#b", "http://deb.example/a"},
		{"4.2.4 of 9110: credentials are no part", "http://user:secret@deb.example/a", "http://deb.example/a"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			u, err := url.Parse(tt.url)
			if err != nil {
				t.Fatal(err)
			}
			same(t, "key", PrimaryKey(u), tt.want)
		})
	}
}

// FuzzPrimaryKey holds that a key is a URL whose key is itself, and that the path it names is the same.
func FuzzPrimaryKey(f *testing.F) {
	for _, seed := range []string{"http://a/%7e%2f?%41", "https://A:443", "http://a/?%", "http://a/%E2%82?\x7f"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := url.Parse(raw)
		if err != nil || u.Host == "" || u.Opaque != "" || u.Scheme != "http" || strings.Contains(u.RawQuery, "%") {
			return // what is no escape in a query stays as it is, and may look like one once its neighbours are decoded
		}
		key := PrimaryKey(u)
		again, err := url.Parse(key)
		if err != nil {
			t.Fatalf("key %q of %q: %v", key, raw, err)
		}
		if PrimaryKey(again) != key {
			t.Errorf("key of %q is %q, whose key is %q", raw, key, PrimaryKey(again))
		}
		if again.Path != u.Path && u.Path != "" && strings.HasPrefix(u.Path, "/") {
			t.Errorf("%q has path %q, its key %q", raw, u.Path, again.Path)
		}
	})
}

// TestPrimaryKeyOfRawQuery is about what url.Parse does not let through, but a URL may have been given.
func TestPrimaryKeyOfRawQuery(t *testing.T) {
	u := &url.URL{Scheme: "http", Host: "a", RawQuery: "b c\x7f"}
	same(t, "key", PrimaryKey(u), "http://a/?b%20c%7F")
}

func TestVary(t *testing.T) {
	for _, tt := range []struct {
		name  string
		lines []string
		want  Vary
	}{
		{"12.5.5: none", nil, Vary{}},
		{"12.5.5: empty", []string{"Vary:"}, Vary{}},
		{"12.5.5: in any case and order, once each", []string{"Vary: origin, ACCEPT-encoding", "Vary: Origin"}, Vary{Fields: []string{"Accept-Encoding", "Origin"}}},
		{"12.5.5: all", []string{"Vary: *"}, Vary{Any: true}},
		{"12.5.5: all in a list", []string{"Vary: Origin, *, Accept"}, Vary{Any: true}},
		{"12.5.5: what is no field", []string{"Vary: Origin Accept"}, Vary{Any: true}},
		{"12.5.5: a quoted one is no field", []string{`Vary: "Origin"`}, Vary{Any: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := ParseVary(fields(tt.lines...)); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

// TestSelects compares a request that a response was stored for with a later one.
func TestSelects(t *testing.T) {
	for _, tt := range []struct {
		name          string
		vary          string
		first, second []string
		want          bool
	}{
		{"4.1: no Vary", "", []string{"Accept: a"}, []string{"Accept: b"}, true},
		{"4.1: the same", "Accept", []string{"Accept: a"}, []string{"Accept: a"}, true},
		{"4.1: another value", "Accept", []string{"Accept: a"}, []string{"Accept: b"}, false},
		{"4.1: absent from both", "Accept", nil, []string{"Origin: x"}, true},
		{"4.1: absent from the later", "Accept", []string{"Accept: a"}, nil, false},
		{"4.1: absent from the former", "Accept", nil, []string{"Accept: a"}, false},
		{"4.1: empty is not absent", "Accept", nil, []string{"Accept:"}, false},
		{"4.1: empty is empty", "Accept", []string{"Accept:"}, []string{"Accept:"}, true},
		{"4.1: all of several have to match", "Accept, Origin", []string{"Accept: a", "Origin: x"}, []string{"Accept: a", "Origin: y"}, false},
		{"4.1: other fields do not count", "Accept", []string{"Accept: a", "Origin: x"}, []string{"Accept: a"}, true},
		{"4.1: never with all", "*", nil, nil, false},
		{"4.1: never with all in a list", "Accept, *", nil, nil, false},
		{"4.1: whitespace in a list", "Accept-Encoding", []string{"Accept-Encoding: gzip,br;q=0.5"}, []string{"Accept-Encoding: gzip ,\t br ; q=0.5"}, true},
		{"4.1: lines of a list", "Accept-Encoding", []string{"Accept-Encoding: gzip, br"}, []string{"Accept-Encoding: gzip", "Accept-Encoding: br"}, true},
		{"4.1: empty members of a list", "Accept-Encoding", []string{"Accept-Encoding: gzip, br"}, []string{"Accept-Encoding: gzip,, br,"}, true},
		{"4.1: case of a list", "Accept-Language", []string{"Accept-Language: de-DE"}, []string{"Accept-Language: de-de"}, true},
		{"4.1: case of all letters", "Accept-Language", []string{"Accept-Language: AZ"}, []string{"Accept-Language: az"}, true},
		{"4.1: order of a list", "Accept-Encoding", []string{"Accept-Encoding: gzip, br"}, []string{"Accept-Encoding: br, gzip"}, false},
		{"4.1: words are not joined", "Accept-Encoding", []string{"Accept-Encoding: g zip"}, []string{"Accept-Encoding: gzip"}, false},
		{"4.1: lines of any field", "X-A", []string{"X-A: a, b"}, []string{"X-A: a", "X-A: b"}, true},
		{"4.1: whitespace around any field", "X-A", []string{"X-A: a"}, []string{"X-A: a\t"}, true},
		{"4.1: whitespace in any field", "User-Agent", []string{"User-Agent: a (b, c)"}, []string{"User-Agent: a (b,c)"}, false},
		{"4.1: case of any field", "X-A", []string{"X-A: a"}, []string{"X-A: A"}, false},
		{"4.1: a long field", "X-A", []string{"X-A: " + strings.Repeat("a", 9999)}, []string{"X-A: " + strings.Repeat("a", 9999)}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := storedFor(fields(tt.first...), "Vary: "+tt.vary)
			same(t, "selects", s.Selects(fields(tt.second...)), tt.want)
		})
	}
}

func TestSecondaryKey(t *testing.T) {
	for _, tt := range []struct {
		name string
		vary string
		sent []string
		want string
	}{
		{"4.1: no Vary", "", []string{"Accept: a"}, ""},
		{"4.1: a value", "accept-encoding", []string{"Accept-Encoding: GZIP,br;q=0.5"}, "accept-encoding=gzip%2C+br%3Bq%3D0.5"},
		{"4.1: an absent field", "Origin", nil, "origin"},
		{"4.1: an empty field", "Origin", []string{"Origin:"}, "origin="},
		{"4.1: fields in their order", "Origin, Accept", []string{"Accept: a&b=c"}, "accept=a%26b%3Dc&origin"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			same(t, "key", storedFor(fields(tt.sent...), "Vary: "+tt.vary).SecondaryKey(), tt.want)
		})
	}
}

// TestSecondaryKeyIsSelection holds that two requests have the same secondary key exactly if what is
// stored for one may answer the other.
func TestSecondaryKeyIsSelection(t *testing.T) {
	names := []string{"Accept", "Accept-Encoding", "Origin"}
	value := rapid.StringMatching(`[aA=&%;, "]{0,4}`)
	rapid.Check(t, func(t *rapid.T) {
		draw := func(label string) http.Header {
			h := http.Header{}
			for _, name := range names {
				if lines := rapid.SliceOfN(value, 0, 2).Draw(t, label+" "+name); len(lines) > 0 {
					h[name] = lines
				}
			}
			return h
		}
		first, second := draw("first"), draw("second")
		vary := "Vary: " + strings.Join(rapid.SliceOfDistinct(rapid.SampledFrom(names), rapid.ID[string]).Draw(t, "vary"), ",")
		a, b := storedFor(first, vary), storedFor(second, vary)
		if !a.Selects(first) {
			t.Fatalf("%v does not select itself", first)
		}
		if got, want := a.Selects(second), a.SecondaryKey() == b.SecondaryKey(); got != want {
			t.Fatalf("selects = %v, keys %q and %q", got, a.SecondaryKey(), b.SecondaryKey())
		}
	})
}

// TestWhitespaceCostsNothing holds the cost of a long field to its length.
func TestWhitespaceCostsNothing(t *testing.T) {
	s := storedFor(fields("Accept-Encoding: gzip"), "Vary: Accept-Encoding")
	long := http.Header{"Accept-Encoding": {"gzip" + strings.Repeat(" ", 1<<20) + "; q" + strings.Repeat(" ;", 1<<19)}}
	done := make(chan bool)
	go func() { done <- s.Selects(long) }()
	select {
	case selects := <-done:
		same(t, "selects", selects, false)
	case <-time.After(10 * time.Second):
		t.Fatal("still busy after 10 s")
	}
}
