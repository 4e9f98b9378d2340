package httpcache

import (
	"fmt"
	"testing"
)

// TestInvalidation is RFC 9111 section 4.4.
func TestInvalidation(t *testing.T) {
	const fresh = "200|Cache-Control: max-age=60"
	gone := func(rule, ask, origin, want string) story {
		return story{rule, []turn{{"GET", fresh, "200|#0"}, {ask, origin, want}, {"GET", fresh, "200|#2"}, {"GET", "", "200|#2"}}}
	}
	stays := func(rule, ask, origin, want string) story {
		return story{rule, []turn{{"GET", fresh, "200|#0"}, {ask, origin, want}, {"GET", "", "200|#0"}}}
	}
	// other has another resource than the target be stored, and be gone or not.
	other := func(rule, path, origin string, goes bool) story {
		last := turn{"GET " + path, "", "200|#0"}
		if goes {
			last = turn{"GET " + path, fresh, "200|#2"}
		}
		return story{rule, []turn{{"GET " + path, fresh, "200|#0"}, {"POST /target|>x", origin, origin[:3]}, last}}
	}
	stories := []story{
		stays("4.4: POST that failed", "POST|>x", "400", "400"),
		stays("4.4: POST that the origin failed at", "POST|>x", "500", "500"),
		stays("4.4: POST that was not answered", "POST|>x", "-", "502"),
		stays("4.4: GET, though it was passed", "GET|Cache-Control: no-cache, no-store", "404|Cache-Control: no-store", "404"),
		stays("4.4: OPTIONS", "OPTIONS", "200", "200"),
		stays("4.4: PROPFIND", "PROPFIND|>x", "207", "207"),
		gone("4.4: POST that redirects", "POST|>x", "303|Location: /elsewhere", "303"),
		gone("4.4: with no content in either direction", "DELETE", "204", "204"),
		{"4.4: all variants go", []turn{
			{"GET|Accept: a", fresh + "|Vary: Accept", "200|#0"},
			{"GET|Accept: b", fresh + "|Vary: Accept", "200|#1"},
			{"HEAD|Accept: c", fresh + "|Vary: Accept", "200"},
			{"PUT|>x", "204", "204"},
			{"GET|Accept: a", fresh + "|Vary: Accept", "200|#4"},
			{"GET|Accept: b", fresh + "|Vary: Accept", "200|#5"},
			{"HEAD|Accept: c", fresh + "|Vary: Accept", "200"},
		}},
		{"4.4: the query is part of the target", []turn{{"GET ?a", fresh, "200|#0"}, {"POST ?b", "204", "204"}, {"GET ?a", "", "200|#0"}}},
	}
	for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "MKCOL", "BREW"} {
		stories = append(stories, gone("4.4: "+method, method+"|>x", "200", "200|#1"))
	}
	tell(t, stories)

	// References to other resources are named by the number that their story has.
	var named []story
	name := func(rule, field, reference string, goes bool) {
		at := fmt.Sprintf(reference, len(named))
		named = append(named, other(rule, "/x?y", "201|"+field+": "+at, goes))
	}
	name("4.4: Location", "Location", "/%d/x?y", true)
	name("4.4: Location that is relative", "Location", "x?y#%d", true)
	name("4.4: Content-Location", "Content-Location", "/%d/x?y", true)
	name("4.4: another resource", "Location", "/%d/x?z", false)
	name("4.4: another host's", "Location", "http://other.example/%d/x?y", false)
	name("4.4: another scheme's", "Content-Location", "https://127.0.0.1/%d/x?y", false)
	name("4.4: what is no reference", "Location", "%%zz%d", false)
	named = append(named, story{"4.4: not if that failed", []turn{
		{"GET /x", fresh, "200|#0"}, {"POST /y", fmt.Sprintf("409|Location: /%d/x", len(named)), "409"}, {"GET /x", "", "200|#0"},
	}})
	tell(t, named)
}
