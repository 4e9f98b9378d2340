package httpcache

import "testing"

func TestETags(t *testing.T) {
	for _, tt := range []struct {
		name   string
		a, b   ETag
		strong bool
		weak   bool
	}{
		{"8.8.3.2: both weak, the same", `W/"1"`, `W/"1"`, false, true},
		{"8.8.3.2: both weak, others", `W/"1"`, `W/"2"`, false, false},
		{"8.8.3.2: one weak", `W/"1"`, `"1"`, false, true},
		{"8.8.3.2: both strong", `"1"`, `"1"`, true, true},
		{"8.8.3.2: both strong, others", `"1"`, `"2"`, false, false},
		{"8.8.3.2: none equals none of them", "", "", false, false},
		{"8.8.3.2: none and one", "", `"1"`, false, false},
		{"8.8.3.2: case counts", `"a"`, `"A"`, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			same(t, "strong", tt.a.StrongEqual(tt.b), tt.strong)
			same(t, "strong, the other way", tt.b.StrongEqual(tt.a), tt.strong)
			same(t, "weak", tt.a.WeakEqual(tt.b), tt.weak)
			same(t, "weak, the other way", tt.b.WeakEqual(tt.a), tt.weak)
		})
	}
}

func TestParseETag(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		ok         bool
	}{
		{"8.8.3: strong", `"xyzzy"`, true},
		{"8.8.3: weak", `W/"xyzzy"`, true},
		{"8.8.3: empty", `""`, true},
		{"8.8.3: with a comma, a backslash and more than ASCII", "\"a,\\é\"", true},
		{"8.8.3: without quotes", "xyzzy", false},
		{"8.8.3: weak in lower case", `w/"xyzzy"`, false},
		{"8.8.3: with a space", `"a b"`, false},
		{"8.8.3: with a control character", "\"a\x7f\"", false},
		{"8.8.3: not closed", `"a`, false},
		{"8.8.3: with more behind it", `"a"b`, false},
		{"8.8.3: two", `"a", "b"`, false},
		{"8.8.3: a quote alone", `"`, false},
		{"8.8.3: nothing", "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tag, ok := ParseETag(tt.text)
			same(t, "ok", ok, tt.ok)
			if ok {
				same(t, "tag", string(tag), tt.text)
			}
		})
	}
}

func TestStrongValidators(t *testing.T) {
	for _, tt := range []struct {
		name  string
		lines []string
		want  bool
	}{
		{"8.8.1: strong tag", []string{`ETag: "a"`}, true},
		{"8.8.1: weak tag", []string{`ETag: W/"a"`}, false},
		{"8.8.1: weak tag outdoes a strong date", []string{`ETag: W/"a"`, "Last-Modified: DATE-3600"}, false},
		{"8.8.3: tag without quotes is none", []string{"ETag: a"}, false},
		{"8.8.3: two tags are none", []string{`ETag: "a"`, `ETag: "b"`}, false},
		{"8.8.2.2: old date", []string{"Last-Modified: DATE-60"}, true},
		{"8.8.2.2: young date", []string{"Last-Modified: DATE-59"}, false},
		{"8.8.2.2: date ahead", []string{"Last-Modified: DATE+60"}, false},
		{"8.8.2.2: date that is none", []string{"Last-Modified: 0"}, false},
		{"8.8.1: nothing", nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			same(t, "strong", stored(append(tt.lines, "Date: DATE+0")...).Validators.Strong(), tt.want)
		})
	}
}
