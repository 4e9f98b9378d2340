package httpcache

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestLifetime(t *testing.T) {
	const day = 24 * time.Hour
	for _, tt := range []struct {
		name   string
		status int // 200 if zero
		lines  []string
		want   time.Duration
	}{
		{"4.2.1: s-maxage before max-age and Expires", 0, []string{"Cache-Control: max-age=60, s-maxage=30", "Expires: DATE+90", "Date: DATE+0"}, 30 * time.Second},
		{"4.2.1: s-maxage of zero", 0, []string{"Cache-Control: s-maxage=0, max-age=60"}, 0},
		{"4.2.1: max-age before Expires", 0, []string{"Cache-Control: max-age=60", "Expires: DATE+90", "Date: DATE+0"}, time.Minute},
		{"4.2.1: max-age before Expires, though malformed", 0, []string{"Cache-Control: max-age=x", "Expires: DATE+90", "Date: DATE+0"}, 0},
		{"4.2.1: Expires less Date", 0, []string{"Expires: DATE+90", "Date: DATE+30"}, time.Minute},
		{"4.2.1: Expires without Date counts from receipt", 0, []string{"Expires: DATE+90"}, 90 * time.Second},
		{"4.2.1: Expires with a malformed Date counts from receipt", 0, []string{"Expires: DATE+90", "Date: now"}, 90 * time.Second},
		{"4.2.1: Expires with two dates counts from receipt", 0, []string{"Expires: DATE+90", "Date: DATE+30", "Date: DATE+30"}, 90 * time.Second},
		{"4.2.1: Expires with a wrong clock", 0, []string{"Expires: DATE+3690", "Date: DATE+3600"}, 90 * time.Second},
		{"4.2.1: Expires equal to Date", 0, []string{"Expires: DATE+0", "Date: DATE+0"}, 0},
		{"4.2.1: Expires before Date", 0, []string{"Expires: DATE-60", "Date: DATE+0"}, 0},
		{"4.2.1: the first of two Expires", 0, []string{"Expires: DATE+60", "Expires: DATE+90", "Date: DATE+0"}, time.Minute},
		{"5.3: Expires of 0", 0, []string{"Expires: 0", "Last-Modified: DATE-3600"}, 0},
		{"5.3: Expires that is empty", 0, []string{"Expires:", "Last-Modified: DATE-3600"}, 0},
		{"5.3: Expires in another time zone", 0, []string{"Expires: Sun, 01 Mar 2026 14:00:00 CET", "Date: DATE+0"}, 0},
		{"5.3: Expires without a zone", 0, []string{"Expires: Sun, 01 Mar 2026 14:00:00", "Date: DATE+0"}, 0},
		{"5.3: Expires in seconds", 0, []string{"Expires: 3600"}, 0},
		{"5.3: Expires centuries from now", 0, []string{"Expires: Fri, 31 Dec 9999 23:59:59 GMT", "Date: DATE+0"}, maxDelta},
		{"5.6.7 of 9110: asctime", 0, []string{"Expires: Sun Mar  1 12:01:00 2026", "Date: DATE+0"}, time.Minute},
		{"5.6.7 of 9110: rfc850", 0, []string{"Expires: Sunday, 01-Mar-26 12:01:00 GMT", "Date: DATE+0"}, time.Minute},
		{"5.6.7 of 9110: rfc850, 50 years ahead", 0, []string{"Expires: Saturday, 29-Feb-76 12:00:00 GMT", "Date: DATE+0"}, (50*365 + 12) * day},
		{"5.6.7 of 9110: rfc850, more than 50 years ahead is past", 0, []string{"Expires: Monday, 02-Mar-76 12:00:00 GMT", "Date: DATE+0"}, 0},
		{"5.6.7 of 9110: rfc850 in another zone", 0, []string{"Expires: Sunday, 01-Mar-26 12:01:00 EST", "Date: DATE+0"}, 0},
		{"1.2.2: max-age beyond 2^31", 0, []string{"Cache-Control: max-age=99999999999"}, maxDelta},

		{"4.2.2: a tenth of what it has not changed for", 0, []string{"Last-Modified: DATE-600", "Date: DATE+0"}, time.Minute},
		{"4.2.2: a day at most", 0, []string{"Last-Modified: DATE-31536000", "Date: DATE+0"}, day},
		{"4.2.2: changed after Date", 0, []string{"Last-Modified: DATE+600", "Date: DATE+0"}, 0},
		{"4.2.2: no Last-Modified", 0, []string{"Date: DATE+0"}, 0},
		{"4.2.2: Last-Modified that is none", 0, []string{"Last-Modified: 1", "Date: DATE+0"}, 0},
		{"4.2.2: two Last-Modified", 0, []string{"Last-Modified: DATE-600", "Last-Modified: DATE-600", "Date: DATE+0"}, 0},
		{"4.2.2: before the epoch of the machine", 0, []string{"Last-Modified: Thu, 01 Jan 0001 00:00:00 GMT", "Date: DATE+0"}, day},
		{"4.2.2: not with explicit expiry", 0, []string{"Cache-Control: max-age=5", "Last-Modified: DATE-600", "Date: DATE+0"}, 5 * time.Second},
		{"4.2.2: 404", 404, []string{"Last-Modified: DATE-600", "Date: DATE+0"}, time.Minute},
		{"4.2.2: not for a status that is not heuristically cacheable", 302, []string{"Last-Modified: DATE-600", "Date: DATE+0"}, 0},
		{"4.2.2: but if it is public", 302, []string{"Cache-Control: public", "Last-Modified: DATE-600", "Date: DATE+0"}, time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.status == 0 {
				tt.status = 200
			}
			same(t, "lifetime", NewStored(Keep(exchange(tt.status, tt.lines...))).Lifetime, tt.want)
		})
	}
	t.Run("4.3.5: outdated", func(t *testing.T) {
		same(t, "lifetime", NewStored(stored("Cache-Control: max-age=60").Outdate()).Lifetime, 0)
	})
}

