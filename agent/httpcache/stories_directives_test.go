package httpcache

import "testing"

// TestRequestCacheControl is RFC 9111 sections 5.2.1 and 5.4.
func TestRequestCacheControl(t *testing.T) {
	const tag = `|Etag: "v1"`
	asked := func(rule, origin, ask string) story {
		return story{rule, []turn{{"GET", "200|" + origin + tag, "200|#0"}, {"GET|" + ask, `304|?If-None-Match: "v1"`, "200|#0|Cache-Status~fwd="}}}
	}
	served := func(rule, origin, ask string) story {
		return story{rule, []turn{{"GET", "200|" + origin + tag, "200|#0"}, {"GET|" + ask, "", "200|#0|Cache-Status~hit"}}}
	}
	const aged, staled = "Cache-Control: max-age=600|Age: 100", "Cache-Control: max-age=60|Age: 100"
	tell(t, []story{
		asked("5.2.1.4: no-cache", aged, "Cache-Control: no-cache"),
		asked("5.2.1.4: no-cache on another line", aged, "Cache-Control: x|Cache-Control: No-Cache"),
		asked("5.4: Pragma", aged, "Pragma: no-cache"),
		served("5.4: Pragma counts only without Cache-Control", aged, "Pragma: no-cache|Cache-Control: max-age=500"),
		served("5.4: another Pragma", aged, "Pragma: x"),
		asked("5.2.1.1: max-age", aged, "Cache-Control: max-age=50"),
		served("5.2.1.1: max-age that is not reached", aged, "Cache-Control: max-age=500"),
		asked("5.2.1.1: max-age of 0", "Cache-Control: max-age=600|Age: 1", "Cache-Control: max-age=0"),
		asked("5.2.1.1: max-age does not prolong", staled, "Cache-Control: max-age=500"),
		asked("5.2.1.1: malformed max-age", aged, "Cache-Control: max-age=x"),
		served("5.2.1.1: max-age beyond 2^63", aged, "Cache-Control: max-age=99999999999999999999"),
		served("5.2.1.2: max-stale", staled, "Cache-Control: max-stale"),
		served("5.2.1.2: max-stale with a value", staled, "Cache-Control: max-stale=100"),
		asked("5.2.1.2: max-stale with too small a value", staled, "Cache-Control: max-stale=10"),
		asked("5.2.1.2: max-stale with a value that is none", staled, "Cache-Control: max-stale=x"),
		asked("5.2.1.2: max-stale does not outdo must-revalidate", staled+"|Cache-Control: must-revalidate", "Cache-Control: max-stale"),
		asked("5.2.1.2: nor s-maxage", "Cache-Control: s-maxage=60|Age: 100", "Cache-Control: max-stale"),
		served("5.2.1.3: min-fresh", aged, "Cache-Control: min-fresh=400"),
		asked("5.2.1.3: min-fresh beyond the lifetime", aged, "Cache-Control: min-fresh=501"),
		served("5.2.1.5: no-store may be answered from store", aged, "Cache-Control: no-store"),
		served("5.2.1.6: no-transform", aged, "Cache-Control: no-transform"),
		served("5.2.1.7: only-if-cached", aged, "Cache-Control: only-if-cached"),
		{"5.2.1.7: only-if-cached, stale", []turn{{"GET", "200|" + staled + tag, "200"}, {"GET|Cache-Control: only-if-cached", "", "504"}}},
		{"5.2.1.7: only-if-cached, nothing", []turn{{"GET|Cache-Control: only-if-cached", "", "504|Cache-Control: no-store"}}},
		{"5.2.1.7: only-if-cached, HEAD", []turn{{"HEAD|Cache-Control: only-if-cached", "", "504"}}},
		{"5.2.1.7: only-if-cached, another variant", []turn{
			{"GET|Accept: a", "200|Vary: Accept|" + aged, "200"}, {"GET|Accept: b|Cache-Control: only-if-cached", "", "504"},
		}},
		{"5.2.1: what the cache is told the origin is told too", []turn{
			{"GET|Cache-Control: no-cache, x=y|Pragma: no-cache", "200|?Cache-Control: no-cache, x=y|?Pragma: no-cache", "200"},
		}},
	})
}

