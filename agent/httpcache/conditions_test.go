package httpcache

import (
	"net/http"
	"reflect"
	"testing"
)

func TestCheckConditions(t *testing.T) {
	strong := []string{`ETag: "a"`, "Last-Modified: DATE-3600", "Date: DATE+0"}
	weak := []string{`ETag: W/"a"`, "Date: DATE+0"}
	dated := []string{"Last-Modified: DATE-3600", "Date: DATE+0"}
	bare := []string{"Date: DATE+0"}
	for _, tt := range []struct {
		name   string
		method string // GET if empty
		status int    // 200 if zero
		stored []string
		sent   []string
		want   Outcome
	}{
		{"13.2.1: no condition", "", 0, strong, nil, Proceed},

		{"13.1.2: same tag", "", 0, strong, []string{`If-None-Match: "a"`}, NotModified},
		{"13.1.2: another tag", "", 0, strong, []string{`If-None-Match: "b"`}, Proceed},
		{"13.1.2: one of a list", "", 0, strong, []string{`If-None-Match: "b", "a"`}, NotModified},
		{"13.1.2: one of several lines", "", 0, strong, []string{`If-None-Match: "b"`, `If-None-Match: "a"`}, NotModified},
		{"13.1.2: list without spaces", "", 0, strong, []string{`If-None-Match: "b","a"`}, NotModified},
		{"13.1.2: empty members", "", 0, strong, []string{`If-None-Match: ,, "a" ,`}, NotModified},
		{"13.1.2: weak comparison of a weak one", "", 0, strong, []string{`If-None-Match: W/"a"`}, NotModified},
		{"13.1.2: weak comparison with a weak one", "", 0, weak, []string{`If-None-Match: "a"`}, NotModified},
		{"13.1.2: any", "", 0, strong, []string{"If-None-Match: *"}, NotModified},
		{"13.1.2: any, without a tag", "", 0, bare, []string{"If-None-Match: *"}, NotModified},
		{"13.1.2: a tag called any", "", 0, strong, []string{`If-None-Match: "*"`}, Proceed},
		{"13.1.2: a tag against none", "", 0, dated, []string{`If-None-Match: "a"`}, Proceed},
		{"13.1.2: a comma within a tag", "", 0, []string{`ETag: "a,b"`}, []string{`If-None-Match: "x", "a,b"`}, NotModified},
		{"13.1.2: a comma within another tag", "", 0, strong, []string{`If-None-Match: "x,"a"`}, Proceed},
		{"13.1.2: a backslash does not escape", "", 0, []string{`ETag: "a\"`}, []string{`If-None-Match: "a\"`}, NotModified},
		{"13.1.2: no tag is skipped", "", 0, strong, []string{`If-None-Match: a, "a"`}, NotModified},
		{"13.1.2: nothing but no tags", "", 0, strong, []string{"If-None-Match: a"}, Proceed},
		{"13.1.2: a tag that is not closed", "", 0, strong, []string{`If-None-Match: "a`}, Proceed},
		{"13.1.2: HEAD", "HEAD", 0, strong, []string{`If-None-Match: "a"`}, NotModified},
		{"13.1.2: a method that changes something", "PUT", 0, strong, []string{`If-None-Match: "a"`}, Failed},

		{"13.1.3: not modified since", "", 0, strong, []string{"If-Modified-Since: DATE-3600"}, NotModified},
		{"13.1.3: not modified since later", "", 0, strong, []string{"If-Modified-Since: DATE+9999"}, NotModified},
		{"13.1.3: modified since", "", 0, strong, []string{"If-Modified-Since: DATE-3601"}, Proceed},
		{"13.1.3: no date", "", 0, strong, []string{"If-Modified-Since: 0"}, Proceed},
		{"13.1.3: two dates", "", 0, strong, []string{"If-Modified-Since: DATE+0", "If-Modified-Since: DATE+0"}, Proceed},
		{"13.1.3: HEAD", "HEAD", 0, strong, []string{"If-Modified-Since: DATE+0"}, NotModified},
		{"13.1.3: other methods", "PUT", 0, strong, []string{"If-Modified-Since: DATE+0"}, Proceed},
		{"13.1.3: ignored beside a tag that does not match", "", 0, strong, []string{`If-None-Match: "b"`, "If-Modified-Since: DATE+0"}, Proceed},
		{"13.1.3: ignored beside a tag that matches", "", 0, strong, []string{`If-None-Match: "a"`, "If-Modified-Since: DATE-9999"}, NotModified},
		{"13.1.3: ignored beside tags that are none", "", 0, strong, []string{"If-None-Match: a", "If-Modified-Since: DATE+0"}, Proceed},
		{"4.3.2 of 9111: without Last-Modified by Date", "", 0, bare, []string{"If-Modified-Since: DATE+0"}, NotModified},
		{"4.3.2 of 9111: without Last-Modified by Date, before", "", 0, bare, []string{"If-Modified-Since: DATE-1"}, Proceed},

		{"13.1.1: same tag", "", 0, strong, []string{`If-Match: "b", "a"`}, Proceed},
		{"13.1.1: another tag", "", 0, strong, []string{`If-Match: "b"`}, Failed},
		{"13.1.1: strong comparison of a weak one", "", 0, strong, []string{`If-Match: W/"a"`}, Failed},
		{"13.1.1: strong comparison with a weak one", "", 0, weak, []string{`If-Match: W/"a"`}, Failed},
		{"13.1.1: any", "", 0, bare, []string{"If-Match: *"}, Proceed},
		{"13.1.1: no tag", "", 0, strong, []string{"If-Match: a"}, Failed},
		{"13.1.4: not modified since", "", 0, strong, []string{"If-Unmodified-Since: DATE-3600"}, Proceed},
		{"13.1.4: modified since", "", 0, strong, []string{"If-Unmodified-Since: DATE-3601"}, Failed},
		{"13.1.4: no date", "", 0, strong, []string{"If-Unmodified-Since: 0"}, Proceed},
		{"13.1.4: no Last-Modified", "", 0, bare, []string{"If-Unmodified-Since: DATE-9999"}, Proceed},

		{"13.2.2: If-Match before If-Unmodified-Since", "", 0, strong, []string{`If-Match: "a"`, "If-Unmodified-Since: DATE-9999"}, Proceed},
		{"13.2.2: If-Match before If-None-Match", "", 0, strong, []string{`If-Match: "b"`, `If-None-Match: "a"`}, Failed},
		{"13.2.2: If-None-Match after If-Match", "", 0, strong, []string{`If-Match: "a"`, `If-None-Match: "a"`}, NotModified},
		{"13.2.2: If-Unmodified-Since before If-None-Match", "", 0, strong, []string{"If-Unmodified-Since: DATE-9999", `If-None-Match: "a"`}, Failed},
		{"13.2.2: If-Modified-Since after If-Match", "", 0, strong, []string{`If-Match: "a"`, "If-Modified-Since: DATE+0"}, NotModified},

		{"13.2.1: not on a 404", "", 404, strong, []string{`If-None-Match: "a"`}, Proceed},
		{"13.2.1: not on a redirect", "", 301, strong, []string{`If-Match: "b"`}, Proceed},
		{"13.2.1: on any 2xx", "", 299, append(strong, "Cache-Control: public"), []string{`If-None-Match: "a"`}, NotModified},
		{"13.2.1: on a 203", "", 203, strong, []string{`If-None-Match: "a"`}, NotModified},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := request(tt.sent...)
			if tt.method != "" {
				r.Method = tt.method
			}
			if tt.status == 0 {
				tt.status = 200
			}
			same(t, "outcome", CheckConditions(r, NewStored(Keep(exchange(tt.status, tt.stored...)))), tt.want)
		})
	}
}

