package httpcache

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestEvaluate(t *testing.T) {
	const tag = `ETag: "a"`
	for _, tt := range []struct {
		name   string
		method string   // GET if empty
		sent   []string // by the client
		lines  []string // of what is stored; nothing is if nil
		now    float64  // seconds after it was made and received
		action Action
		reason Reason
	}{
		{"2: nothing stored", "", nil, nil, 0, Fetch, URIMiss},
		{"2: nothing stored for HEAD", "HEAD", nil, nil, 0, Fetch, URIMiss},
		{"2: POST", "POST", nil, []string{"Cache-Control: max-age=60"}, 0, Pass, ByMethod},
		{"2: OPTIONS", "OPTIONS", nil, nil, 0, Pass, ByMethod},
		{"4: HEAD from a stored GET", "HEAD", nil, []string{"Cache-Control: max-age=60"}, 0, Serve, Fresh},
		{"4.1: no such variant", "", []string{"Accept: b"}, []string{"Cache-Control: max-age=60", "Vary: Accept"}, 0, Fetch, VaryMiss},

		{"4.2: fresh", "", nil, []string{"Cache-Control: max-age=60"}, 59.9, Serve, Fresh},
		{"4.2: not fresh at its end", "", nil, []string{"Cache-Control: max-age=60", tag}, 60, Validate, Stale},
		{"4.2: stale", "", nil, []string{"Cache-Control: max-age=60", tag}, 61, Validate, Stale},
		{"4.2: stale with a date", "", nil, []string{"Cache-Control: max-age=60", "Last-Modified: DATE-60"}, 61, Validate, Stale},
		{"4.3.1: stale without validator", "", nil, []string{"Cache-Control: max-age=60"}, 61, Fetch, Stale},
		{"4.2: Age counts", "", nil, []string{"Cache-Control: max-age=60", "Age: 59", tag}, 1, Validate, Stale},
		{"4.2.2: heuristically fresh", "", nil, []string{"Last-Modified: DATE-600", tag}, 59, Serve, Fresh},
		{"4.2.2: heuristically stale", "", nil, []string{"Last-Modified: DATE-600", tag}, 60, Validate, Stale},
		{"4.2: no lifetime at all", "", nil, []string{tag}, 0, Validate, Stale},

		{"5.2.2.4: no-cache", "", nil, []string{"Cache-Control: max-age=60, no-cache", tag}, 1, Validate, ResponseNoCache},
		{"5.2.2.4: no-cache without validator", "", nil, []string{"Cache-Control: max-age=60, no-cache"}, 1, Fetch, ResponseNoCache},
		{"5.2.2.4: no-cache with a field", "", nil, []string{`Cache-Control: max-age=60, no-cache="x-a"`, tag}, 1, Serve, Fresh},
		{"5.2.2.4: no-cache outdoes max-stale", "", []string{"Cache-Control: max-stale"}, []string{"Cache-Control: no-cache", tag}, 1, Validate, ResponseNoCache},
		{"5.2.2.2: must-revalidate while fresh", "", nil, []string{"Cache-Control: max-age=60, must-revalidate", tag}, 1, Serve, Fresh},
		{"5.2.2.2: must-revalidate outdoes max-stale", "", []string{"Cache-Control: max-stale"}, []string{"Cache-Control: max-age=60, must-revalidate", tag}, 61, Validate, MustRevalidate},
		{"5.2.2.8: proxy-revalidate outdoes max-stale", "", []string{"Cache-Control: max-stale"}, []string{"Cache-Control: max-age=60, proxy-revalidate", tag}, 61, Validate, MustRevalidate},
		{"5.2.2.10: s-maxage outdoes max-stale", "", []string{"Cache-Control: max-stale"}, []string{"Cache-Control: s-maxage=60", tag}, 61, Validate, MustRevalidate},
		{"5.2.2.10: s-maxage outdoes max-age", "", nil, []string{"Cache-Control: max-age=1, s-maxage=60", tag}, 59, Serve, Fresh},

		{"5.2.1.4: no-cache", "", []string{"Cache-Control: no-cache"}, []string{"Cache-Control: max-age=60", tag}, 1, Validate, RequestNoCache},
		{"5.4: Pragma", "", []string{"Pragma: no-cache"}, []string{"Cache-Control: max-age=60", tag}, 1, Validate, RequestNoCache},
		{"5.2.1.5: no-store may be served from store", "", []string{"Cache-Control: no-store"}, []string{"Cache-Control: max-age=60", tag}, 1, Serve, Fresh},
		{"5.2.1.1: max-age not reached", "", []string{"Cache-Control: max-age=10"}, []string{"Cache-Control: max-age=60", tag}, 10, Serve, Fresh},
		{"5.2.1.1: max-age exceeded", "", []string{"Cache-Control: max-age=10"}, []string{"Cache-Control: max-age=60", tag}, 10.1, Validate, RequestMaxAge},
		{"5.2.1.1: max-age of zero", "", []string{"Cache-Control: max-age=0"}, []string{"Cache-Control: max-age=60", tag}, 1, Validate, RequestMaxAge},
		{"5.2.1.1: malformed max-age", "", []string{"Cache-Control: max-age=x"}, []string{"Cache-Control: max-age=60", tag}, 1, Validate, RequestMaxAge},
		{"5.2.1.1: max-age does not prolong", "", []string{"Cache-Control: max-age=100"}, []string{"Cache-Control: max-age=60", tag}, 61, Validate, Stale},
		{"5.2.1.1: max-age does not take what is stale", "", []string{"Cache-Control: max-age=100"}, []string{"Cache-Control: max-age=60, stale-while-revalidate=60", tag}, 61, Validate, Stale},
		{"5.2.1.1: max-age with max-stale does", "", []string{"Cache-Control: max-age=100, max-stale=50"}, []string{"Cache-Control: max-age=60", tag}, 61, Serve, RequestMaxStale},
		{"5.2.1.1: max-age holds beside max-stale", "", []string{"Cache-Control: max-age=70, max-stale=50"}, []string{"Cache-Control: max-age=60", tag}, 71, Validate, RequestMaxAge},
		{"5.2.1.2: max-stale within", "", []string{"Cache-Control: max-stale=10"}, []string{"Cache-Control: max-age=60", tag}, 70, Serve, RequestMaxStale},
		{"5.2.1.2: max-stale exceeded", "", []string{"Cache-Control: max-stale=10"}, []string{"Cache-Control: max-age=60", tag}, 70.1, Validate, Stale},
		{"5.2.1.2: max-stale of any", "", []string{"Cache-Control: max-stale"}, []string{"Cache-Control: max-age=60", tag}, 5e9, Serve, RequestMaxStale},
		{"5.2.1.2: malformed max-stale", "", []string{"Cache-Control: max-stale=x"}, []string{"Cache-Control: max-age=60", tag}, 61, Validate, Stale},
		{"5.2.1.3: min-fresh met", "", []string{"Cache-Control: min-fresh=10"}, []string{"Cache-Control: max-age=60", tag}, 50, Serve, Fresh},
		{"5.2.1.3: min-fresh not met", "", []string{"Cache-Control: min-fresh=10"}, []string{"Cache-Control: max-age=60", tag}, 50.1, Validate, RequestMinFresh},
		{"5.2.1.3: min-fresh outdoes stale-while-revalidate", "", []string{"Cache-Control: min-fresh=0"}, []string{"Cache-Control: max-age=60, stale-while-revalidate=9", tag}, 61, Validate, RequestMinFresh},
		{"5.2.1.7: only-if-cached, fresh", "", []string{"Cache-Control: only-if-cached"}, []string{"Cache-Control: max-age=60", tag}, 1, Serve, Fresh},
		{"5.2.1.7: only-if-cached, stale", "", []string{"Cache-Control: only-if-cached"}, []string{"Cache-Control: max-age=60", tag}, 61, Unavailable, Stale},
		{"5.2.1.7: only-if-cached, stale without validator", "", []string{"Cache-Control: only-if-cached"}, []string{"Cache-Control: max-age=60"}, 61, Unavailable, Stale},
		{"5.2.1.7: only-if-cached, stale but taken", "", []string{"Cache-Control: only-if-cached, max-stale=5"}, []string{"Cache-Control: max-age=60", tag}, 61, Serve, RequestMaxStale},
		{"5.2.1.7: only-if-cached, nothing stored", "", []string{"Cache-Control: only-if-cached"}, nil, 0, Unavailable, URIMiss},
		{"5.2.1.7: only-if-cached, no such variant", "", []string{"Cache-Control: only-if-cached", "Accept: b"}, []string{"Vary: Accept", "Cache-Control: max-age=60"}, 0, Unavailable, VaryMiss},
		{"5.2.1.7: only-if-cached does not concern other methods", "POST", []string{"Cache-Control: only-if-cached"}, nil, 0, Pass, ByMethod},

		{"RFC 5861 3: within the window", "", nil, []string{"Cache-Control: max-age=60, stale-while-revalidate=30", tag}, 90, ServeAndValidate, StaleWhileRevalidate},
		{"RFC 5861 3: behind the window", "", nil, []string{"Cache-Control: max-age=60, stale-while-revalidate=30", tag}, 90.1, Validate, Stale},
		{"RFC 5861 3: not while fresh", "", nil, []string{"Cache-Control: max-age=60, stale-while-revalidate=30", tag}, 59, Serve, Fresh},
		{"RFC 5861 3: without validator it is fetched meanwhile", "", nil, []string{"Cache-Control: max-age=60, stale-while-revalidate=30"}, 61, ServeAndValidate, StaleWhileRevalidate},
		{"RFC 5861 3: must-revalidate outdoes it", "", nil, []string{"Cache-Control: max-age=60, must-revalidate, stale-while-revalidate=30", tag}, 61, Validate, MustRevalidate},
		{"RFC 5861 3: s-maxage outdoes it", "", nil, []string{"Cache-Control: s-maxage=60, stale-while-revalidate=30", tag}, 61, Validate, MustRevalidate},
		{"RFC 5861 3: the client's no-cache outdoes it", "", []string{"Cache-Control: no-cache"}, []string{"Cache-Control: max-age=60, stale-while-revalidate=30", tag}, 61, Validate, RequestNoCache},
		{"RFC 5861 4: stale-if-error is for errors", "", nil, []string{"Cache-Control: max-age=60, stale-if-error=30", tag}, 61, Validate, Stale},

		{"RFC 8246 2: max-age does not reach what is immutable", "", []string{"Cache-Control: max-age=0"}, []string{"Cache-Control: max-age=60, immutable", tag}, 1, Serve, Fresh},
		{"RFC 8246 2: nor does min-fresh", "", []string{"Cache-Control: min-fresh=100"}, []string{"Cache-Control: max-age=60, immutable", tag}, 1, Serve, Fresh},
		{"RFC 8246 2: no-cache does", "", []string{"Cache-Control: no-cache"}, []string{"Cache-Control: max-age=60, immutable", tag}, 1, Validate, RequestNoCache},
		{"RFC 8246 2: not at its end", "", []string{"Cache-Control: max-age=0"}, []string{"Cache-Control: max-age=60, immutable", tag}, 60, Validate, RequestMaxAge},
		{"RFC 8246 2: immutable only while fresh", "", []string{"Cache-Control: max-age=0"}, []string{"Cache-Control: max-age=60, immutable", tag}, 61, Validate, RequestMaxAge},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := request(tt.sent...)
			if tt.method != "" {
				r.Method = tt.method
			}
			var variants []*Stored
			if tt.lines != nil {
				variants = append(variants, stored(tt.lines...))
			}
			v := Evaluate(r, variants, after(tt.now))
			same(t, "action", v.Action, tt.action)
			same(t, "reason", v.Reason, tt.reason)
			if chosen := v.Action != Pass && v.Reason != VaryMiss && tt.lines != nil; chosen != (v.Stored != nil) {
				t.Errorf("stored = %v", v.Stored)
			}
			if v.Stored != nil {
				same(t, "age", v.Age, v.Stored.Age(after(tt.now)))
				same(t, "ttl", v.TTL, v.Stored.TTL(after(tt.now)))
			}
		})
	}
}

