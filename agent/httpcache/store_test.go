package httpcache

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"
)

func TestStorable(t *testing.T) {
	const part = "Content-Range: bytes 0-9/100"
	for _, tt := range []struct {
		name   string
		method string // GET if empty
		sent   []string
		status int // 200 if zero
		lines  []string
		want   Refusal
	}{
		{name: "3: plain 200"},
		{name: "3: HEAD", method: "HEAD"},
		{name: "3: POST", method: "POST", lines: []string{"Cache-Control: max-age=60"}, want: RefusedMethod},
		{name: "3: PUT", method: "PUT", lines: []string{"Cache-Control: public"}, want: RefusedMethod},
		{name: "3: method in lower case is another one", method: "get", want: RefusedMethod},
		{name: "3: interim 103", status: 103, lines: []string{"Cache-Control: max-age=60"}, want: RefusedInterim},
		{name: "3: interim 101", status: 101, want: RefusedInterim},

		{name: "15.1 of 9110: 203", status: 203},
		{name: "15.1 of 9110: 204", status: 204},
		{name: "15.1 of 9110: 300", status: 300},
		{name: "15.1 of 9110: 301", status: 301},
		{name: "15.1 of 9110: 308", status: 308},
		{name: "15.1 of 9110: 404", status: 404},
		{name: "15.1 of 9110: 405", status: 405},
		{name: "15.1 of 9110: 410", status: 410},
		{name: "15.1 of 9110: 414", status: 414},
		{name: "15.1 of 9110: 501", status: 501},
		{name: "15.1 of 9110: 201 is not", status: 201, want: RefusedNotCacheable},
		{name: "15.1 of 9110: 302 is not", status: 302, want: RefusedNotCacheable},
		{name: "15.1 of 9110: 307 is not", status: 307, want: RefusedNotCacheable},
		{name: "15.1 of 9110: 403 is not", status: 403, want: RefusedNotCacheable},
		{name: "15.1 of 9110: 500 is not", status: 500, want: RefusedNotCacheable},
		{name: "15.1 of 9110: 503 is not", status: 503, want: RefusedNotCacheable},
		{name: "3: 302 with max-age", status: 302, lines: []string{"Cache-Control: max-age=60"}},
		{name: "3: 302 with s-maxage", status: 302, lines: []string{"Cache-Control: s-maxage=60"}},
		{name: "3: 302 with Expires", status: 302, lines: []string{"Expires: DATE+60"}},
		{name: "3: 302 with public", status: 302, lines: []string{"Cache-Control: public"}},
		{name: "3: 302 with no-transform alone", status: 302, lines: []string{"Cache-Control: no-transform"}, want: RefusedNotCacheable},
		{name: "3: 500 with max-age", status: 500, lines: []string{"Cache-Control: max-age=60"}},
		{name: "3: unknown 299 with max-age", status: 299, lines: []string{"Cache-Control: max-age=60"}},
		{name: "3: unknown 299 without", status: 299, want: RefusedNotCacheable},
		{name: "3: 304 is for freshening", status: 304, lines: []string{"Cache-Control: max-age=60"}, want: RefusedStatus},
		{name: "15 of 9110: 401 is for one who did not log in", status: 401, lines: []string{"Cache-Control: max-age=60"}, want: RefusedStatus},
		{name: "15 of 9110: 412 is for one condition", status: 412, lines: []string{"Cache-Control: max-age=60"}, want: RefusedStatus},
		{name: "15 of 9110: 416 is for one range", status: 416, lines: []string{"Cache-Control: max-age=60"}, want: RefusedStatus},
		{name: "RFC 6585: 428", status: 428, lines: []string{"Cache-Control: max-age=60"}, want: RefusedStatus},
		{name: "RFC 6585: 429", status: 429, lines: []string{"Cache-Control: max-age=60"}, want: RefusedStatus},
		{name: "RFC 6585: 431", status: 431, lines: []string{"Cache-Control: max-age=60"}, want: RefusedStatus},
		{name: "RFC 6585: 511", status: 511, lines: []string{"Cache-Control: max-age=60"}, want: RefusedStatus},
		{name: "15 of 9110: 599 is one", status: 599, lines: []string{"Cache-Control: max-age=60"}},
		{name: "15 of 9110: 600 is no status", status: 600, lines: []string{"Cache-Control: max-age=60"}, want: RefusedStatus},

		{name: "5.2.1.5: no-store in the request", sent: []string{"Cache-Control: no-store"}, lines: []string{"Cache-Control: max-age=60"}, want: RefusedByRequest},
		{name: "5.2.1.4: no-cache in the request", sent: []string{"Cache-Control: no-cache"}},
		{name: "5.2.2.5: no-store", lines: []string{"Cache-Control: max-age=60, no-store"}, want: RefusedByResponse},
		{name: "5.2.2.5: no-store and public", lines: []string{"Cache-Control: public, no-store"}, want: RefusedByResponse},
		{name: "5.2.2.4: no-cache may be stored", lines: []string{"Cache-Control: no-cache"}},
		{name: "5.2.2.7: private", lines: []string{"Cache-Control: private, max-age=60"}, want: RefusedPrivate},
		{name: "5.2.2.7: private and s-maxage", lines: []string{"Cache-Control: private, s-maxage=60"}, want: RefusedPrivate},
		{name: "5.2.2.7: private with a field", lines: []string{`Cache-Control: private="x-user", max-age=60`}},
		{name: "5.2.2.3: must-understand, 200", lines: []string{"Cache-Control: must-understand, no-store, max-age=60"}},
		{name: "5.2.2.3: must-understand, 302", status: 302, lines: []string{"Cache-Control: must-understand, no-store, max-age=60"}},
		{name: "5.2.2.3: must-understand, unknown status", status: 299, lines: []string{"Cache-Control: must-understand, max-age=60"}, want: RefusedNotUnderstood},
		{name: "5.2.2.3: must-understand does not outdo the request", sent: []string{"Cache-Control: no-store"}, lines: []string{"Cache-Control: must-understand"}, want: RefusedByRequest},
		{name: "5.2.2.3: malformed must-understand does not outdo no-store", lines: []string{"Cache-Control: must-understand=, no-store"}, want: RefusedByResponse},

		{name: "3.5: Authorization", sent: []string{"Authorization: Bearer x"}, lines: []string{"Cache-Control: max-age=60"}, want: RefusedAuthorization},
		{name: "3.5: Authorization, public", sent: []string{"Authorization: Bearer x"}, lines: []string{"Cache-Control: public"}},
		{name: "3.5: Authorization, must-revalidate", sent: []string{"Authorization: Bearer x"}, lines: []string{"Cache-Control: must-revalidate"}},
		{name: "3.5: Authorization, s-maxage", sent: []string{"Authorization: Bearer x"}, lines: []string{"Cache-Control: s-maxage=0"}},
		{name: "3.5: Authorization, proxy-revalidate is not enough", sent: []string{"Authorization: Bearer x"}, lines: []string{"Cache-Control: proxy-revalidate, max-age=60"}, want: RefusedAuthorization},
		{name: "3.5: empty Authorization", sent: []string{"Authorization:"}, want: RefusedAuthorization},

		{name: "4.1: Vary", lines: []string{"Vary: Accept-Encoding"}},
		{name: "4.1: Vary on all", lines: []string{"Vary: *", "Cache-Control: max-age=60"}, want: RefusedVary},
		{name: "4.1: Vary on all in a list", lines: []string{"Vary: Accept, *"}, want: RefusedVary},
		{name: "4.1: Vary on all on another line", lines: []string{"Vary: Accept", "Vary: *"}, want: RefusedVary},
		{name: "4.1: Vary on what is no field", lines: []string{"Vary: Accept Encoding"}, want: RefusedVary},

		{name: "7.3: Set-Cookie", lines: []string{"Set-Cookie: a=b", "Cache-Control: public, max-age=60"}, want: RefusedCookie},
		{name: "7.3: Set-Cookie that is kept out by private", lines: []string{"Set-Cookie: a=b", `Cache-Control: private="set-cookie"`}},
		{name: "7.3: Set-Cookie that is kept out by no-cache", lines: []string{"Set-Cookie: a=b", `Cache-Control: no-cache="set-cookie"`}},

		{name: "3.4: 206 with a strong tag", status: 206, lines: []string{part, `ETag: "a"`}},
		{name: "3.4: 206 with a date that is strong by its age", status: 206, lines: []string{part, "Date: DATE+0", "Last-Modified: DATE-3600"}},
		{name: "3.4: 206 with a date too young", status: 206, lines: []string{part, "Date: DATE+0", "Last-Modified: DATE-59"}, want: RefusedPart},
		{name: "3.4: 206 with a weak tag", status: 206, lines: []string{part, `ETag: W/"a"`, "Last-Modified: DATE-3600"}, want: RefusedPart},
		{name: "3.4: 206 without validator", status: 206, lines: []string{part}, want: RefusedPart},
		{name: "14.4 of 9110: 206 without Content-Range", status: 206, lines: []string{`ETag: "a"`}, want: RefusedPart},
		{name: "14.4 of 9110: 206 of another unit", status: 206, lines: []string{"Content-Range: lines 0-9/100", `ETag: "a"`}, want: RefusedPart},
		{name: "14.4 of 9110: 206 of unknown size", status: 206, lines: []string{"Content-Range: bytes 0-9/*", `ETag: "a"`}, want: RefusedPart},
		{name: "14.4 of 9110: 206 of something of nothing", status: 206, lines: []string{"Content-Range: bytes 0-0/0", `ETag: "a"`}, want: RefusedPart},
		{name: "14.4 of 9110: 206 that is unsatisfied", status: 206, lines: []string{"Content-Range: bytes */100", `ETag: "a"`}, want: RefusedPart},
		{name: "14.6 of 9110: 206 of many parts", status: 206, lines: []string{"Content-Type: multipart/byteranges; boundary=x", `ETag: "a"`}, want: RefusedPart},
		{name: "14.4 of 9110: 200 with Content-Range", lines: []string{part, `ETag: "a"`}, want: RefusedPart},
		{name: "14.2 of 9110: 200 though a range was asked for", sent: []string{"Range: bytes=0-9"}, lines: []string{`ETag: "a"`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := exchange(tt.status, tt.lines...)
			x.Request = fields(tt.sent...)
			if tt.method != "" {
				x.Method = tt.method
			}
			if tt.status == 0 {
				x.Status = 200
			}
			same(t, "refusal", Storable(x), tt.want)
		})
	}
}

