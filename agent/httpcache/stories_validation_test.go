package httpcache

import "testing"

// TestValidation is RFC 9111 section 4.3: what the cache asks the origin, and what it makes of the answer.
func TestValidation(t *testing.T) {
	const stale, tag, dated = "|Cache-Control: max-age=60|Age: 100", `|Etag: "v1"`, "|Last-Modified: Sun, 01 Mar 2020 12:00:00 GMT"
	tell(t, []story{
		{"4.3.1: by the tag", []turn{{"GET", "200" + stale + tag, "200"}, {"GET", `304|?If-None-Match: "v1"|?!If-Modified-Since`, "200|#0"}}},
		{"4.3.1: by the date", []turn{{"GET", "200" + stale + dated, "200"}, {"GET", "304|?If-Modified-Since: Sun, 01 Mar 2020 12:00:00 GMT|?!If-None-Match", "200|#0"}}},
		{"4.3.1: by both", []turn{{"GET", "200" + stale + tag + dated, "200"}, {"GET", `304|?If-None-Match: "v1"|?If-Modified-Since: Sun, 01 Mar 2020 12:00:00 GMT`, "200|#0"}}},
		{"4.3.1: by a weak tag", []turn{{"GET", `200|Etag: W/"v1"` + stale, "200"}, {"GET", `304|?If-None-Match: W/"v1"`, "200|#0"}}},
		{"4.3.1: not by a tag that is none", []turn{{"GET", "200|Etag: v1" + stale, "200"}, {"GET", "200|?!If-None-Match", "200|#1"}}},
		{"4.3.1: not by nothing", []turn{{"GET", "200" + stale, "200"}, {"GET", "200|?!If-None-Match|?!If-Modified-Since", "200|#1"}}},
		{"4.3.1: the client's own validator is not the cache's", []turn{
			{"GET", "200" + stale + tag, "200"}, {`GET|If-None-Match: "v0"`, `304|?If-None-Match: "v1"`, `200|#0|Etag: "v1"`},
		}},
		{"4.3.2: what the client has may be what is new", []turn{
			{"GET", "200" + stale + tag, "200"}, {`GET|If-None-Match: "v2"`, `200|?If-None-Match: "v1"|Etag: "v2"|Cache-Control: max-age=60`, `304|Etag: "v2"`}, {"GET", "", "200|#1"},
		}},
		{"4.3.2: or what was confirmed", []turn{
			{"GET", "200" + stale + tag, "200"}, {`GET|If-None-Match: "v1"`, `304|?If-None-Match: "v1"`, `304|Etag: "v1"`},
		}},
		{"4.3.1: nothing is stored: what is asked for is the whole, once", []turn{
			{`GET|If-None-Match: "v1"`, `200|?!If-None-Match|Cache-Control: max-age=60` + tag, "304"}, {"GET", "", "200|#0"},
		}},
		{"4.3.3: 200 takes the place of what is stored", []turn{
			{"GET", "200" + stale + tag, "200|#0"}, {"GET", `200|Etag: "v2"|Cache-Control: max-age=60`, "200|#1"}, {"GET", "", "200|#1"},
		}},
		{"4.3.3: so does 404", []turn{
			{"GET", "200" + stale + tag, "200|#0"}, {"GET", "404|Cache-Control: max-age=60", "404|#1"}, {"GET", "", "404|#1"},
		}},
		{"4.3.4: a 304 about another version is asked again without conditions", []turn{
			{"GET", "200" + stale + tag, "200|#0"}, {"GET", `304|Etag: "v9"&&200|?!If-None-Match|Cache-Control: max-age=60`, "200|#1"},
		}},
		{"4.3.4: a 304 without a tag is about what was asked for", []turn{
			{"GET", "200" + stale + tag, "200|#0"}, {"GET", "304|!Etag|Cache-Control: max-age=60", "200|#0"}, {"GET", "", "200|#0"},
		}},
		{"4.3.4: a 304 to nobody's condition is no answer to a client", []turn{
			{"GET", "304", "304"}, {"GET", "200|Cache-Control: max-age=60", "200|#1"},
		}},
		{"3.2: a 304 updates fields", []turn{
			{"GET", "200|X-A: 1|X-B: 1|Cache-Control: max-age=60|Age: 100|Expires: NOW-10" + tag, "200"},
			{"GET", "304|X-A: 2|X-C: 3|Cache-Control: max-age=600|Set-Cookie: a=b", "200|#0|X-A: 2|X-B: 1|X-C: 3|Cache-Control: max-age=600|Set-Cookie: a=b"},
			{"GET", "", "200|#0|X-A: 2|X-B: 1|X-C: 3|!Set-Cookie"},
		}},
		{"3.2: but for those that describe the bytes", []turn{
			{"GET", "200|Content-Type: a/b|Content-Encoding: x|Content-Language: de" + stale + tag, "200|#0"},
			{"GET", "304|Content-Type: c/d|Content-Encoding: y|Content-Length: 0|Content-Range: bytes 0-1/2|Cache-Control: max-age=60", "200|#0|Content-Type: a/b|Content-Encoding: x|!Content-Range"},
			{"GET", "", "200|#0|Content-Type: a/b|Content-Encoding: x|!Content-Range|Content-Length: 29"},
		}},
		{"3.2: nor hop-by-hop fields", []turn{
			{"GET", "200" + stale + tag, "200|#0"}, {"GET", "304|Connection: X-Hop|X-Hop: 1|Cache-Control: max-age=60", "200|#0|!X-Hop"}, {"GET", "", "200|!X-Hop"},
		}},
		{"4.3.4: a 304 that forbids to store is good for this once", []turn{
			{"GET", "200" + stale + tag, "200|#0"}, {"GET", "304|Cache-Control: no-store", "200|#0"}, {"GET", `304|?If-None-Match: "v1"`, "200|#0"},
		}},

		{"4.3.5: HEAD freshens a stored GET", []turn{
			{"GET", "200" + stale + tag, "200|#0"}, {"HEAD", "200|X-A: 1|Cache-Control: max-age=60|Content-Length: 29" + tag, "200"}, {"GET", "", "200|#0|X-A: 1"},
		}},
		{"4.3.5: HEAD of another tag outdates it", []turn{
			{"GET", "200|Cache-Control: max-age=60" + tag, "200|#0"},
			{"HEAD|Cache-Control: no-cache", `200|Etag: "v2"|Cache-Control: max-age=60`, "200"},
			{"GET", `200|?If-None-Match: "v1"|Etag: "v2"`, "200|#2"},
		}},
		{"4.3.5: HEAD of another length outdates it", []turn{
			{"GET", "200|Cache-Control: max-age=60", "200|#0"}, {"HEAD|Cache-Control: no-cache", "200|Content-Length: 999|Cache-Control: max-age=60", "200"}, {"GET", "200", "200|#2"},
		}},
		{"4.3.5: HEAD of another date outdates it", []turn{
			{"GET", "200|Cache-Control: max-age=60" + dated, "200|#0"}, {"HEAD|Cache-Control: no-cache", "200|Last-Modified: NOW-100|Content-Length: 29", "200"}, {"GET", "200", "200|#2"},
		}},
		{"4.3.5: HEAD that fails says nothing", []turn{
			{"GET", "200|Cache-Control: max-age=60" + tag, "200|#0"}, {"HEAD|Cache-Control: no-cache", "404", "404"}, {"GET", "", "200|#0"},
		}},
		{"9.3.2 of 9110: what HEAD has brought answers HEAD alone", []turn{
			{"HEAD", "200|Cache-Control: max-age=60|Content-Length: 29", "200|Content-Length: 29|<"},
			{"HEAD", "", "200|Content-Length: 29|<"},
			{"GET", "200|Cache-Control: max-age=60", "200|#2"},
			{"HEAD", "", "200"},
		}},
		{"9.3.2 of 9110: what GET has brought answers HEAD", []turn{
			{"GET", "200|Cache-Control: max-age=60|X: y", "200|#0"}, {"HEAD", "", "200|Content-Length: 29|X: y|<"},
		}},
	})
}