func TestAge(t *testing.T) {
	const s = time.Second
	for _, tt := range []struct {
		name      string
		requested float64 // seconds after made
		received  float64
		now       float64
		lines     []string
		want      time.Duration
	}{
		{"4.2.3: just received", 0, 0, 0, []string{"Date: DATE+0"}, 0},
		{"4.2.3: resident time", 0, 0, 7.5, []string{"Date: DATE+0"}, 7500 * time.Millisecond},
		{"4.2.3: apparent age", 10, 10, 12, []string{"Date: DATE+0"}, 12 * s},
		{"4.2.3: Date ahead of us", 0, 0, 5, []string{"Date: DATE+3600"}, 5 * s},
		{"4.2.3: no Date", 10, 10, 12, nil, 2 * s},
		{"4.2.3: Date that is none", 10, 10, 12, []string{"Date: 0"}, 2 * s},
		{"4.2.3: Age", 0, 0, 1, []string{"Date: DATE+0", "Age: 60"}, 61 * s},
		{"4.2.3: Age plus the time the answer took", 0, 4, 5, []string{"Date: DATE+4", "Age: 60"}, 65 * s},
		{"4.2.3: the time the answer took without Age", 0, 4, 5, []string{"Date: DATE+4"}, 5 * s},
		{"4.2.3: the larger of apparent age and Age", 100, 100, 100, []string{"Date: DATE+0", "Age: 60"}, 100 * s},
		{"4.2.3: the larger of Age and apparent age", 100, 100, 100, []string{"Date: DATE+90", "Age: 60"}, 60 * s},
		{"4.2.3: our clock went back after the receipt", 0, 0, -50, []string{"Date: DATE+0", "Age: 60"}, 60 * s},
		{"4.2.3: our clock went back during the request", 50, 0, 0, []string{"Date: DATE+0", "Age: 60"}, 60 * s},
		{"5.1: Age of many members", 0, 0, 0, []string{"Age: 60, 70"}, 60 * s},
		{"5.1: Age on many lines", 0, 0, 0, []string{"Age: 60", "Age: 0"}, 60 * s},
		{"5.1: negative Age", 0, 0, 0, []string{"Age: -60"}, 0},
		{"5.1: fraction of Age", 0, 0, 0, []string{"Age: 60.5"}, 0},
		{"5.1: quoted Age", 0, 0, 0, []string{`Age: "60"`}, 0},
		{"5.1: malformed Age with more behind it", 0, 0, 0, []string{"Age: x, 60"}, 0},
		{"1.2.2: Age beyond 2^63", 0, 0, 1, []string{"Age: " + strings.Repeat("9", 30)}, maxDelta},
		{"1.2.2: a century in store", 0, 0, 5e9, []string{"Date: DATE+0"}, maxDelta},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := exchange(200, tt.lines...)
			x.Requested, x.Received = after(tt.requested), after(tt.received)
			same(t, "age", NewStored(Keep(x)).Age(after(tt.now)), tt.want)
		})
	}
}

