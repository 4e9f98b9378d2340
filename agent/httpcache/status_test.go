package httpcache

import (
	"reflect"
	"testing"
	"time"
)

func TestCacheStatus(t *testing.T) {
	for _, tt := range []struct {
		name   string
		status CacheStatus
		want   string
	}{
		{"2: the name alone", CacheStatus{Cache: "pureboot"}, "pureboot"},
		{"2: a name that is no token", CacheStatus{Cache: `site "a"`}, `"site \"a\""`},
		{"2: a name that begins with a digit", CacheStatus{Cache: "1.example"}, `"1.example"`},
		{"2: a token with a colon and a slash", CacheStatus{Cache: "a:1/b"}, "a:1/b"},
		{"2: tokens at the ends of the alphabet", CacheStatus{Cache: "zZ"}, "zZ"},
		{"2: a token with an asterisk", CacheStatus{Cache: "*a"}, "*a"},
		{"2: no name", CacheStatus{}, `""`},
		{"2.1: hit", CacheStatus{Cache: "a", Hit: true, HasTTL: true, TTL: 376 * time.Second}, "a; hit; ttl=376"},
		{"2.1: a hit was not forwarded", CacheStatus{Cache: "a", Hit: true, Forward: ForwardStale, Status: 304}, "a; hit"},
		{"2.2: forwarded", CacheStatus{Cache: "a", Forward: ForwardURIMiss}, "a; fwd=uri-miss"},
		{"2.3: status of the origin", CacheStatus{Cache: "a", Forward: ForwardStale, Status: 304}, "a; fwd=stale; fwd-status=304"},
		{"2.3: no status without being forwarded", CacheStatus{Cache: "a", Status: 304}, "a"},
		{"2.4: just stale", CacheStatus{Cache: "a", Hit: true, HasTTL: true, TTL: -time.Millisecond}, "a; hit; ttl=-1"},
		{"2.4: at its end", CacheStatus{Cache: "a", Hit: true, HasTTL: true}, "a; hit; ttl=0"},
		{"2.4: long stale", CacheStatus{Cache: "a", Hit: true, HasTTL: true, TTL: -90500 * time.Millisecond}, "a; hit; ttl=-91"},
		{"2.5 and 2.6: stored and collapsed", CacheStatus{Cache: "a", Forward: ForwardMiss, Stored: true, Collapsed: true}, "a; fwd=miss; stored; collapsed"},
		{"2.5: a hit is not stored again", CacheStatus{Cache: "a", Hit: true, Stored: true}, "a; hit"},
		{"2.8: detail that is no string", CacheStatus{Cache: "a", Hit: true, Detail: "é\n\"\\"}, `a; hit; detail="%C3%A9%0A\"\\"`},
		{"2.8: detail with the ends of what is printable", CacheStatus{Cache: "a", Hit: true, Detail: " ~\x7f"}, `a; hit; detail=" ~%7F"`},
		{"2.8: detail", CacheStatus{Cache: "a", Forward: ForwardBypass, Detail: "request content"}, `a; fwd=bypass; detail="request content"`},
		{
			"2: everything",
			CacheStatus{Cache: "a", Forward: ForwardVaryMiss, Status: 200, Stored: true, Collapsed: true, HasTTL: true, TTL: time.Minute, Detail: "d"},
			`a; fwd=vary-miss; fwd-status=200; ttl=60; stored; collapsed; detail="d"`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			same(t, "member", tt.status.String(), tt.want)
		})
	}
	t.Run("2: behind what caches nearer to the origin said", func(t *testing.T) {
		h := fields("Cache-Status: origin; hit")
		CacheStatus{Cache: "a", Forward: ForwardMiss}.AddTo(h)
		if want := fields("Cache-Status: origin; hit", "Cache-Status: a; fwd=miss"); !reflect.DeepEqual(h, want) {
			t.Errorf("got %v, want %v", h, want)
		}
	})
}

func TestVerdictCacheStatus(t *testing.T) {
	const ttl = time.Minute
	for _, tt := range []struct {
		name    string
		verdict Verdict
		want    string
	}{
		{"2.1: fresh", Verdict{Action: Serve, Reason: Fresh, TTL: ttl}, "a; hit; ttl=60"},
		{"2.1: stale, and the client knows", Verdict{Action: Serve, Reason: RequestMaxStale, TTL: -ttl}, `a; hit; ttl=-60; detail="max-stale in request"`},
		{"2.1: stale while it is validated", Verdict{Action: ServeAndValidate, Reason: StaleWhileRevalidate, TTL: -ttl}, `a; hit; ttl=-60; detail="stale-while-revalidate"`},
		{"2.2: method", Verdict{Action: Pass, Reason: ByMethod}, "a; fwd=method"},
		{"2.2: bypass", Verdict{Action: Pass, Reason: ByContent}, `a; fwd=bypass; detail="request content"`},
		{"2.2: uri-miss", Verdict{Action: Fetch, Reason: URIMiss}, "a; fwd=uri-miss"},
		{"2.2: vary-miss", Verdict{Action: Fetch, Reason: VaryMiss}, "a; fwd=vary-miss"},
		{"2.2: partial", Verdict{Action: Fetch, Reason: HeadOnly}, `a; fwd=partial; detail="head only"`},
		{"2.2: stale", Verdict{Action: Validate, Reason: Stale, TTL: -ttl}, "a; fwd=stale"},
		{"2.2: stale without validator", Verdict{Action: Fetch, Reason: Stale, TTL: -ttl}, "a; fwd=stale"},
		{"2.2: request", Verdict{Action: Validate, Reason: RequestNoCache, TTL: ttl}, `a; fwd=request; detail="no-cache in request"`},
		{"2.2: request on what was stale anyway", Verdict{Action: Validate, Reason: RequestMaxAge, TTL: -ttl}, `a; fwd=stale; detail="max-age in request"`},
		{"2.2: request on what has just become stale", Verdict{Action: Validate, Reason: RequestMaxAge}, `a; fwd=stale; detail="max-age in request"`},
		{"2.2: no-cache in the response", Verdict{Action: Validate, Reason: ResponseNoCache, TTL: ttl}, `a; fwd=stale; detail="no-cache in response"`},
		{"2: neither", Verdict{Action: Unavailable, Reason: Stale, TTL: -ttl}, `a; detail="stale"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			same(t, "member", tt.verdict.CacheStatus("a").String(), tt.want)
		})
	}
}
