package httpcache

import (
	"net/http"
	"reflect"
	"slices"
	"testing"
)

func TestConditional(t *testing.T) {
	sent := []string{
		"Accept: x", "Range: bytes=0-9", `If-Range: "z"`, `If-None-Match: "z"`, `If-Match: "z"`, "If-Modified-Since: DATE+0", "If-Unmodified-Since: DATE+0",
	}
	for _, tt := range []struct {
		name   string
		stored []*Stored
		want   []string
	}{
		{"4.3.1: both validators of one", []*Stored{stored(`ETag: "a"`, "Last-Modified: DATE-60")}, []string{"Accept: x", `If-None-Match: "a"`, "If-Modified-Since: DATE-60"}},
		{"4.3.1: weak tag", []*Stored{stored(`ETag: W/"a"`)}, []string{"Accept: x", `If-None-Match: W/"a"`}},
		{"4.3.1: date alone", []*Stored{stored("Last-Modified: DATE-60")}, []string{"Accept: x", "If-Modified-Since: DATE-60"}},
		{"4.3.1: date in an old form", []*Stored{stored("Last-Modified: Sun Mar  1 11:59:00 2026")}, []string{"Accept: x", "If-Modified-Since: DATE-60"}},
		{"4.3.1: tags of several, each once, no date", []*Stored{stored(`ETag: "a"`, "Last-Modified: DATE-60"), stored(`ETag: "b"`), stored(`ETag: "a"`)}, []string{"Accept: x", `If-None-Match: "a", "b"`}},
		{"4.3.1: malformed validators", []*Stored{stored("ETag: a", "Last-Modified: 0")}, []string{"Accept: x"}},
		{"4.3.1: nothing to ask by", []*Stored{stored()}, []string{"Accept: x"}},
		{"4.3.1: nothing stored", nil, []string{"Accept: x"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			client := fields(sent...)
			if got := Conditional(client, tt.stored...); !reflect.DeepEqual(got, fields(tt.want...)) {
				t.Errorf("got %v, want %v", got, fields(tt.want...))
			}
			if !reflect.DeepEqual(client, fields(sent...)) {
				t.Errorf("the client's header became %v", client)
			}
		})
	}
	t.Run("4.3.1: a request without fields", func(t *testing.T) {
		same(t, "condition", Conditional(nil, stored(`ETag: "a"`)).Get("If-None-Match"), `"a"`)
	})
}

func TestResume(t *testing.T) {
	for _, tt := range []struct {
		name   string
		stored *Stored
		part   Span
		want   []string // nil if it cannot be resumed
	}{
		{"13.1.5: strong tag", stored(`ETag: "a"`, "Last-Modified: DATE-3600"), Span{10, 20}, []string{"Accept: x", "Range: bytes=10-19", `If-Range: "a"`}},
		{"13.1.5: strong date", stored("Last-Modified: DATE-3600"), Span{10, 20}, []string{"Accept: x", "Range: bytes=10-19", "If-Range: DATE-3600"}},
		{"13.1.5: weak tag, though with a date", stored(`ETag: W/"a"`, "Last-Modified: DATE-3600"), Span{10, 20}, nil},
		{"13.1.5: weak date", stored("Last-Modified: DATE-1"), Span{10, 20}, nil},
		{"13.1.5: no validator", stored(), Span{10, 20}, nil},
		{"14.1.2: nothing", stored(`ETag: "a"`), Span{10, 10}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := Resume(fields("Accept: x", `If-None-Match: "z"`, "Range: bytes=0-1"), tt.stored, tt.part)
			same(t, "ok", ok, tt.want != nil)
			if ok && !reflect.DeepEqual(got, fields(tt.want...)) {
				t.Errorf("got %v, want %v", got, fields(tt.want...))
			}
		})
	}
}