// TestTimesNeverRunBack holds whatever an origin sends: ages only grow with time, lifetimes are never
// negative, and what is stale stays stale.
func TestTimesNeverRunBack(t *testing.T) {
	date := rapid.OneOf(
		rapid.Map(rapid.Int64Range(-1e11, 1e11), func(s int64) string { return formatDate(made.Add(time.Duration(s))) }),
		rapid.Map(rapid.Int64Range(-6e10, 2e11), func(s int64) string { return formatDate(time.Unix(s, 0)) }),
		rapid.SampledFrom([]string{"", "0", "x"}),
	)
	number := rapid.OneOf(rapid.StringMatching(`[0-9]{1,25}`), rapid.StringMatching(`"?-?[0-9.]{0,3}"?`))
	instant := rapid.Map(rapid.Int64(), func(ns int64) time.Time { return time.Unix(0, ns) })
	rapid.Check(t, func(t *rapid.T) {
		x := exchange(rapid.SampledFrom([]int{200, 302, 404}).Draw(t, "status"))
		for _, name := range []string{"Date", "Expires", "Last-Modified"} {
			if rapid.Bool().Draw(t, name) {
				x.Header.Set(name, date.Draw(t, name))
			}
		}
		if rapid.Bool().Draw(t, "has age") {
			x.Header.Set("Age", number.Draw(t, "age"))
		}
		x.Header.Set("Cache-Control", rapid.SampledFrom([]string{"", "public,", "max-age=", "s-maxage="}).Draw(t, "directive")+number.Draw(t, "argument"))
		x.Requested, x.Received = instant.Draw(t, "requested"), instant.Draw(t, "received")
		s := NewStored(Keep(x))
		if s.Lifetime < 0 || s.Lifetime > maxDelta {
			t.Fatalf("lifetime %v", s.Lifetime)
		}
		early, late := instant.Draw(t, "early"), instant.Draw(t, "late")
		if late.Before(early) {
			early, late = late, early
		}
		a, b := s.Age(early), s.Age(late)
		if a < 0 || b < a || b > maxDelta {
			t.Fatalf("age %v at %v, %v at %v", a, early, b, late)
		}
		if s.TTL(early) <= 0 && s.TTL(late) > 0 {
			t.Fatalf("stale at %v, fresh at %v", early, late)
		}
	})
}

func TestDates(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       string // RFC 3339; empty if it is no date
	}{
		{"5.6.7: IMF-fixdate", "Sun, 06 Nov 1994 08:49:37 GMT", "1994-11-06T08:49:37Z"},
		{"5.6.7: rfc850", "Sunday, 06-Nov-94 08:49:37 GMT", "1994-11-06T08:49:37Z"},
		{"5.6.7: rfc850 of the year 2000", "Tuesday, 29-Feb-00 08:49:37 GMT", "2000-02-29T08:49:37Z"},
		{"5.6.7: rfc850 within 50 years", "Sunday, 06-Nov-75 08:49:37 GMT", "2075-11-06T08:49:37Z"},
		{"5.6.7: asctime", "Sun Nov  6 08:49:37 1994", "1994-11-06T08:49:37Z"},
		{"5.6.7: another zone", "Sun, 06 Nov 1994 08:49:37 PST", ""},
		{"5.6.7: numeric zone", "Sun, 06 Nov 1994 08:49:37 +0000", ""},
		{"5.6.7: ISO 8601", "1994-11-06T08:49:37Z", ""},
		{"5.6.7: no such day", "Sun, 31 Feb 1994 08:49:37 GMT", ""},
		{"5.6.7: no such hour", "Sun, 06 Nov 1994 24:49:37 GMT", ""},
		{"5.6.7: year of two digits", "Sun, 06 Nov 94 08:49:37 GMT", ""},
		{"5.6.7: something behind it", "Sun, 06 Nov 1994 08:49:37 GMT, x", ""},
		{"5.6.7: a number", "784111777", ""},
		{"5.6.7: nothing", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := parseDate(tt.text, made)
			same(t, "is a date", ok, tt.want != "")
			if ok {
				same(t, "date", got.UTC().Format(time.RFC3339), tt.want)
			}
		})
	}
}
