package httpcache

import "testing"

// TestPartsOfWhatIsStored is RFC 9110 section 14, and RFC 9530 section 2.
func TestPartsOfWhatIsStored(t *testing.T) {
	const origin = `200|Cache-Control: max-age=60|Etag: "v1"|Last-Modified: Sun, 01 Mar 2020 12:00:00 GMT|Content-Type: a/b|<0123456789`
	answered := func(rule, ask, want string) story {
		return story{rule, []turn{{"GET", origin, "200|<0123456789"}, {ask, "", want}}}
	}
	const whole = "200|<0123456789|!Content-Range|Content-Length: 10"
	tell(t, []story{
		answered("14.2: a part", "GET|Range: bytes=2-4", `206|<234|Content-Range: bytes 2-4/10|Content-Length: 3|Etag: "v1"|Content-Type: a/b|Cache-Control: max-age=60|Date~GMT|Age: 0`),
		answered("14.1.2: the first byte", "GET|Range: bytes=0-0", "206|<0|Content-Range: bytes 0-0/10"),
		answered("14.1.2: to the end", "GET|Range: bytes=8-", "206|<89|Content-Range: bytes 8-9/10"),
		answered("14.1.2: the last ones", "GET|Range: bytes=-3", "206|<789|Content-Range: bytes 7-9/10"),
		answered("14.1.2: more last ones than there are", "GET|Range: bytes=-30", "206|<0123456789|Content-Range: bytes 0-9/10"),
		answered("14.1.2: beyond the end", "GET|Range: bytes=5-99999999999999999999", "206|<56789|Content-Range: bytes 5-9/10"),
		answered("14.1.2: behind the end", "GET|Range: bytes=10-", "416|<|Content-Range: bytes */10|Content-Length: 0|!Etag"),
		answered("14.1.2: none of the last ones", "GET|Range: bytes=-0", "416|<|Content-Range: bytes */10"),
		answered("14.2: last before first", "GET|Range: bytes=4-2", whole),
		answered("14.2: another unit", "GET|Range: lines=2-4", whole),
		answered("14.2: no range at all", "GET|Range: bytes=x", whole),
		answered("14.2: two fields", "GET|Range: bytes=2-4|Range: bytes=2-4", whole),
		answered("14.2: HEAD has no parts", "HEAD|Range: bytes=2-4", "200|<|Content-Length: 10|!Content-Range"),
		answered("14.3: that there are parts", "GET", "200|Accept-Ranges: bytes"),
		answered("15.3.7.2: parts that touch", "GET|Range: bytes=2-4,5-6", "206|<23456|Content-Range: bytes 2-6/10"),
		answered("15.3.7.2: of several one can be satisfied", "GET|Range: bytes=99-,2-4", "206|<234|Content-Range: bytes 2-4/10"),
		answered("13.1.5: If-Range with the tag", `GET|Range: bytes=2-4|If-Range: "v1"`, "206|<234"),
		answered("13.1.5: If-Range with another tag", `GET|Range: bytes=2-4|If-Range: "v0"`, whole),
		answered("13.1.5: If-Range with a weak one", `GET|Range: bytes=2-4|If-Range: W/"v1"`, whole),
		answered("13.1.5: If-Range with the date", "GET|Range: bytes=2-4|If-Range: Sun, 01 Mar 2020 12:00:00 GMT", "206|<234"),
		answered("13.1.5: If-Range with a later date", "GET|Range: bytes=2-4|If-Range: Sun, 01 Mar 2020 12:00:01 GMT", whole),
		answered("13.1.5: If-Range before 416", `GET|Range: bytes=99-|If-Range: "v0"`, whole),
		answered("13.2.2: If-None-Match before Range", `GET|Range: bytes=2-4|If-None-Match: "v1"`, "304|<"),
		answered("13.2.2: If-None-Match before 416", `GET|Range: bytes=99-|If-None-Match: "v1"`, "304|<"),
		answered("13.2.2: If-Match, then Range", `GET|Range: bytes=2-4|If-Match: "v1"`, "206|<234"),
		{"14.2: an error has no parts", []turn{
			{"GET", "404|Cache-Control: max-age=60|<0123456789", "404"}, {"GET|Range: bytes=2-4", "", "404|<0123456789"},
		}},
		{"14.2: nothing has no parts", []turn{
			{"GET", "200|Cache-Control: max-age=60|<", "200|<"}, {"GET|Range: bytes=0-", "", "416|Content-Range: bytes */0"},
		}},
		{"RFC 9530 2: digests of the whole content do not go out with a part", []turn{
			{"GET", "200|Cache-Control: max-age=60|Content-Digest: sha-256=:AAAA:|Repr-Digest: sha-512=:BBBB:|<0123456789", "200|Content-Digest: sha-256=:AAAA:|Repr-Digest: sha-512=:BBBB:"},
			{"GET|Range: bytes=2-4", "", "206|<234|!Content-Digest|Repr-Digest: sha-512=:BBBB:"},
			{"GET", "", "200|Content-Digest: sha-256=:AAAA:|Repr-Digest: sha-512=:BBBB:"},
		}},
	})
}