func TestEvaluateChoosesAmongStored(t *testing.T) {
	head := func(lines ...string) *Stored {
		x := exchange(200, lines...)
		x.Method = http.MethodHead
		return NewStored(Keep(x))
	}
	var (
		gzip   = storedFor(fields("Accept-Encoding: gzip"), "Vary: Accept-Encoding", "Cache-Control: max-age=60", "Date: DATE+0")
		plain  = storedFor(fields(), "Vary: Accept-Encoding", "Cache-Control: max-age=60", "Date: DATE-9")
		older  = stored("Cache-Control: max-age=60", "Date: DATE-9")
		newest = stored("Cache-Control: max-age=60", "Date: DATE-1")
		asked  = head("Cache-Control: max-age=60", "Date: DATE+0")
		late   = stored("Cache-Control: max-age=60", "Date: DATE-1")
	)
	late = NewStored(func() Meta { m := late.Meta; m.Received = after(1); return m }())
	for _, tt := range []struct {
		name     string
		method   string
		sent     []string
		variants []*Stored
		want     *Stored
		reason   Reason
	}{
		{"4.1: the one that Vary selects", "GET", []string{"Accept-Encoding: gzip"}, []*Stored{plain, gzip}, gzip, Fresh},
		{"4.1: the one that an absent field selects", "GET", nil, []*Stored{plain, gzip}, plain, Fresh},
		{"4.1: none", "GET", []string{"Accept-Encoding: br"}, []*Stored{plain, gzip}, nil, VaryMiss},
		{"4: the most recent by Date", "GET", nil, []*Stored{older, newest}, newest, Fresh},
		{"4: the most recent by Date, the other way", "GET", nil, []*Stored{newest, older}, newest, Fresh},
		{"4: of the same Date the last received", "GET", nil, []*Stored{late, newest}, late, Fresh},
		{"4: a more recent one without Vary", "GET", nil, []*Stored{plain, newest}, newest, Fresh},
		{"9.3.2 of 9110: HEAD is not answered to GET", "GET", nil, []*Stored{asked}, nil, HeadOnly},
		{"9.3.2 of 9110: HEAD does not hide a GET", "GET", nil, []*Stored{asked, older}, older, Fresh},
		{"9.3.2 of 9110: HEAD is answered to HEAD", "HEAD", nil, []*Stored{asked, older}, asked, Fresh},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := request(tt.sent...)
			r.Method = tt.method
			v := Evaluate(r, tt.variants, after(2))
			same(t, "stored", v.Stored, tt.want)
			same(t, "reason", v.Reason, tt.reason)
		})
	}
}

