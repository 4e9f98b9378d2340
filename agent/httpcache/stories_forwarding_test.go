package httpcache

import "testing"

// TestForwarding is RFC 9110 sections 7.6, 9.3, 10 and 15: what passes, and what is done to it.
func TestForwarding(t *testing.T) {
	const fresh = "|Cache-Control: max-age=60"
	tell(t, []story{
		{"7.6.1: a client's hop-by-hop fields end here", []turn{
			{"GET|Connection: X-Hop, close|X-Hop: 1|Keep-Alive: 5|Proxy-Connection: x|Te: trailers|X-End: 1", "200|?!X-Hop|?!Keep-Alive|?!Proxy-Connection|?X-End: 1" + fresh, "200|#0"},
			{"POST|Connection: X-Hop|X-Hop: 1|Keep-Alive: 5|Proxy-Connection: x|X-End: 1|>x", "200|?!X-Hop|?!Keep-Alive|?!Proxy-Connection|?X-End: 1|?>x", "200|#1"},
		}},
		{"7.6.1: an origin's, too", []turn{
			{"POST", "200|Connection: X-Hop|X-Hop: 1|Keep-Alive: timeout=5|Proxy-Authenticate: Basic", "200|!X-Hop|!Keep-Alive|!Proxy-Authenticate"},
		}},
		{"7.6.1: Connection strips nothing that access depends on", []turn{
			{"GET|Connection: Authorization|Authorization: Basic x", "200|?Authorization: Basic x" + fresh, "200|#0"}, {"GET", "200" + fresh, "200|#1"},
		}},
		{"11.7.1: credentials for a proxy go no further", []turn{{"GET|Proxy-Authorization: Basic x", "200|?!Proxy-Authorization", "200"}, {"POST|Proxy-Authorization: Basic x", "200|?!Proxy-Authorization", "200"}}},
		{"7.6.3: Via, on the way there and back", []turn{
			{"GET|Via: 1.0 fred", "200|?Via~1.0 fred, 1.1 pureboot-|Via: 1.1 far" + fresh, "200|Via~1.1 far, 1.1 pureboot-"},
			{"GET", "", "200|Via~1.1 far, 1.1 pureboot-"},
			{"POST|Via: 1.0 fred", "200|?Via~1.0 fred, 1.1 pureboot-|Via: 1.1 far", "200|Via~1.1 far, 1.1 pureboot-"},
		}},
		{"7.6.2: Max-Forwards is counted down", []turn{{"OPTIONS|Max-Forwards: 5", "200|?Max-Forwards: 4", "200"}, {"OPTIONS|Max-Forwards: 1", "200|?Max-Forwards: 0", "200"}}},
		{"7.6.2: at 0 the request ends here", []turn{{"OPTIONS|Max-Forwards: 0", "", "204|<"}}},
		{"7.6.2: with other methods it means nothing", []turn{{"POST|Max-Forwards: 0", "200|?Max-Forwards: 0", "200"}, {"GET|Max-Forwards: 0", "200|?Max-Forwards: 0", "200"}}},
		{"7.6.2: nor does what is no number", []turn{{"OPTIONS|Max-Forwards: x", "200|?Max-Forwards: x", "200"}}},
		{"9.3.8: TRACE is refused, since it would show what others must not see", []turn{{"TRACE", "", "501"}}},
		{"9.1: any method passes, with its content", []turn{
			{"PROPFIND|>x", "207|?>x", "207|#0"}, {"BREW|>tea", "418|?>tea", "418|#1"}, {"DELETE|>x", "200|?>x", "200|#2"}, {"get", "200", "200|#3"},
		}},
		{"5.1: unknown fields pass, there and back", []turn{{"GET|X-Ask: 1|X-Ask: 2", "200|?X-Ask: 1, 2|X-Answer: 3|X-Answer: 4", "200|X-Answer: 3, 4"}}},
		{"10.1.1: a GET waits for no 100, and says so", []turn{{"GET|Expect: 100-continue", "200|?!Expect" + fresh, "200|#0"}, {"GET|Expect: 100-continue", "", "200|#0"}}},
		{"10.1.5: User-Agent is the client's or none", []turn{{"GET|User-Agent: iPXE", "200|?User-Agent: iPXE", "200"}}},
		{"8.3: nobody guesses a type that the origin has not told", []turn{
			{"GET", "200|!Content-Type|<<html>" + fresh, "200|!Content-Type|<<html>"},
			{"GET", "", "200|!Content-Type|<<html>"},
			{"GET|Range: bytes=0-2", "", "206|!Content-Type"},
			{"POST", "200|!Content-Type|<<html>", "200|!Content-Type|<<html>"},
		}},
		{"8.4: codings are left alone", []turn{
			{"GET|Accept-Encoding: zstd", "200|?Accept-Encoding: zstd|Content-Encoding: gzip|<not really" + fresh, "200|Content-Encoding: gzip|<not really"}, {"GET", "", "200|Content-Encoding: gzip|<not really"},
		}},
		{"7.8: an offer of HTTP/2 does not keep from the store", []turn{
			{"GET|Connection: Upgrade, HTTP2-Settings|Upgrade: h2c|Http2-Settings: AAAA", "200|?!Upgrade|?!Http2-Settings" + fresh, "200|#0"},
			{"GET|Connection: Upgrade, HTTP2-Settings|Upgrade: h2c|Http2-Settings: AAAA", "", "200|#0|Cache-Status~hit"},
			{"POST|Connection: Upgrade, HTTP2-Settings|Upgrade: h2c|Http2-Settings: AAAA|>x", "200|?!Upgrade|?!Http2-Settings|?>x", "200|#2"},
		}},
		{"7.8: nor does an Upgrade that Connection does not list", []turn{{"GET|Upgrade: websocket", "200|?!Upgrade" + fresh, "200|#0"}, {"GET|Upgrade: websocket", "", "200|#0"}}},
		{"7.8: an origin may go on in HTTP/1.1", []turn{{"GET|Connection: Upgrade|Upgrade: websocket", "200|?Upgrade: websocket|?Connection: Upgrade" + fresh, "200|#0|Cache-Status~fwd=bypass"}}},
		{"15.2.2: nobody switches who was not asked to", []turn{{"POST", "101|Connection: Upgrade|Upgrade: x", "502"}}},
		{"15.3.5: 204 has no content", []turn{{"GET", "204" + fresh, "204|<|!Content-Length"}, {"GET", "", "204|<|!Content-Length"}, {"POST", "204", "204|<"}}},
		{"15.3.6: 205 has none either", []turn{{"GET", "205|<" + fresh, "205|<"}, {"GET", "", "205|<"}}},
		{"9.3.2: HEAD tells the length, and has no content", []turn{{"HEAD", "200|Content-Length: 1000" + fresh, "200|Content-Length: 1000|<"}, {"HEAD", "", "200|Content-Length: 1000|<"}}},
		{"9.3.2: also if it passes", []turn{{"HEAD|Authorization: x", "200|Content-Length: 1000", "200|Content-Length: 1000|<"}}},
		{"15.6.3: no answer is 502", []turn{{"GET", "-", "502|Cache-Status~fwd=uri-miss"}, {"POST|>x", "-", "502|Cache-Status~fwd=method"}}},
		{"2.1 of RFC 9211: what caches before this one have said stays", []turn{
			{"GET", "200|Cache-Status: Far; hit" + fresh, "200|Cache-Status~Far; hit, PureBoot; fwd=uri-miss; fwd-status=200; ttl="},
			{"GET", "", "200|Cache-Status~Far; hit, PureBoot; hit; ttl="},
			{"POST", "200|Cache-Status: Far; fwd=method", "200|Cache-Status~Far; fwd=method, PureBoot; fwd=method; fwd-status=200"},
		}},
		{"10.2.2: a Location within the origin leads here", []turn{
			{"GET", "301|Location: /x/y?z#a" + fresh, "301|Location: /up/x/y?z#a"}, {"GET", "", "301|Location: /up/x/y?z#a"}, {"POST", "201|Location: /x", "201|Location: /up/x"},
		}},
		{"10.2.2: one that is relative, too", []turn{{"GET /a/b", "302|Location: ../c", "302|Location~/up/|Location~/c"}}},
		{"10.2.2: one to elsewhere stays", []turn{{"GET", "302|Location: https://other.example/x", "302|Location: https://other.example/x"}}},
		{"10.2.2: one to elsewhere without a scheme gets the origin's", []turn{{"GET", "302|Location: //other.example/x", "302|Location: http://other.example/x"}}},
		{"8.7: Content-Location likewise", []turn{{"GET", "200|Content-Location: /x.de" + fresh, "200|Content-Location: /up/x.de"}, {"GET", "", "200|Content-Location: /up/x.de"}}},
	})
}