// TestResponseCacheControl is RFC 9111 section 5.2.2.
func TestResponseCacheControl(t *testing.T) {
	const tag, asked = `|Etag: "v1"`, `304|?If-None-Match: "v1"`
	tell(t, []story{
		{"5.2.2.4: no-cache is kept, and validated each time", []turn{
			{"GET", "200|Cache-Control: no-cache, max-age=60" + tag, "200|#0"}, {"GET", asked, "200|#0"}, {"GET", asked, "200|#0"},
		}},
		{"5.2.2.4: no-cache without a validator is fetched each time", []turn{
			{"GET", "200|Cache-Control: no-cache, max-age=60", "200|#0"}, {"GET", "200|Cache-Control: no-cache", "200|#1"},
		}},
		{"5.2.2.4: no-cache is not outdone by max-stale", []turn{
			{"GET", "200|Cache-Control: no-cache, max-age=60" + tag, "200|#0"}, {"GET|Cache-Control: max-stale", asked, "200|#0"},
		}},
		{"5.2.2.4: no-cache of an argument that is none is for all", []turn{
			{"GET", `200|Cache-Control: max-age=60, no-cache="` + tag, "200|#0"}, {"GET", asked, "200|#0"},
		}},
		{"5.2.2.2: must-revalidate while fresh", []turn{
			{"GET", "200|Cache-Control: must-revalidate, max-age=60" + tag, "200|#0"}, {"GET", "", "200|#0"},
		}},
		{"5.2.2.2: must-revalidate when stale", []turn{
			{"GET", "200|Cache-Control: must-revalidate, max-age=0" + tag, "200|#0"}, {"GET", asked, "200|#0"},
		}},
		{"5.2.2.2: must-revalidate and no answer is 504", []turn{
			{"GET", "200|Cache-Control: must-revalidate, max-age=0" + tag, "200|#0"}, {"GET", "-", "504|Cache-Status~fwd=stale"},
		}},
		{"5.2.2.8: proxy-revalidate and no answer is 504", []turn{
			{"GET", "200|Cache-Control: proxy-revalidate, max-age=0" + tag, "200|#0"}, {"GET", "-", "504"},
		}},
		{"5.2.2.2: must-revalidate and an error is that error", []turn{
			{"GET", "200|Cache-Control: must-revalidate, max-age=0" + tag, "200|#0"}, {"GET", "503|Retry-After: 5", "503|#1|Retry-After: 5"},
		}},
		{"5.2.2.6: no-transform passes", []turn{
			{"GET", "200|Cache-Control: no-transform, max-age=60", "200|Cache-Control: no-transform, max-age=60"}, {"GET", "", "200|Cache-Control: no-transform, max-age=60"},
		}},
		{"5.2.3: unknown directives pass, and count for nothing", []turn{
			{"GET", `200|Cache-Control: max-age=60, community="UCI, no-store"`, `200|Cache-Control: max-age=60, community="UCI, no-store"`}, {"GET", "", "200|#0"},
		}},
		{"5.4: a response's Pragma counts for nothing", []turn{
			{"GET", "200|Pragma: no-cache|Cache-Control: max-age=60", "200|#0|Pragma: no-cache"}, {"GET", "", "200|#0"},
		}},
		{"5.5: Warning is as any field", []turn{
			{"GET", `200|Warning: 199 - "x"|Cache-Control: max-age=60`, `200|Warning: 199 - "x"`}, {"GET", "", `200|Warning: 199 - "x"`},
		}},
		{"RFC 8246 2: immutable is not asked about by max-age", []turn{
			{"GET", "200|Cache-Control: max-age=60, immutable|Age: 5" + tag, "200"}, {"GET|Cache-Control: max-age=0", "", "200|#0"},
		}},
		{"RFC 8246 2: but once it is stale", []turn{
			{"GET", "200|Cache-Control: max-age=60, immutable|Age: 65" + tag, "200"}, {"GET|Cache-Control: max-age=0", asked, "200|#0"},
		}},
		{"RFC 8246 2: and by no-cache", []turn{
			{"GET", "200|Cache-Control: max-age=60, immutable" + tag, "200"}, {"GET|Cache-Control: no-cache", asked, "200|#0"},
		}},
	})
}