// TestContentIsPassed is RFC 9110 section 9.3.1: what a GET's content means only the origin knows.
func TestContentIsPassed(t *testing.T) {
	for _, length := range []int64{5, -1} {
		r := request()
		r.ContentLength = length
		v := Evaluate(r, []*Stored{stored("Cache-Control: max-age=60")}, made)
		same(t, "action", v.Action, Pass)
		same(t, "reason", v.Reason, ByContent)
	}
}

func TestServeOnFailure(t *testing.T) {
	for _, tt := range []struct {
		name    string
		sent    []string
		lines   []string
		now     float64
		failure Failure
		want    bool
	}{
		{"4.2.4: no answer, stale", nil, []string{"Cache-Control: max-age=60"}, 61, NoAnswer, true},
		{"4.2.4: no answer, stale for years", nil, []string{"Cache-Control: max-age=60"}, 1e9, NoAnswer, true},
		{"4.2.4: no answer, no lifetime at all", nil, []string{}, 1, NoAnswer, true},
		{"4.3.3: 500", nil, []string{"Cache-Control: max-age=60"}, 61, 500, true},
		{"4.3.3: 502", nil, []string{"Cache-Control: max-age=60"}, 61, 502, true},
		{"4.3.3: 503", nil, []string{"Cache-Control: max-age=60"}, 61, 503, true},
		{"4.3.3: 504", nil, []string{"Cache-Control: max-age=60"}, 61, 504, true},
		{"RFC 5861 4: 501 is no such error", nil, []string{"Cache-Control: max-age=60"}, 61, 501, false},
		{"RFC 5861 4: 505 is no such error", nil, []string{"Cache-Control: max-age=60"}, 61, 505, false},
		{"RFC 5861 4: 404 is an answer", nil, []string{"Cache-Control: max-age=60, stale-if-error=99"}, 61, 404, false},
		{"RFC 5861 4: 429 is an answer", nil, []string{"Cache-Control: max-age=60, stale-if-error=99"}, 61, 429, false},
		{"RFC 5861 4: 200 is an answer", nil, []string{"Cache-Control: max-age=60"}, 61, 200, false},
		{"RFC 5861 4: within the window", nil, []string{"Cache-Control: max-age=60, stale-if-error=30"}, 90, 503, true},
		{"RFC 5861 4: behind the window", nil, []string{"Cache-Control: max-age=60, stale-if-error=30"}, 90.1, 503, false},
		{"RFC 5861 4: behind the window, no answer", nil, []string{"Cache-Control: max-age=60, stale-if-error=30"}, 90.1, NoAnswer, false},
		{"RFC 5861 4: window of zero", nil, []string{"Cache-Control: max-age=60, stale-if-error=0"}, 61, NoAnswer, false},
		{"RFC 5861 4: within the client's window", []string{"Cache-Control: stale-if-error=30"}, []string{"Cache-Control: max-age=60"}, 90, 503, true},
		{"RFC 5861 4: behind the client's window", []string{"Cache-Control: stale-if-error=30"}, []string{"Cache-Control: max-age=60"}, 91, 503, false},
		{"RFC 5861 4: the origin's window limits the client's", []string{"Cache-Control: stale-if-error=90"}, []string{"Cache-Control: max-age=60, stale-if-error=5"}, 66, 503, false},
		{"RFC 5861 4: the client's window limits the origin's", []string{"Cache-Control: stale-if-error=5"}, []string{"Cache-Control: max-age=60, stale-if-error=90"}, 66, 503, false},
		{"5.2.2.2: must-revalidate", nil, []string{"Cache-Control: max-age=60, must-revalidate"}, 61, NoAnswer, false},
		{"5.2.2.2: must-revalidate outdoes stale-if-error", nil, []string{"Cache-Control: max-age=60, must-revalidate, stale-if-error=60"}, 61, 503, false},
		{"5.2.2.8: proxy-revalidate", nil, []string{"Cache-Control: max-age=60, proxy-revalidate"}, 61, NoAnswer, false},
		{"5.2.2.10: s-maxage", nil, []string{"Cache-Control: s-maxage=60"}, 61, NoAnswer, false},
		{"5.2.2.4: no-cache", nil, []string{"Cache-Control: max-age=60, no-cache"}, 1, NoAnswer, false},
		{"5.2.2.4: no-cache with a field", nil, []string{`Cache-Control: max-age=60, no-cache="x"`}, 61, NoAnswer, true},
		{"5.2.2.2: must-revalidate, but fresh", []string{"Cache-Control: no-cache"}, []string{"Cache-Control: max-age=60, must-revalidate"}, 59, NoAnswer, true},
		{"5.2.1: the client's no-cache is a wish", []string{"Cache-Control: no-cache"}, []string{"Cache-Control: max-age=60"}, 61, NoAnswer, true},
		{"5.2.1: the client's max-age is a wish", []string{"Cache-Control: max-age=0"}, []string{"Cache-Control: max-age=60"}, 61, NoAnswer, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			same(t, "serve", ServeOnFailure(request(tt.sent...), stored(tt.lines...), tt.failure, after(tt.now)), tt.want)
		})
	}
	t.Run("4.2.4: nothing stored", func(t *testing.T) {
		same(t, "serve", ServeOnFailure(request(), nil, NoAnswer, made), false)
	})
	t.Run("4.3.5: outdated, better than nothing", func(t *testing.T) {
		s := NewStored(stored("Cache-Control: max-age=60").Outdate())
		same(t, "serve", ServeOnFailure(request(), s, NoAnswer, made), true)
	})
	t.Run("4.3.5: outdated, but must-revalidate", func(t *testing.T) {
		s := NewStored(stored("Cache-Control: max-age=60, must-revalidate").Outdate())
		same(t, "serve", ServeOnFailure(request(), s, NoAnswer, made), false)
	})
}

