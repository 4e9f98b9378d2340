package httpcache

import (
	"net/http"
	"reflect"
	"strings"
	"testing"
)

// TestResponseDirectives compares what is read by what it prints as.
func TestResponseDirectives(t *testing.T) {
	for _, tt := range []struct {
		name  string
		lines []string // of Cache-Control
		want  string
	}{
		{"5.2: nothing", nil, ""},
		{"5.2: empty field", []string{""}, ""},
		{"5.2: empty members", []string{", ,no-store,,"}, "no-store"},
		{"5.2: names in any case", []string{"No-Store, PUBLIC, Max-Age=5, S-MAXAGE=6"}, "no-store, public, max-age=5, s-maxage=6"},
		{"5.2: several lines", []string{"public", "max-age=5"}, "public, max-age=5"},
		{"5.2: optional whitespace around commas", []string{"public \t,\t max-age=5 "}, "public, max-age=5"},
		{"5.2: no whitespace around commas", []string{"public,max-age=5"}, "public, max-age=5"},
		{"5.2.3: unknown directive", []string{`community="UCI", foo, bar=1, max-age=5`}, "max-age=5"},
		{"5.2.3: name that only begins as a known one", []string{"max-age-x=5, no-storey"}, ""},
		{"5.2.3: name within a quoted string", []string{`foo="a, no-store, max-age=9", max-age=5`}, "max-age=5"},
		{"5.2.3: name within a quoted string behind an empty one", []string{`foo="", bar="a, no-store"`}, ""},
		{"5.2.3: escaped quote within a quoted string", []string{`foo="a\", no-store", max-age=5`}, "max-age=5"},
		{"5.2: quote that is never closed hides nothing", []string{`foo="a, no-store`}, "no-store"},
		{"5.2: quote that is closed on another line hides nothing", []string{`foo="a, no-store`, `b", no-transform`}, "no-store, no-transform"},
		{"5.2: quotes after one that is never closed", []string{`a="\", private, \", no-store`}, "no-store, private"},
		{"5.2: everything at once", []string{
			"no-store, no-transform, must-revalidate, proxy-revalidate, must-understand, public, immutable, no-cache, private",
			"max-age=1, s-maxage=2, stale-while-revalidate=3, stale-if-error=4",
		}, "no-store, no-transform, must-revalidate, proxy-revalidate, must-understand, public, immutable, no-cache, private, max-age=1, s-maxage=2, stale-while-revalidate=3, stale-if-error=4"},

		{"1.2.2: zero", []string{"max-age=0"}, "max-age=0"},
		{"1.2.2: leading zeros", []string{"max-age=007"}, "max-age=7"},
		{"1.2.2: more than 2^31", []string{"max-age=2147483649"}, "max-age=2147483648"},
		{"1.2.2: more than 2^63", []string{"max-age=" + strings.Repeat("9", 400)}, "max-age=2147483648"},
		{"1.2.2: zeros before more than 2^63", []string{"max-age=" + strings.Repeat("0", 400) + "5"}, "max-age=5"},
		{"5.2.2.1: quoted argument", []string{`max-age="5"`}, "max-age=5"},
		{"5.2.2.1: quoted argument with an escape", []string{`max-age="1\0"`}, "max-age=10"},
		{"4.2.1: missing argument is stale", []string{"max-age"}, "max-age=0"},
		{"4.2.1: empty argument is stale", []string{"max-age="}, "max-age=0"},
		{"4.2.1: negative argument is stale", []string{"max-age=-5"}, "max-age=0"},
		{"4.2.1: argument with a plus is stale", []string{"max-age=+5"}, "max-age=0"},
		{"4.2.1: fraction is stale", []string{"max-age=5.5"}, "max-age=0"},
		{"4.2.1: word is stale", []string{"max-age=soon"}, "max-age=0"},
		{"4.2.1: hexadecimal is stale", []string{"max-age=0x10"}, "max-age=0"},
		{"4.2.1: digits and more are stale", []string{"max-age=10s"}, "max-age=0"},
		{"4.2.1: single quotes are stale", []string{"max-age='10'"}, "max-age=0"},
		{"4.2.1: whitespace before the equals sign is stale", []string{"max-age =5"}, "max-age=0"},
		{"4.2.1: whitespace after the equals sign is stale", []string{"max-age= 5"}, "max-age=0"},
		{"4.2.1: whitespace within the quotes is stale", []string{`max-age=" 5"`}, "max-age=0"},
		{"4.2.1: semicolon for a comma is stale", []string{"max-age=5; public"}, "max-age=0"},
		{"4.2.1: two numbers are stale", []string{"max-age=5 6"}, "max-age=0"},
		{"4.2.1: argument cut within its quotes is stale", []string{`max-age="5`}, "max-age=0"},
		{"4.2.1: of several the first counts", []string{"max-age=5, max-age=9"}, "max-age=5"},
		{"4.2.1: of several the first counts, though larger", []string{"max-age=9", "max-age=5"}, "max-age=9"},
		{"4.2.1: of several the first counts, though malformed", []string{"max-age=x, max-age=5"}, "max-age=0"},
		{"4.2.1: s-maxage malformed", []string{"s-maxage=x, max-age=5"}, "max-age=5, s-maxage=0"},
		{"4.2.1: directives in conflict are all kept", []string{"max-age=5, no-cache"}, "no-cache, max-age=5"},

		{"5.2.2.4: no-cache with fields", []string{`no-cache="set-cookie, X-A"`}, `no-cache="Set-Cookie, X-A"`},
		{"5.2.2.4: no-cache with one field as a token", []string{"no-cache=Set-Cookie"}, `no-cache="Set-Cookie"`},
		{"5.2.2.4: no-cache of two kinds is for all", []string{`no-cache="a", no-cache`}, "no-cache"},
		{"5.2.2.4: no-cache of two kinds is for all, the other way", []string{`no-cache, no-cache="a"`}, "no-cache"},
		{"5.2.2.4: no-cache with fields twice", []string{`no-cache="b, A", no-cache="a"`}, `no-cache="A, B"`},
		{"5.2.2.4: no-cache with no field is for all", []string{`no-cache=""`}, "no-cache"},
		{"5.2.2.4: no-cache with no argument is for all", []string{"no-cache="}, "no-cache"},
		{"5.2.2.4: no-cache with what is no field is for all", []string{`no-cache="a b"`}, "no-cache"},
		{"5.2.2.7: private with fields", []string{`private="x-user"`}, `private="X-User"`},
		{"5.2.2.7: private cut within its quotes is for all", []string{`private="x-user, max-age=5`}, "private, max-age=5"},
		{"5.2.2.7: private with more behind its quotes is for all", []string{`private="a"b`}, "private"},

		{"5.2: what is malformed can only restrict: no-store", []string{"no-store =1"}, "no-store"},
		{"5.2: what is malformed can only restrict: must-revalidate", []string{`must-revalidate"`}, "must-revalidate"},
		{"5.2: what is malformed can only restrict: public", []string{"public =1"}, ""},
		{"5.2: what is malformed can only restrict: must-understand", []string{`must-understand="`}, ""},
		{"5.2: what is malformed can only restrict: the windows", []string{"stale-while-revalidate=x, stale-if-error"}, "stale-while-revalidate=0, stale-if-error=0"},
		{"5.2.2: argument where there is none", []string{"no-store=1, public=yes, must-revalidate=x"}, "no-store, must-revalidate, public"},
		{"5.2.2: empty argument where there is none", []string{`public=""`}, "public"},
		{"5.6.2 of 9110: any token names a field", []string{"no-cache=!a, private=zZ"}, `no-cache="!a", private="Zz"`},
		{"RFC 8246 2: immutable ignores its argument", []string{"immutable=1, immutable"}, "immutable"},
		{"RFC 5861 3 and 4", []string{"stale-while-revalidate=30, stale-if-error=60"}, "stale-while-revalidate=30, stale-if-error=60"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			same(t, "directives", ParseResponseControl(http.Header{"Cache-Control": tt.lines}).String(), tt.want)
		})
	}
	t.Run("5.4: Pragma says nothing in a response", func(t *testing.T) {
		same(t, "directives", ParseResponseControl(fields("Pragma: no-cache")).String(), "")
	})
}