func TestIdentify(t *testing.T) {
	var (
		strongA = stored(`ETag: "a"`, "Date: DATE-2")
		againA  = stored(`ETag: "a"`, "Date: DATE-1")
		strongB = stored(`ETag: "b"`, "Date: DATE+0")
		weakA   = stored(`ETag: W/"a"`, "Date: DATE-5")
		dated   = stored("Last-Modified: DATE-3600", "Date: DATE-2")
		younger = stored("Last-Modified: DATE-3600", "Date: DATE-1")
		hasty   = stored("Last-Modified: DATE-3600", "Date: DATE-3599")
		both    = stored(`ETag: "a"`, "Last-Modified: DATE-3600", "Date: DATE-2")
		bare    = stored("Date: DATE+0")
		varied  = storedFor(fields("Accept: y"), "Vary: Accept", `ETag: "a"`)
	)
	for _, tt := range []struct {
		name   string
		stored []*Stored
		lines  []string
		want   []*Stored
	}{
		{"4.3.4: all with the same strong tag", []*Stored{strongA, strongB, againA}, []string{`ETag: "a"`}, []*Stored{strongA, againA}},
		{"4.3.4: no weak one by a strong tag", []*Stored{weakA}, []string{`ETag: "a"`}, nil},
		{"4.3.4: none by another strong tag", []*Stored{strongA}, []string{`ETag: "c"`}, nil},
		{"4.3.4: none by another strong tag with the same date", []*Stored{both}, []string{`ETag: "c"`, "Last-Modified: DATE-3600"}, nil},
		{"4.3.4: the same strong tag with another date", []*Stored{both}, []string{`ETag: "a"`, "Last-Modified: DATE-1800"}, []*Stored{both}},
		{"4.3.4: by a weak tag the most recent", []*Stored{weakA, againA, strongA, strongB}, []string{`ETag: W/"a"`}, []*Stored{againA}},
		{"4.3.4: by a date the most recent", []*Stored{dated, younger}, []string{"Last-Modified: DATE-3600"}, []*Stored{younger}},
		{"4.3.4: by a date what has a tag too", []*Stored{both}, []string{"Last-Modified: DATE-3600"}, []*Stored{both}},
		{"4.3.4: none by another date", []*Stored{dated}, []string{"Last-Modified: DATE-1800"}, nil},
		{"4.3.4: a new strong tag that a strong date vouches for", []*Stored{dated}, []string{`ETag: "a"`, "Last-Modified: DATE-3600"}, []*Stored{dated}},
		{"4.3.4: a weak date", []*Stored{hasty}, []string{"Last-Modified: DATE-3600"}, []*Stored{hasty}},
		{"4.3.4: a new weak tag with a weak date", []*Stored{hasty}, []string{`ETag: W/"a"`, "Last-Modified: DATE-3600"}, []*Stored{hasty}},
		{"4.3.4: a new strong tag that a weak date cannot vouch for", []*Stored{hasty}, []string{`ETag: "a"`, "Last-Modified: DATE-3600"}, nil},
		{"4.3.4: a new strong tag alone", []*Stored{dated}, []string{`ETag: "a"`}, nil},
		{"4.3.4: no validator, one without", []*Stored{bare}, nil, []*Stored{bare}},
		{"4.3.4: no validator, the one that was asked about", []*Stored{strongA}, nil, []*Stored{strongA}},
		{"4.3.4: no validator, more than one", []*Stored{strongA, bare}, nil, nil},
		{"4.3.4: only those that could have been chosen", []*Stored{varied, strongA}, []string{`ETag: "a"`}, []*Stored{strongA}},
		{"4.3.4: nothing stored", nil, []string{`ETag: "a"`}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := Identify(tt.stored, exchange(304, tt.lines...)); !slices.Equal(got, tt.want) {
				t.Errorf("identified %v, want %v", got, tt.want)
			}
		})
	}
}