// TestConditions is RFC 9110 section 13: what the cache answers to clients' conditions from what it has stored.
func TestConditions(t *testing.T) {
	const both = `200|Cache-Control: max-age=60|Etag: "v1"|Last-Modified: Sun, 01 Mar 2020 12:00:00 GMT`
	const date, before, after = "Sun, 01 Mar 2020 12:00:00 GMT", "Sun, 01 Mar 2020 11:59:59 GMT", "Sun, 01 Mar 2020 12:00:01 GMT"
	const weak, bare = `200|Cache-Control: max-age=60|Etag: W/"v1"`, "200|Cache-Control: max-age=60"
	answered := func(rule, origin, ask, want string) story {
		return story{rule, []turn{{"GET", origin, "200|#0"}, {"GET|" + ask, "", want}}}
	}
	const whole, unmodified = "200|#0", "304|<"
	tell(t, []story{
		answered("13.1.2: the same tag", both, `If-None-Match: "v1"`, unmodified+`|Etag: "v1"|!Content-Length|!Content-Type|!Last-Modified`),
		answered("13.1.2: another tag", both, `If-None-Match: "v2"`, whole),
		answered("13.1.2: one of a list", both, `If-None-Match: "v0" , "v1","v2"`, unmodified),
		answered("13.1.2: one of several lines", both, `If-None-Match: "v0"|If-None-Match: "v1"`, unmodified),
		answered("13.1.2: weak comparison", both, `If-None-Match: W/"v1"`, unmodified),
		answered("13.1.2: weak comparison, the other way", weak, `If-None-Match: "v1"`, unmodified),
		answered("13.1.2: *", both, "If-None-Match: *", unmodified),
		answered("13.1.2: * without a tag", bare, "If-None-Match: *", unmodified),
		answered("13.1.2: a tag without quotes is none", both, "If-None-Match: v1", whole),
		answered("13.1.3: the same date", both, "If-Modified-Since: "+date, unmodified),
		answered("13.1.3: a later date", both, "If-Modified-Since: "+after, unmodified),
		answered("13.1.3: an earlier date", both, "If-Modified-Since: "+before, whole),
		answered("13.1.3: no date", both, "If-Modified-Since: x", whole),
		answered("13.1.3: If-None-Match comes before it", both, `If-None-Match: "v0"|If-Modified-Since: `+date, whole),
		answered("13.1.3: If-None-Match comes before it, the other way", both, `If-None-Match: "v1"|If-Modified-Since: `+before, unmodified),
		answered("4.3.2 of 9111: by Date where there is no Last-Modified", bare, "If-Modified-Since: NOW+5", unmodified),
		answered("13.1.1: If-Match of what is stored", both, `If-Match: "v1"`, whole),
		answered("13.1.1: If-Match of anything", both, "If-Match: *", whole),
		answered("13.1.4: If-Unmodified-Since of what is stored", both, "If-Unmodified-Since: "+date, whole),
		{"4.3.2 of 9111: If-Match of another version is the origin's to answer", []turn{
			{"GET", both, whole}, {`GET|If-Match: "v2"`, `412|?If-Match: "v2"`, "412|#1"}, {"GET", "", whole},
		}},
		{"4.3.2 of 9111: it may have that version", []turn{
			{"GET", both, whole}, {`GET|If-Match: "v2"`, `200|?If-Match: "v2"|Etag: "v2"`, `200|#1|Etag: "v2"`},
		}},
		{"4.3.2 of 9111: also if nothing was stored", []turn{
			{`GET|If-Match: "v2"`, both + `&&412|?If-Match: "v2"`, "412"}, {"GET", "", whole},
		}},
		{"4.3.2 of 9111: If-Match is compared strongly", []turn{
			{"GET", weak, whole}, {`GET|If-Match: W/"v1"`, `412|?If-Match: W/"v1"`, "412"},
		}},
		{"4.3.2 of 9111: If-Unmodified-Since likewise", []turn{
			{"GET", both, whole}, {"GET|If-Unmodified-Since: " + before, "412|?If-Unmodified-Since: " + before, "412"},
		}},
		{"4.3.2 of 9111: the origin's failure is no reason to give another version", []turn{
			{"GET", both, whole}, {`GET|If-Match: "v2"`, "503", "503"},
		}},
		{"13.2.1: conditions of other methods are the origin's", []turn{
			{"GET", both, whole}, {`PUT|If-Match: "v1"|>x`, `412|?If-Match: "v1"`, "412"}, {"PUT|If-None-Match: *|>x", "412|?If-None-Match: *", "412"}, {"GET", "", whole},
		}},
		{"13.2.1: no condition holds a 404 back", []turn{
			{"GET", `404|Cache-Control: max-age=60|Etag: "v1"`, "404|#0"}, {`GET|If-None-Match: "v1"`, "", "404|#0"},
		}},
		{"13.1.2: HEAD", []turn{{"GET", both, whole}, {`HEAD|If-None-Match: "v1"`, "", unmodified}}},
		{"13: a condition on what is not stored passes", []turn{
			{"GET", `200|Cache-Control: no-store|Etag: "v1"`, whole}, {`GET|If-None-Match: "v1"`, `304|?If-None-Match: "v1"|Etag: "v1"`, unmodified},
		}},
		{"15.4.5: 304 has what 200 would say of caching", []turn{
			{"GET", both + "|Vary: Accept|Content-Location: /x|Expires: NOW+60|X-A: 1", whole},
			{`GET|If-None-Match: "v1"`, "", `304|Cache-Control: max-age=60|Vary: Accept|Date~GMT|Expires~GMT|Etag: "v1"|Age: 0`},
		}},
	})
}
