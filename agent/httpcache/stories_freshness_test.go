package httpcache

import "testing"

// TestFreshness is RFC 9111 sections 4.2, 5.1 and 5.3.
func TestFreshness(t *testing.T) {
	const tag, asked = `|Etag: "v1"`, `304|?If-None-Match: "v1"`
	fresh := func(rule, origin string) story {
		return story{rule, []turn{{"GET", "200|" + origin + tag, "200|#0"}, {"GET", "", "200|#0|Cache-Status~hit"}}}
	}
	stale := func(rule, origin string) story {
		return story{rule, []turn{{"GET", "200|" + origin + tag, "200|#0"}, {"GET", asked, "200|#0|Cache-Status~fwd=stale"}}}
	}
	tell(t, []story{
		fresh("4.2.1: max-age", "Cache-Control: max-age=60"),
		stale("4.2.1: max-age of zero", "Cache-Control: max-age=0"),
		fresh("4.2.1: s-maxage before max-age", "Cache-Control: max-age=0, s-maxage=60"),
		stale("4.2.1: s-maxage before max-age, the other way", "Cache-Control: max-age=60, s-maxage=0"),
		fresh("4.2.1: max-age before Expires", "Cache-Control: max-age=60|Expires: NOW-60"),
		stale("4.2.1: max-age before Expires, the other way", "Cache-Control: max-age=0|Expires: NOW+60"),
		stale("4.2.1: a malformed max-age before Expires", "Cache-Control: max-age=abc|Expires: NOW+60"),
		fresh("4.2.1: a quoted max-age", `Cache-Control: max-age="60"`),
		stale("4.2.1: a negative max-age", "Cache-Control: max-age=-60"),
		stale("4.2.1: a fraction", "Cache-Control: max-age=60.5"),
		stale("4.2.1: a max-age in single quotes", "Cache-Control: max-age='60'"),
		stale("4.2.1: whitespace before the number", "Cache-Control: max-age= 60"),
		stale("4.2.1: whitespace behind the name", "Cache-Control: max-age =60"),
		fresh("4.2.1: of two max-age the first", "Cache-Control: max-age=60|Cache-Control: max-age=0"),
		stale("4.2.1: of two max-age the first, the other way", "Cache-Control: max-age=0, max-age=60"),
		fresh("4.2.1: names in any case", "Cache-Control: MaX-aGe=60"),
		stale("4.2.1: a name in a quoted string is none", `Cache-Control: ext="max-age=60, x"`),
		fresh("1.2.2: more seconds than fit", "Cache-Control: max-age=99999999999999999999"),
		fresh("1.2.2: more than 2^31", "Cache-Control: max-age=2147483649"),
		fresh("4.2.1: Expires", "Expires: NOW+60"),
		stale("4.2.1: Expires in the past", "Expires: NOW-60"),
		stale("5.3: Expires of 0", "Expires: 0|Last-Modified: NOW-864000"),
		stale("5.3: Expires of -1", "Expires: -1|Last-Modified: NOW-864000"),
		stale("5.3: Expires that is empty", "Expires:|Last-Modified: NOW-864000"),
		stale("5.3: Expires in another zone", "Expires: Thu, 18 Aug 2050 02:01:18 AEST"),
		stale("5.3: Expires with a year of two digits", "Expires: Thu, 18 Aug 50 02:01:18 GMT"),
		fresh("5.6.7 of 9110: Expires in the form of asctime", "Expires: Thu Aug 18 02:01:18 2050"),
		fresh("5.6.7 of 9110: Expires in the form of RFC 850", "Expires: Thursday, 18-Aug-50 02:01:18 GMT"),
		fresh("4.2.1: Expires counts from Date, whatever our clock says", "Date: NOW+7200|Expires: NOW+7260"),
		stale("4.2.1: Expires counts from Date, the other way", "Date: NOW+7200|Expires: NOW+7100"),
		fresh("4.2.1: Expires without Date", "!Date|Expires: NOW+60"),
		fresh("4.2.1: Expires with a Date that is none", "Date: yesterday|Expires: NOW+60"),

		fresh("4.2.2: a tenth of the time it has not changed for", "Last-Modified: NOW-86400"),
		stale("4.2.2: and no longer", "Last-Modified: NOW-86400|Age: 8641"),
		stale("4.2.2: a day at most", "Last-Modified: NOW-864000000|Age: 86401"),
		fresh("4.2.2: nearly a day", "Last-Modified: NOW-864000000|Age: 86000"),
		stale("4.2.2: nothing to guess by", "X: 1"),
		stale("4.2.2: Last-Modified in the future", "Last-Modified: NOW+600"),
		stale("4.2.2: no guess beside explicit expiry", "Last-Modified: NOW-864000|Cache-Control: max-age=0"),
		{"4.2.2: no guess for a status that does not allow it", []turn{
			{"GET", "302|Location: /x|Last-Modified: NOW-864000", "302|#0"}, {"GET", "302|Location: /x", "302|#1"},
		}},
		{"4.2.2: but if it is public", []turn{
			{"GET", "302|Location: /x|Cache-Control: public|Last-Modified: NOW-864000", "302|#0"}, {"GET", "", "302|#0"},
		}},

		{"4.2.3: Age of the caches before this one counts, and is told", []turn{
			{"GET", "200|Cache-Control: max-age=60|Age: 50", "200|#0|Age: 50"}, {"GET", "", "200|#0|Age: 50"},
		}},
		stale("4.2.3: Age beyond the lifetime", "Cache-Control: max-age=60|Age: 61"),
		stale("4.2.3: Age of exactly the lifetime", "Cache-Control: max-age=60|Age: 60"),
		stale("4.2.3: Date long ago", "Cache-Control: max-age=60|Date: NOW-61"),
		fresh("4.2.3: Date in the future makes nothing younger", "Cache-Control: max-age=60|Date: NOW+3600"),
		stale("4.2.3: nor Age smaller", "Cache-Control: max-age=60|Date: NOW+3600|Age: 61"),
		stale("4.2.3: the larger of Age and Date", "Cache-Control: max-age=60|Date: NOW-61|Age: 5"),
		fresh("4.2.3: no Date", "Cache-Control: max-age=60|!Date"),
		fresh("5.1: a malformed Age does not count", "Cache-Control: max-age=60|Age: x"),
		fresh("5.1: a negative Age does not count", "Cache-Control: max-age=60|Age: -100"),
		stale("5.1: of a list the first counts", "Cache-Control: max-age=60|Age: 100, 1"),
		stale("5.1: of two lines the first counts", "Cache-Control: max-age=60|Age: 100|Age: 1"),
		stale("1.2.2: Age beyond 2^31", "Cache-Control: max-age=9999999999|Age: 99999999999"),
		{"6.6.1 of 9110: a Date that is missing is added", []turn{
			{"GET", "200|Cache-Control: max-age=60|!Date", "200|#0|Date~GMT|Age: 0"}, {"GET", "", "200|#0|Date~GMT"},
		}},
		{"6.6.1 of 9110: one that is there stays", []turn{
			{"GET", "200|Cache-Control: max-age=600|Date: NOW-100", "200|#0|Age: 100"}, {"GET", "", "200|#0|Age: 100"},
		}},
		{"4.2.3: age starts anew with a validation", []turn{
			{"GET", "200|Cache-Control: max-age=60|Age: 70" + tag, "200|#0|Age: 70"}, {"GET", asked, "200|#0|Age: 0"}, {"GET", "", "200|#0|Age: 0"},
		}},
	})
}