func TestFreshen(t *testing.T) {
	old := []string{
		`ETag: "a"`, "Date: DATE+0", "Age: 50", "Cache-Control: max-age=60", "Content-Type: text/plain", "Content-Encoding: gzip", "Content-Length: 100", "X-A: 1", "X-A: 2",
	}
	for _, tt := range []struct {
		name    string
		sent    []string
		lines   []string // of the 304, received two minutes later
		want    []string
		refusal Refusal
	}{
		{
			name: "3.2: values present are replaced, all lines of them", lines: []string{"X-A: 3", "Date: DATE+120", "Cache-Control: max-age=5"},
			want: []string{`ETag: "a"`, "Date: DATE+120", "Cache-Control: max-age=5", "Content-Type: text/plain", "Content-Encoding: gzip", "Content-Length: 100", "X-A: 3"},
		},
		{
			name: "3.2: others are added", lines: []string{"X-B: 1", "Date: DATE+120"},
			want: []string{`ETag: "a"`, "Date: DATE+120", "Cache-Control: max-age=60", "Content-Type: text/plain", "Content-Encoding: gzip", "Content-Length: 100", "X-A: 1", "X-A: 2", "X-B: 1"},
		},
		{
			name: "3.2: what describes the stored bytes stays", lines: []string{
				"Date: DATE+120", "Content-Length: 0", "Content-Type: text/html", "Content-Encoding: br", "Content-Range: bytes 0-1/2", "Content-MD5: x", "Repr-Digest: x", "Content-Digest: x",
			},
			want: []string{`ETag: "a"`, "Date: DATE+120", "Cache-Control: max-age=60", "Content-Type: text/plain", "Content-Encoding: gzip", "Content-Length: 100", "X-A: 1", "X-A: 2"},
		},
		{
			name: "3.2: what was confirmed by a weak tag stays strong", lines: []string{"Date: DATE+120", `ETag: W/"a"`},
			want: []string{`ETag: "a"`, "Date: DATE+120", "Cache-Control: max-age=60", "Content-Type: text/plain", "Content-Encoding: gzip", "Content-Length: 100", "X-A: 1", "X-A: 2"},
		},
		{
			name: "3.1: not what is not stored", lines: []string{"Date: DATE+120", "Connection: X-Hop", "X-Hop: 1", "Set-Cookie: a=b", "Keep-Alive: 5", "Transfer-Encoding: chunked"},
			want: []string{`ETag: "a"`, "Date: DATE+120", "Cache-Control: max-age=60", "Content-Type: text/plain", "Content-Encoding: gzip", "Content-Length: 100", "X-A: 1", "X-A: 2"},
		},
		{
			name: "5.2.2.7: what is private from now on goes", lines: []string{"Date: DATE+120", `Cache-Control: private="x-a", max-age=9`},
			want: []string{`ETag: "a"`, "Date: DATE+120", `Cache-Control: private="x-a", max-age=9`, "Content-Type: text/plain", "Content-Encoding: gzip", "Content-Length: 100"},
		},
		{
			name: "4.2.3: a new Age takes the place of the old", lines: []string{"Date: DATE+120", "Age: 7"},
			want: []string{`ETag: "a"`, "Date: DATE+120", "Age: 7", "Cache-Control: max-age=60", "Content-Type: text/plain", "Content-Encoding: gzip", "Content-Length: 100", "X-A: 1", "X-A: 2"},
		},
		{
			name: "6.6.1 of 9110: no Date",
			want: []string{`ETag: "a"`, "Date: DATE+120", "Cache-Control: max-age=60", "Content-Type: text/plain", "Content-Encoding: gzip", "Content-Length: 100", "X-A: 1", "X-A: 2"},
		},
		{
			name: "5.2.2.5: no-store", lines: []string{"Date: DATE+120", "Cache-Control: no-store"}, refusal: RefusedByResponse,
			want: []string{`ETag: "a"`, "Date: DATE+120", "Cache-Control: no-store", "Content-Type: text/plain", "Content-Encoding: gzip", "Content-Length: 100", "X-A: 1", "X-A: 2"},
		},
		{
			name: "3.5: for one who logged in", sent: []string{"Authorization: x"}, lines: []string{"Date: DATE+120"}, refusal: RefusedAuthorization,
			want: []string{`ETag: "a"`, "Date: DATE+120", "Cache-Control: max-age=60", "Content-Type: text/plain", "Content-Encoding: gzip", "Content-Length: 100", "X-A: 1", "X-A: 2"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := stored(old...)
			x := exchange(304, tt.lines...)
			x.Request, x.Requested, x.Received = fields(tt.sent...), after(119), after(120)
			got, refusal := s.Freshen(x)
			same(t, "refusal", refusal, tt.refusal)
			if !reflect.DeepEqual(got.Header, fields(tt.want...)) {
				t.Errorf("header = %v, want %v", got.Header, fields(tt.want...))
			}
			same(t, "status", got.Status, 200)
			same(t, "size", got.Size, 100)
			if !reflect.DeepEqual(s, stored(old...)) {
				t.Error("what was stored has changed")
			}
		})
	}
}