func TestKeptFields(t *testing.T) {
	date := "Date: " + formatDate(made)
	for _, tt := range []struct {
		name  string
		lines []string
		want  []string
	}{
		{"3.1: all, unknown ones too", []string{date, "X-Unknown: 1", "X-Unknown: 2", "Age: 5", "Warning: 110"}, []string{date, "X-Unknown: 1", "X-Unknown: 2", "Age: 5", "Warning: 110"}},
		{"3.1: hop-by-hop", []string{
			date, "Connection: close", "Keep-Alive: 5", "Proxy-Connection: x", "TE: x", "Trailer: X-Sum", "Transfer-Encoding: chunked", "Upgrade: h2c", "ETag: \"a\"",
		}, []string{date, "ETag: \"a\""}},
		{"3.1: what Connection lists", []string{date, "Connection: close, x-hop", "Connection: X-Jump", "X-Hop: 1", "X-Jump: 2", "X-Stay: 3"}, []string{date, "X-Stay: 3"}},
		{"7.6.1 of 9110: not what is for all, though Connection lists it", []string{date, "Connection: cache-control, vary", "Cache-Control: max-age=5", "Vary: Accept"}, []string{date, "Cache-Control: max-age=5", "Vary: Accept"}},
		{"3.1: what is for one proxy", []string{date, "Proxy-Authenticate: x", "Proxy-Authentication-Info: x", "Proxy-Authorization: x", "Proxy-Status: x"}, []string{date, "Proxy-Status: x"}},
		{"5.2.2.7: what private lists", []string{date, `Cache-Control: private="X-A, x-b"`, "X-A: 1", "X-B: 2", "X-C: 3"}, []string{date, `Cache-Control: private="X-A, x-b"`, "X-C: 3"}},
		{"5.2.2.4: what no-cache lists", []string{date, `Cache-Control: no-cache="X-A"`, "X-A: 1", "X-C: 3"}, []string{date, `Cache-Control: no-cache="X-A"`, "X-C: 3"}},
		{"7.3: cookies", []string{date, "Set-Cookie: a=b"}, []string{date}},
		{"6.6.1 of 9110: missing Date", []string{"X-A: 1"}, []string{date, "X-A: 1"}},
		{"6.6.1 of 9110: Date that is none", []string{"Date: yesterday"}, []string{date}},
		{"6.6.1 of 9110: two dates", []string{date, date}, []string{date}},
		{"6.6.1 of 9110: another Date stays", []string{"Date: DATE-60"}, []string{"Date: DATE-60"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := Keep(exchange(200, tt.lines...)).Header; !reflect.DeepEqual(got, fields(tt.want...)) {
				t.Errorf("kept %v, want %v", got, fields(tt.want...))
			}
		})
	}
}