// TestFollowedRedirects is RFC 9110 section 15.4, for an upstream that follows redirects.
func TestFollowedRedirects(t *testing.T) {
	const fresh = "|Cache-Control: max-age=60"
	follows := func(status string) story {
		return story{"15.4: " + status + " is followed, and what it leads to is kept", []turn{
			{"GET", status + "|Location: /x&&200" + fresh, "200|#0|!Location"}, {"GET", "", "200|#0"},
		}}
	}
	tell(t, []story{
		follows("301"), follows("302"), follows("303"), follows("307"), follows("308"),
		{"15.4: a POST is not followed", []turn{{"POST|>x", "307|Location: /x", "307|Location: /up/x"}}},
		{"15.4: 300 and 304 are not followed", []turn{{"GET", "300|Location: /x", "300"}}},
		{"15.4: nor is one that leads nowhere", []turn{{"GET", "302", "302"}, {"GET", "302|Location: ftp://x/y", "302|Location: ftp://x/y"}}},
		{"15.4: HEAD is followed", []turn{{"HEAD", "302|Location: /x&&200|Content-Length: 7" + fresh, "200|Content-Length: 7"}}},
		{"15.4: conditions and ranges go along", []turn{
			{"GET", `302|Location: /x&&200|Etag: "v1"|Cache-Control: max-age=0`, "200|#0"},
			{"GET", `302|?If-None-Match: "v1"|Location: /x&&304|?If-None-Match: "v1"`, "200|#0"},
		}},
		{"17 of 9110: credentials stay with their origin", []turn{
			{"GET|Authorization: Basic x|Cookie: a=b", "302|?Authorization: Basic x|Location: /x&&200|?Authorization: Basic x|?Cookie: a=b", "200|#0"},
			{"GET|Authorization: Basic x|Cookie: a=b", "302|Location: http://127.0.0.1:1/x", "502"},
		}},
		{"3 of RFC 9111: what a redirect leads to that is private is private", []turn{
			{"GET", "302|Location: /x|Cache-Control: private&&200" + fresh, "200|#0"}, {"GET", "302|Location: /y|Cache-Control: private&&200" + fresh, "200|#1"},
		}},
		{"3 of RFC 9111: likewise of no-store", []turn{
			{"GET", "302|Location: /x|Cache-Control: no-store&&200" + fresh, "200|#0"}, {"GET", "302|Location: /y|Cache-Control: no-store&&200" + fresh, "200|#1"},
		}},
		{"15.4: ten redirects are followed", []turn{{"GET", "302|Location: /1&&302|Location: /2&&302|Location: /3&&302|Location: /4&&302|Location: /5&&302|Location: /6&&302|Location: /7&&302|Location: /8&&302|Location: /9&&200", "200|#0"}}},
		{"4.2.4 of RFC 9111: without end they are a failure", []turn{
			{"GET", `200|Etag: "v1"|Cache-Control: max-age=0`, "200|#0"},
			{"GET", "302|Location: /1&&302|Location: /2&&302|Location: /3&&302|Location: /4&&302|Location: /5&&302|Location: /6&&302|Location: /7&&302|Location: /8&&302|Location: /9&&302|Location: /10", "200|#0"},
		}},
	}, func(o *Options) { o.FollowRedirects = true })
}