// TestFreshenIsFreshAgain is the reason for all of it.
func TestFreshenIsFreshAgain(t *testing.T) {
	s := NewStored(stored("Cache-Control: max-age=60", `ETag: "a"`, "Age: 59", "Date: DATE+0").Outdate())
	r := request()
	same(t, "before", Evaluate(r, []*Stored{s}, after(120)).Action, Validate)
	x := exchange(304, "Date: DATE+120")
	x.Requested, x.Received = after(119), after(120)
	fresh, refusal := s.Freshen(x)
	same(t, "refusal", refusal, "")
	v := Evaluate(r, []*Stored{fresh}, after(120))
	same(t, "after", v.Action, Serve)
	same(t, "age", v.Age, after(1).Sub(made))
}

// TestFreshenTakesNewVary is RFC 9111 section 3.2: Vary is a field as any, and what it names from now on
// is taken from the request that was answered by the 304.
func TestFreshenTakesNewVary(t *testing.T) {
	s := stored(`ETag: "a"`)
	x := exchange(304, "Vary: Accept")
	x.Request = fields("Accept: a")
	got, _ := s.Freshen(x)
	same(t, "selects the same", got.Selects(fields("Accept: a")), true)
	same(t, "selects another", got.Selects(fields("Accept: b")), false)
}

func TestHeadAgrees(t *testing.T) {
	for _, tt := range []struct {
		name  string
		lines []string
		want  bool
	}{
		{"4.3.5: all the same", []string{`ETag: "a"`, "Last-Modified: DATE-60", "Content-Length: 100"}, true},
		{"4.3.5: nothing told", nil, true},
		{"4.3.5: another tag", []string{`ETag: "b"`, "Content-Length: 100"}, false},
		{"4.3.5: the tag as a weak one", []string{`ETag: W/"a"`}, true},
		{"4.3.5: another date", []string{`ETag: "a"`, "Last-Modified: DATE-59"}, false},
		{"4.3.5: another length", []string{`ETag: "a"`, "Content-Length: 99"}, false},
		{"4.3.5: length of nothing", []string{`ETag: "a"`, "Content-Length: 0"}, false},
		{"4.3.5: malformed validators are not told", []string{"ETag: b", "Last-Modified: 0"}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := exchange(200, tt.lines...)
			x.Method = http.MethodHead
			same(t, "agrees", stored(`ETag: "a"`, "Last-Modified: DATE-60", "Content-Length: 100").HeadAgrees(x), tt.want)
		})
	}
	t.Run("4.3.5: a tag where none was stored", func(t *testing.T) {
		same(t, "agrees", stored("Content-Length: 100").HeadAgrees(exchange(200, `ETag: "a"`)), false)
	})
	t.Run("4.3.5: a length where none was stored", func(t *testing.T) {
		same(t, "agrees", stored(`ETag: "a"`).HeadAgrees(exchange(200, "Content-Length: 100")), true)
	})
}
