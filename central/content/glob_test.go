package content

import (
	"errors"
	"strings"
	"testing"

	"github.com/bmatcuk/doublestar/v4"
)

func TestGlob(t *testing.T) {
	for _, c := range []struct{ glob, name string }{
		{"images/debian-12/linux", "images/debian-12/linux"},
		{"images/**", "images/debian-12/linux"},
		{"**/linux", "images/debian-12/linux"},
		{"images/*/linux", "images/debian-12/linux"},
		{"images/{debian,ubuntu}-*/{linux,initrd{,.gz}}", "images/ubuntu-24/initrd.gz"},
		{"images/{debian,ubuntu}-*/{linux,initrd{,.gz}}", "images/debian-12/initrd"},
		{"images/[a-d{]*/**", "images/debian-12/linux"},
		{`images/a\*b`, "images/a*b"},
		{`images/\{a,b\}`, "images/{a,b}"},
		{"images/é?/{é,è}", "images/éa/è"},
		{"*/{a,b}", "scripts/b"},
	} {
		g, err := ParseGlob(c.glob)
		if err != nil || !g.Match(c.name) {
			t.Errorf("%s does not select %s: %v, %+v", c.glob, c.name, err, g)
		}
		if !strings.HasPrefix(c.name, g.prefix) {
			t.Errorf("%s: all begin with %q, says the glob, and %s does not", c.glob, g.prefix, c.name)
		}
		if g.Match("images/other") {
			if c.glob != "images/**" {
				t.Errorf("%s selects images/other", c.glob)
			}
		}
	}
	for _, bad := range []string{
		"", "[", "{a", `a\`, "a\xff", strings.Repeat("a", 513), strings.Repeat("{a,b}", 6), strings.Repeat("*{a,b}", 80),
	} {
		if _, err := ParseGlob(bad); !errors.Is(err, ErrGlob) {
			t.Errorf("%.40q is taken: %v", bad, err)
		}
	}
}

// What a glob is written out to selects what the glob itself does, and all of that begins with its prefix.
func FuzzGlob(f *testing.F) {
	for _, glob := range []string{"images/**", "{a,b{c,d}}/*", `\{a,b}`, "[{]a,b}", "[a-z]*{,x}?", "a/**/b", "{a,[,}]}", "[]a]{b,c}"} {
		f.Add(glob, "images/a/b")
		f.Add(glob, "a/b")
	}
	f.Fuzz(func(t *testing.T, glob, name string) {
		g, err := ParseGlob(glob)
		if err != nil || CheckPath("images", name) != nil || strings.Count(glob, "{") > 3 {
			return
		}
		got := g.Match(name)
		if want := doublestar.MatchUnvalidated(glob, name); got != want && !strings.Contains(glob, "{") {
			t.Errorf("%q selects %q: %v, want %v", glob, name, got, want)
		}
		if got && !strings.HasPrefix(name, g.prefix) {
			t.Errorf("%q selects %q, which does not begin with %q", glob, name, g.prefix)
		}
	})
}