// TestPartKeptAsWhole is RFC 9111 section 3.3: what is stored of a 206 is an incomplete 200.
func TestPartKeptAsWhole(t *testing.T) {
	m := Keep(exchange(206, "Content-Range: bytes 10-19/100", "Content-Length: 10", `ETag: "a"`, "Content-Type: text/plain"))
	same(t, "status", m.Status, 200)
	same(t, "size", m.Size, 100)
	if want := fields("Date: DATE+0", `ETag: "a"`, "Content-Type: text/plain"); !reflect.DeepEqual(m.Header, want) {
		t.Errorf("header = %v, want %v", m.Header, want)
	}
}

func TestKeptSize(t *testing.T) {
	for _, tt := range []struct {
		name  string
		lines []string
		want  int64
	}{
		{"8.6 of 9110: length", []string{"Content-Length: 100"}, 100},
		{"8.6 of 9110: no length", nil, -1},
		{"8.6 of 9110: negative", []string{"Content-Length: -1"}, -1},
		{"8.6 of 9110: beyond 2^63", []string{"Content-Length: 9223372036854775808"}, -1},
		{"8.6 of 9110: two", []string{"Content-Length: 1", "Content-Length: 2"}, -1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			same(t, "size", Keep(exchange(200, tt.lines...)).Size, tt.want)
		})
	}
}