// TestPartsOfWhatIsNot is RFC 9111 sections 3.3 and 3.4, and RFC 9110 sections 14.4, 14.6, 15.3.7 and 15.5.17: parts that the
// origin is asked for, because they are too far behind what it would send first.
func TestPartsOfWhatIsNot(t *testing.T) {
	const tag, fresh = `|Etag: "v1"`, "|Cache-Control: max-age=60"
	const file, whole = "|<@0-2000010", "200" + fresh + tag + "|<@0-2000010"
	const ask, asked = "GET|Range: bytes=2000000-2000009", "|?Range: bytes=2000000-2000009"
	const part, tail = "|Content-Range: bytes 2000000-2000009/2000010", "|<@2000000-2000010"
	const got = "206" + part + tail
	unused := func(rule, answer string) story {
		return story{rule, []turn{{ask, answer + asked + fresh + "&&" + whole + "|?!Range", got}, {"GET", "", "200" + file}}}
	}
	tell(t, []story{
		{"3.4: a part is kept for when the rest is there", []turn{
			{ask, "206" + asked + part + fresh + tag + tail, got},
			{ask, "", got + "|Cache-Status~hit"},
			{ask + "|Cache-Control: no-cache", `206|?Range: bytes=2000000-2000000|?If-Range: "v1"|Content-Range: bytes 2000000-2000000/2000010|<@2000000-2000001` + fresh + tag, got},
			{"GET", `206|?Range: bytes=0-|?If-Range: "v1"|Content-Range: bytes 0-2000009/2000010` + fresh + tag + file, "200|Content-Length: 2000010" + file},
			{"GET|Range: bytes=1000000-1000009", "", "206|<@1000000-1000010"},
		}},
		{"14.1.2: the end alone is fetched alone, and kept", []turn{
			{"GET|Range: bytes=-10", "206|?Range: bytes=-10|Content-Range: bytes 2000000-2000009/2000010|<@2000000-2000010" + fresh + tag, got},
			{"GET|Range: bytes=-5", "", "206|<@2000005-2000010|Cache-Status~hit"},
		}},
		{"4: a part that is stale is asked about", []turn{
			{ask, "206" + asked + part + "|Cache-Control: max-age=0" + tag + tail, got},
			{ask, `206|?Range: bytes=2000000-2000000|?If-Range: "v1"|Content-Range: bytes 2000000-2000000/2000010|<@2000000-2000001` + fresh + tag, got},
		}},
		{"14.1.2: an origin without ranges sends all", []turn{
			{"GET|Range: bytes=-10", whole + "|?Range: bytes=-10", got}, {"GET", "", "200" + file},
		}},
		{"14.1.2: the end that is all of it", []turn{
			{"GET|Range: bytes=-3000000", "206|Content-Range: bytes 0-2000009/2000010" + fresh + tag + file, "206" + file}, {"GET", "", "200" + file},
		}},
		{"14.2: an origin without ranges", []turn{{ask, whole + asked, got}, {"GET", "", "200" + file}}},
		unused("3.3: a part that can be combined with nothing is not kept", "206"+part+tail),
		unused("3.4: nor one by a weak tag", `206|Etag: W/"v1"`+part+tail),
		unused("14.4: nor one that is of unknown size", "206|Content-Range: bytes 2000000-2000009/*"+tag+tail),
		unused("15.3.7: nor another than was asked for", "206|Content-Range: bytes 0-1/2000010|<@0-2"+tag),
		unused("14.4: nor one that does not say which it is", "206"+tag+tail),
		unused("14.4: nor one that contradicts itself", "206|Content-Range: bytes 2000009-2000000/2000010"+tag+tail),
		unused("14.6: nor many at once", "206|Content-Type: multipart/byteranges; boundary=x|<--x--"+tag),
		{"14.6: many parts of what may not be stored come from the origin", []turn{
			{"GET", "200|Cache-Control: no-store|<0123456789", "200"},
			{"GET|Range: bytes=0-1,8-9", "206|?Range: bytes=0-1,8-9|Cache-Control: no-store|Content-Type: multipart/byteranges; boundary=x|<--x--", "206|Content-Type: multipart/byteranges; boundary=x|<--x--"},
		}},
		{"15.3.7: a 206 that nobody has asked for is not stored", []turn{
			{"GET", "206|Content-Range: bytes 8-9/10" + fresh + tag + "|<89&&206|Content-Range: bytes 8-9/10" + fresh + tag + "|<89", "206|<89"},
			{"GET", whole, "200" + file},
		}},
		{"14.4: a 200 with Content-Range passes, and is not stored", []turn{
			{"GET", "200|Content-Range: bytes 0-9/10" + fresh + tag, "200|#0"}, {"GET", "200" + fresh, "200|#1"},
		}},
		{"14.4: so does an answer to HEAD", []turn{
			{"HEAD", "200|Content-Range: bytes 0-9/10" + fresh, "200"}, {"HEAD", "200" + fresh, "200|!Content-Range"},
		}},
		{"15.5.17: a 416 is the client's, and for nobody else", []turn{
			{"GET|Range: bytes=3000000-", "416|?Range: bytes=3000000-|Content-Range: bytes */2000010|<", "416|Content-Range: bytes */2000010"},
			{"GET", whole, "200|Cache-Status~stored" + file},
			{"GET", "", "200" + file},
		}},
		{"15.5.17: not if another of its ranges can be satisfied", []turn{
			{"GET|Range: bytes=3000000-,0-1", "416|?Range: bytes=3000000-|<&&206|?Range: bytes=3000000-,0-1|Content-Range: bytes 0-1/10" + tag + "|<01", "206|<01"},
		}},
		{"15.5.17: not if its condition comes first", []turn{
			{`GET|Range: bytes=3000000-|If-Range: "v0"`, `416|?Range: bytes=3000000-|<&&200|?If-Range: "v0"` + tag + "|<0123456789", "200|<0123456789"},
			{`GET|Range: bytes=3000000-|If-None-Match: "v1"`, `416|?Range: bytes=3000000-|<&&304|?If-None-Match: "v1"` + tag, "304"},
		}},
		{"3.4: a stale response is validated as a whole", []turn{
			{"GET", "200|Cache-Control: max-age=0" + tag + file, "200"},
			{ask, `304|?!Range|?If-None-Match: "v1"|Cache-Control: max-age=60`, got},
			{"GET", "", "200" + file},
		}},
		{"3.4: parts of two versions are never put together", []turn{
			{ask, "206" + asked + part + fresh + tag + tail, "206" + tail},
			{"GET", `200|?If-Range: "v1"|Etag: "v2"` + fresh + "|<@9-3000009", "200|<@9-3000009"},
			{"GET", "", "200|<@9-3000009"},
		}},
		{"3.4: an origin that has no parts any more is asked for the whole", []turn{
			{ask, "206" + asked + part + fresh + tag + tail, "206" + tail},
			{"GET", `403|?If-Range: "v1"&&` + whole + "|?!Range", "200" + file},
			{"GET", "", "200" + file},
		}},
		{"RFC 9530 2: a part's digest is not the whole's", []turn{
			{ask, "206|Content-Digest: sha-256=:AAAA:" + part + fresh + tag + tail, got + "|!Content-Digest"},
			{"GET", "206|Content-Range: bytes 0-2000009/2000010" + fresh + tag + file, "200|!Content-Digest|!Content-Range" + file},
		}},
	})
}