// TestStaleContent is RFC 5861, and RFC 9111 section 4.2.4.
func TestStaleContent(t *testing.T) {
	const tag = `|Etag: "v1"`
	const staled = "200|Cache-Control: max-age=60|Age: 100" + tag
	tell(t, []story{
		{"RFC 5861 3: stale-while-revalidate serves, and asks once", []turn{
			{"GET", "200|Cache-Control: max-age=60, stale-while-revalidate=100|Age: 100" + tag, "200|#0"},
			{"GET", `200|?If-None-Match: "v1"|Cache-Control: max-age=60`, "200|#0|Cache-Status~hit"},
			{"GET", "", "200|#1"},
		}},
		{"RFC 5861 3: what is confirmed meanwhile is fresh", []turn{
			{"GET", "200|Cache-Control: max-age=60, stale-while-revalidate=100|Age: 100" + tag, "200|#0"},
			{"GET", `304|?If-None-Match: "v1"`, "200|#0|Age: 100"},
			{"GET", "", "200|#0|Age: 0"},
		}},
		{"RFC 5861 3: an error meanwhile changes nothing", []turn{
			{"GET", "200|Cache-Control: max-age=60, stale-while-revalidate=100|Age: 100" + tag, "200|#0"},
			{"GET", "500", "200|#0"},
			{"GET", "500", "200|#0"},
		}},
		{"RFC 5861 3: behind the window it is asked first", []turn{
			{"GET", "200|Cache-Control: max-age=60, stale-while-revalidate=10|Age: 100" + tag, "200|#0"}, {"GET", "200", "200|#1"},
		}},
		{"RFC 5861 3: by HEAD too", []turn{
			{"GET", "200|Cache-Control: max-age=60, stale-while-revalidate=100|Age: 100" + tag, "200|#0"},
			{"HEAD", "200|Cache-Control: max-age=60", "200|Cache-Status~hit"},
			{"GET", "", "200|#1"},
		}},
		{"4.2.4: 500", []turn{{"GET", staled, "200"}, {"GET", "500", "200|#0|Age: 100|Cache-Status~fwd-status=500"}}},
		{"4.2.4: 502", []turn{{"GET", staled, "200"}, {"GET", "502", "200|#0|Age: 100"}}},
		{"4.2.4: 503", []turn{{"GET", staled, "200"}, {"GET", "503", "200|#0|Age: 100"}}},
		{"4.2.4: 504", []turn{{"GET", staled, "200"}, {"GET", "504", "200|#0|Age: 100"}}},
		{"4.2.4: no answer", []turn{{"GET", staled, "200"}, {"GET", "-", "200|#0|Age: 100"}}},
		{"4.2.4: to HEAD", []turn{{"GET", staled, "200"}, {"HEAD", "503", "200|Age: 100"}}},
		{"4.2.4: a part", []turn{{"GET", staled, "200"}, {"GET|Range: bytes=0-3", "503", "206|<what"}}},
		{"4.2.4: to who has it", []turn{{"GET", staled, "200"}, {`GET|If-None-Match: "v1"`, "503", "304|Age: 100"}}},
		{"RFC 5861 4: 501 is an answer", []turn{{"GET", staled, "200"}, {"GET", "501", "501|#1"}}},
		{"RFC 5861 4: 404 is an answer", []turn{{"GET", staled, "200"}, {"GET", "404", "404|#1"}}},
		{"RFC 5861 4: within stale-if-error", []turn{
			{"GET", "200|Cache-Control: max-age=60, stale-if-error=100|Age: 100" + tag, "200"}, {"GET", "503", "200|#0"},
		}},
		{"RFC 5861 4: behind it", []turn{
			{"GET", "200|Cache-Control: max-age=60, stale-if-error=10|Age: 100" + tag, "200"}, {"GET", "503", "503|#1"},
		}},
		{"RFC 5861 4: behind it, no answer", []turn{
			{"GET", "200|Cache-Control: max-age=60, stale-if-error=10|Age: 100" + tag, "200"}, {"GET", "-", "504"},
		}},
		{"RFC 5861 4: of a request", []turn{{"GET", staled, "200"}, {"GET|Cache-Control: stale-if-error=10", "503", "503|#1"}}},
		{"4.2.4: a request that forbids to store gets it too", []turn{{"GET", staled, "200"}, {"GET|Cache-Control: no-store", "503", "200|#0|Age: 100"}}},
		{"4.2.4: though the last answer could not be stored", []turn{
			{"GET", staled, "200|#0"}, {"GET", "403", "403|#1"}, {"GET", "503", "200|#0|Age: 100"}, {"GET", "-", "200|#0|Age: 100"},
		}},
		{"4.3.3: an error is not stored in place of what is stale", []turn{
			{"GET", staled, "200|#0"}, {"GET", "503|Cache-Control: max-age=60", "200|#0"}, {"GET", `304|?If-None-Match: "v1"`, "200|#0"},
		}},
	})
}