// TestKeptSurvivesJSON holds that what is written to disk decides as what was received did.
func TestKeptSurvivesJSON(t *testing.T) {
	x := exchange(200, "Cache-Control: max-age=60, stale-if-error=5", "Vary: Accept-Encoding", `ETag: "a"`, "Age: 3", "Content-Length: 7")
	x.Request = fields("Accept-Encoding: GZIP")
	x.Requested = made.Add(-1500 * time.Millisecond)
	kept := Keep(x)
	data, err := json.Marshal(kept)
	if err != nil {
		t.Fatal(err)
	}
	var read Meta
	if err := json.Unmarshal(data, &read); err != nil {
		t.Fatal(err)
	}
	if got, want := NewStored(read), NewStored(kept); !reflect.DeepEqual(got, want) {
		t.Errorf("read back %+v, want %+v", got, want)
	}
}

// TestKeepTakesNothingAway holds that the client's answer is not changed by being stored.
func TestKeepTakesNothingAway(t *testing.T) {
	x := exchange(206, "Content-Range: bytes 10-19/100", "Connection: close", "Set-Cookie: a=b", `ETag: "a"`)
	before := x.Header.Clone()
	kept := Keep(x)
	kept.Header.Add("Etag", "more")
	if !reflect.DeepEqual(x.Header, before) {
		t.Errorf("header became %v", x.Header)
	}
}