func TestRequestDirectives(t *testing.T) {
	for _, tt := range []struct {
		name  string
		lines []string
		want  string
	}{
		{"5.2.1: nothing", nil, ""},
		{
			"5.2.1: everything",
			[]string{"Cache-Control: no-cache, no-store, no-transform, only-if-cached, max-age=1, min-fresh=2, max-stale=3, stale-if-error=4"},
			"no-cache, no-store, no-transform, only-if-cached, max-age=1, min-fresh=2, max-stale=3, stale-if-error=4",
		},
		{"5.2.1.1: malformed max-age asks for validation", []string{"Cache-Control: max-age=x"}, "max-age=0"},
		{"5.2.1.1: quoted", []string{`Cache-Control: max-age="7"`}, "max-age=7"},
		{"5.2.1.2: max-stale without an argument is any", []string{"Cache-Control: max-stale"}, "max-stale=2147483648"},
		{"5.2.1.2: malformed max-stale is none", []string{"Cache-Control: max-stale=x"}, "max-stale=0"},
		{"5.2.1.2: empty max-stale is none", []string{"Cache-Control: max-stale="}, "max-stale=0"},
		{"5.2.1.2: garbage behind max-stale is none", []string{"Cache-Control: max-stale 5"}, "max-stale=0"},
		{"5.2.1.2: the first max-stale counts", []string{"Cache-Control: max-stale=5, max-stale"}, "max-stale=5"},
		{"5.2.1.2: the first max-stale counts, the other way", []string{"Cache-Control: max-stale, max-stale=5"}, "max-stale=2147483648"},
		{"5.2.1.3: min-fresh without an argument", []string{"Cache-Control: min-fresh"}, "min-fresh=0"},
		{"5.2.2: a response's directives say nothing", []string{"Cache-Control: public, s-maxage=5, must-revalidate, private"}, ""},
		{"5.4: Pragma", []string{"Pragma: no-cache"}, "no-cache"},
		{"5.4: Pragma in capitals among others", []string{`Pragma: foo, NO-CACHE="x"`}, "no-cache"},
		{"5.4: another Pragma", []string{"Pragma: cache, x=no-cache"}, ""},
		{"5.4: Cache-Control wins over Pragma", []string{"Pragma: no-cache", "Cache-Control: max-age=9"}, "max-age=9"},
		{"5.4: even an empty Cache-Control wins over Pragma", []string{"Pragma: no-cache", "Cache-Control:"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			same(t, "directives", ParseRequestControl(fields(tt.lines...)).String(), tt.want)
		})
	}
}

