package wire

import (
	"strings"
	"testing"
)

const identity, gzip, zstd = "", "gzip", "zstd"

// negotiate offers both codings, the smaller one last.
func negotiate(fields ...string) string { return PreferredCoding(fields, gzip, zstd) }

func TestPreferredCoding(t *testing.T) {
	for _, tt := range []struct {
		rule   string // of RFC 9110, or why it is so
		fields []string
		want   string
	}{
		{"12.5.3: without the field any coding would do; firmware gets the file", nil, identity},
		{"12.5.3: an empty field wants no coding", []string{""}, identity},
		{"12.5.3: what is listed is acceptable", []string{"gzip"}, gzip},
		{"12.5.3: what is not listed is not", []string{"br, deflate"}, identity},
		{"8.4.1: codings are case-insensitive", []string{"ZStd"}, zstd},
		{"8.4.1.3: x-gzip is gzip", []string{"x-gzip"}, gzip},
		{"12.5.3: the highest weight is preferred", []string{"zstd;q=0.3, gzip;q=0.8"}, gzip},
		{"12.5.3: at the same weight zstd is smaller", []string{"gzip, deflate, br, zstd"}, zstd},
		{"12.5.3: at the same weight zstd is smaller", []string{"zstd;q=0.5, gzip;q=0.5"}, zstd},
		{"12.4.2: weight 0 is not acceptable", []string{"gzip;q=0"}, identity},
		{"12.4.2: weight 0 is not acceptable", []string{"zstd;q=0.000, gzip;q=0.001"}, gzip},
		{"12.4.2: without a weight it is 1", []string{"zstd;q=0.999, gzip"}, gzip},
		{"12.5.3: * is what is not listed", []string{"*"}, zstd},
		{"12.5.3: * is what is not listed", []string{"zstd;q=0, *"}, gzip},
		{"12.5.3: * is what is not listed", []string{"gzip;q=0.5, *;q=0.1"}, gzip},
		{"12.5.3: * is what is not listed", []string{"gzip;q=0.5, *;q=0"}, gzip},
		{"12.5.3: *;q=0 accepts nothing", []string{"*;q=0"}, identity},
		{"12.5.3: identity has a weight too", []string{"identity, gzip;q=0.5, zstd;q=0.9"}, identity},
		{"12.5.3: identity has a weight too", []string{"identity;q=0.5, gzip;q=0.6"}, gzip},
		{"12.5.3: * may be identity", []string{"gzip;q=0.5, zstd;q=0, *"}, identity},
		{"12.5.3: identity that is not listed comes last", []string{"gzip;q=0.001"}, gzip},
		{"12.5.3: identity may be refused", []string{"identity;q=0, gzip;q=0.1"}, gzip},
		{"12.4: what accepts nothing is disregarded", []string{"identity;q=0"}, identity},
		{"12.4: what accepts nothing is disregarded", []string{"br, *;q=0"}, identity},
		{"5.3: lines of one field are one list", []string{"gzip;q=0.1", "zstd;q=0.2"}, zstd},
		{"5.6.1: members may be empty", []string{", ,gzip,,"}, gzip},
		{"5.6.3, 12.4.2: white space around", []string{"\t gzip \t;\t q=0.5\t ,br"}, gzip},
		{"12.4.2: q is case-insensitive", []string{"gzip;Q=0, zstd;Q=1.000"}, zstd},
		{"12.4.2: the dot may end it", []string{"zstd;q=0., gzip;q=1."}, gzip},
		{"what is said twice counts as the less of both", []string{"gzip, zstd, zstd;q=0"}, gzip},
		{"malformed: a weight above 1", []string{"gzip;q=1.001"}, identity},
		{"malformed: a weight above 1", []string{"gzip;q=2"}, identity},
		{"malformed: four digits", []string{"gzip;q=0.5000"}, identity},
		{"malformed: no digits", []string{"gzip;q=0.x"}, identity},
		{"malformed: no digits", []string{"gzip;q=-1, zstd;q=+1"}, identity},
		{"malformed: no value", []string{"gzip;q="}, identity},
		{"malformed: no value", []string{"gzip;q"}, identity},
		{"malformed: nothing after the semicolon", []string{"gzip;"}, identity},
		{"malformed: another parameter", []string{"gzip;level=9"}, identity},
		{"malformed: more than a weight", []string{"gzip;q=1;q=1"}, identity},
		{"malformed: two codings in a member", []string{"gzip zstd"}, identity},
		{"malformed: the others still count", []string{"zstd;q=x, gzip"}, gzip},
	} {
		if got := negotiate(tt.fields...); got != tt.want {
			t.Errorf("%s: %q gets %q, want %q", tt.rule, tt.fields, got, tt.want)
		}
	}
}

// FuzzPreferredCoding holds the choice to what can be said without reading weights.
func FuzzPreferredCoding(f *testing.F) {
	for _, seed := range []string{"", "gzip, zstd;q=0.5", "*;q=0.1,identity;q=0", "x-gzip;Q=1.", "gzip;q=0.5;q=1, ,\t*"} {
		f.Add(seed, "")
	}
	f.Add("gzip", "zstd")
	f.Fuzz(func(t *testing.T, a, b string) {
		got := negotiate(a, b)
		if alone := PreferredCoding([]string{a, b}, zstd); got == zstd && alone != zstd {
			t.Errorf("%q and %q get zstd where gzip is offered too, and %q where it is not", a, b, alone)
		}
		if joined := negotiate(a + "," + b); joined != got {
			t.Errorf("%q and %q get %q, and %q as one line", a, b, got, joined)
		}
		if all := strings.ToLower(a + "," + b); got != identity && !strings.Contains(all, got) && !strings.Contains(all, "*") {
			t.Errorf("%q and %q get %q, which they do not mention", a, b, got)
		}
		if refused := negotiate(a, b, "gzip;q=0", "zstd;q=0"); refused != identity {
			t.Errorf("%q and %q get %q although it is refused", a, b, refused)
		}
	})
}
