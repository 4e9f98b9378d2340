package content

import (
	"strings"
	"testing"
)

func TestNegotiate(t *testing.T) {
	for _, tt := range []struct {
		rule   string // of RFC 9110, or why it is so
		fields []string
		want   Coding
	}{
		{"12.5.3: without the field any coding would do; firmware gets the file", nil, Identity},
		{"12.5.3: an empty field wants no coding", []string{""}, Identity},
		{"12.5.3: what is listed is acceptable", []string{"gzip"}, Gzip},
		{"12.5.3: what is not listed is not", []string{"br, deflate"}, Identity},
		{"8.4.1: codings are case-insensitive", []string{"ZStd"}, Zstd},
		{"8.4.1.3: x-gzip is gzip", []string{"x-gzip"}, Gzip},
		{"12.5.3: the highest weight is preferred", []string{"zstd;q=0.3, gzip;q=0.8"}, Gzip},
		{"12.5.3: at the same weight zstd is smaller", []string{"gzip, deflate, br, zstd"}, Zstd},
		{"12.5.3: at the same weight zstd is smaller", []string{"zstd;q=0.5, gzip;q=0.5"}, Zstd},
		{"12.4.2: weight 0 is not acceptable", []string{"gzip;q=0"}, Identity},
		{"12.4.2: weight 0 is not acceptable", []string{"zstd;q=0.000, gzip;q=0.001"}, Gzip},
		{"12.4.2: without a weight it is 1", []string{"zstd;q=0.999, gzip"}, Gzip},
		{"12.5.3: * is what is not listed", []string{"*"}, Zstd},
		{"12.5.3: * is what is not listed", []string{"zstd;q=0, *"}, Gzip},
		{"12.5.3: * is what is not listed", []string{"gzip;q=0.5, *;q=0.1"}, Gzip},
		{"12.5.3: * is what is not listed", []string{"gzip;q=0.5, *;q=0"}, Gzip},
		{"12.5.3: *;q=0 accepts nothing", []string{"*;q=0"}, Identity},
		{"12.5.3: identity has a weight too", []string{"identity, gzip;q=0.5, zstd;q=0.9"}, Identity},
		{"12.5.3: identity has a weight too", []string{"identity;q=0.5, gzip;q=0.6"}, Gzip},
		{"12.5.3: * may be identity", []string{"gzip;q=0.5, zstd;q=0, *"}, Identity},
		{"12.5.3: identity that is not listed comes last", []string{"gzip;q=0.001"}, Gzip},
		{"12.5.3: identity may be refused", []string{"identity;q=0, gzip;q=0.1"}, Gzip},
		{"12.4: what accepts nothing is disregarded", []string{"identity;q=0"}, Identity},
		{"12.4: what accepts nothing is disregarded", []string{"br, *;q=0"}, Identity},
		{"5.3: lines of one field are one list", []string{"gzip;q=0.1", "zstd;q=0.2"}, Zstd},
		{"5.6.1: members may be empty", []string{", ,gzip,,"}, Gzip},
		{"5.6.3, 12.4.2: white space around", []string{"\t gzip \t;\t q=0.5\t ,br"}, Gzip},
		{"12.4.2: q is case-insensitive", []string{"gzip;Q=0, zstd;Q=1.000"}, Zstd},
		{"12.4.2: the dot may end it", []string{"zstd;q=0., gzip;q=1."}, Gzip},
		{"what is said twice counts as the less of both", []string{"gzip, zstd, zstd;q=0"}, Gzip},
		{"malformed: a weight above 1", []string{"gzip;q=1.001"}, Identity},
		{"malformed: a weight above 1", []string{"gzip;q=2"}, Identity},
		{"malformed: four digits", []string{"gzip;q=0.5000"}, Identity},
		{"malformed: no digits", []string{"gzip;q=0.x"}, Identity},
		{"malformed: no digits", []string{"gzip;q=-1, zstd;q=+1"}, Identity},
		{"malformed: no value", []string{"gzip;q="}, Identity},
		{"malformed: no value", []string{"gzip;q"}, Identity},
		{"malformed: nothing after the semicolon", []string{"gzip;"}, Identity},
		{"malformed: another parameter", []string{"gzip;level=9"}, Identity},
		{"malformed: more than a weight", []string{"gzip;q=1;q=1"}, Identity},
		{"malformed: two codings in a member", []string{"gzip zstd"}, Identity},
		{"malformed: the others still count", []string{"zstd;q=x, gzip"}, Gzip},
	} {
		if got := Negotiate(tt.fields); got != tt.want {
			t.Errorf("%s: %q gets %q, want %q", tt.rule, tt.fields, got, tt.want)
		}
	}
}

// FuzzNegotiate holds the choice to what can be said without reading weights.
func FuzzNegotiate(f *testing.F) {
	for _, seed := range []string{"", "gzip, zstd;q=0.5", "*;q=0.1,identity;q=0", "x-gzip;Q=1.", "gzip;q=0.5;q=1, ,\t*"} {
		f.Add(seed, "")
	}
	f.Add("gzip", "zstd")
	f.Fuzz(func(t *testing.T, a, b string) {
		got := Negotiate([]string{a, b})
		if joined := Negotiate([]string{a + "," + b}); joined != got {
			t.Errorf("%q and %q get %q, and %q as one line", a, b, got, joined)
		}
		if all := strings.ToLower(a + "," + b); got != Identity && !strings.Contains(all, string(got)) && !strings.Contains(all, "*") {
			t.Errorf("%q and %q get %q, which they do not mention", a, b, got)
		}
		if refused := Negotiate([]string{a, b, "gzip;q=0", "zstd;q=0"}); refused != Identity {
			t.Errorf("%q and %q get %q although it is refused", a, b, refused)
		}
	})
}