func TestTrimNotModified(t *testing.T) {
	for _, tt := range []struct {
		name        string
		lines, want []string
	}{
		{
			"15.4.5: what a 200 would say of caching",
			[]string{"Content-Location: /x", "Date: DATE+0", `ETag: "a"`, "Vary: Accept", "Cache-Control: public", "Expires: DATE+9"},
			[]string{"Content-Location: /x", "Date: DATE+0", `ETag: "a"`, "Vary: Accept", "Cache-Control: public", "Expires: DATE+9"},
		},
		{"15.4.5: nothing of the content", []string{`ETag: "a"`, "Content-Length: 5", "Content-Type: text/plain", "Content-Encoding: gzip", "Repr-Digest: x", "Last-Modified: DATE-9"}, []string{`ETag: "a"`}},
		{"15.4.5: Last-Modified for want of a tag", []string{"Content-Length: 5", "Last-Modified: DATE-9"}, []string{"Last-Modified: DATE-9"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := fields(tt.lines...)
			TrimNotModified(h)
			if !reflect.DeepEqual(h, fields(tt.want...)) {
				t.Errorf("left %v, want %v", h, fields(tt.want...))
			}
		})
	}
}

// FuzzETagList holds that a list that is made of tags has each of them, and no other.
func FuzzETagList(f *testing.F) {
	f.Add("a", "b\\", " ,")
	f.Add(`,"`, "", "x")
	f.Fuzz(func(t *testing.T, a, b, garbage string) {
		first, ok1 := ParseETag(`"` + a + `"`)
		second, ok2 := ParseETag(`W/"` + b + `"`)
		if !ok1 || !ok2 {
			return
		}
		lines := []string{garbage, string(first) + " ," + string(second)}
		if !first.listed(lines, true) || !first.listed(lines, false) || !second.listed(lines, false) {
			t.Errorf("%q is not found in %q", []ETag{first, second}, lines)
		}
		if second.listed(lines, true) {
			t.Errorf("%q is found by strong comparison", second)
		}
		if other := ETag(`"` + a + b + `-"`); other.listed(lines[1:], false) {
			t.Errorf("%q is found in %q", other, lines[1:])
		}
		if r := (&http.Request{Method: "GET", Header: http.Header{"If-None-Match": {garbage}}}); CheckConditions(r, stored(`ETag: "a"`)) == Failed {
			t.Errorf("%q fails a GET", garbage)
		}
	})
}