// TestFreshHitAllocatesNothing guards the path that most requests take.
func TestFreshHitAllocatesNothing(t *testing.T) {
	for _, tt := range hotPaths() {
		t.Run(tt.name, func(t *testing.T) {
			if n := testing.AllocsPerRun(100, func() { Evaluate(tt.request, tt.variants, after(1)) }); n != 0 {
				t.Errorf("%v allocations", n)
			}
		})
	}
}

func BenchmarkEvaluate(b *testing.B) {
	for _, tt := range hotPaths() {
		b.Run(tt.name, func(b *testing.B) {
			now := after(1)
			b.ReportAllocs()
			for b.Loop() {
				if v := Evaluate(tt.request, tt.variants, now); v.Action != Serve {
					b.Fatal(v.Reason)
				}
			}
		})
	}
}

type hotPath struct {
	name     string
	request  *http.Request
	variants []*Stored
}

func hotPaths() []hotPath {
	accept := "Accept-Encoding: gzip, deflate, br, zstd"
	one := []*Stored{stored("Cache-Control: max-age=3600", `ETag: "a"`)}
	var many []*Stored
	for _, coding := range []string{"br", "gzip", "gzip, deflate, br, zstd"} {
		many = append(many, storedFor(fields("Accept-Encoding: "+coding), "Cache-Control: max-age=3600", "Vary: Accept-Encoding"))
	}
	return []hotPath{
		{"plain", request("User-Agent: Debian APT-HTTP/1.3 (2.9)", "Accept: text/*"), one},
		{"vary", request(accept), many},
		{"directives", request("Cache-Control: max-age=3000, min-fresh=5"), one},
	}
}

// BenchmarkNewStored is what a response costs once, when it is stored or read back.
func BenchmarkNewStored(b *testing.B) {
	m := stored("Cache-Control: public, max-age=3600, stale-if-error=60", `ETag: "a"`, "Last-Modified: DATE-3600", "Vary: Accept-Encoding").Meta
	b.ReportAllocs()
	for b.Loop() {
		if NewStored(m).Lifetime != time.Hour {
			b.Fatal("lifetime")
		}
	}
}

// BenchmarkHostileControl holds the cost of a long field to its length.
func BenchmarkHostileControl(b *testing.B) {
	h := http.Header{"Cache-Control": {strings.Repeat(`"\",private="x`, 4000)}}
	b.SetBytes(int64(len(h["Cache-Control"][0])))
	for b.Loop() {
		ParseResponseControl(h)
	}
}