// FuzzCacheControl holds that what is read prints as what reads the same, and that a line of garbage
// never takes away a restriction that stands in front of it.
func FuzzCacheControl(f *testing.F) {
	for _, seed := range []string{
		"", "no-store", "max-age=5, s-maxage=\"6\"", `private="a, b", no-cache="c"`, `foo="a\", no-store`, "max-stale", "max-age=99999999999999999999",
		`no-cache=a, no-cache="\a", private=",", public=,=,`, "\"\\\",\"\\\",\"",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		h := http.Header{"Cache-Control": {value}}
		response := ParseResponseControl(h)
		if again := ParseResponseControl(http.Header{"Cache-Control": {response.String()}}); !reflect.DeepEqual(again, response) {
			t.Errorf("%q read as %+v, printed as %q, read as %+v", value, response, response, again)
		}
		request := ParseRequestControl(h)
		if again := ParseRequestControl(http.Header{"Cache-Control": {request.String()}}); again != request {
			t.Errorf("%q read as %+v, printed as %q, read as %+v", value, request, request, again)
		}
		strict := ParseResponseControl(http.Header{"Cache-Control": {"no-store, max-age=0, private, " + value}})
		if !strict.NoStore || strict.MaxAge.Value != 0 || !strict.Private.All {
			t.Errorf("%q behind other directives undid them: %v", value, strict)
		}
	})
}
