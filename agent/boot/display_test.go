package boot

import (
	"strings"
	"testing"
)

func TestDisplay(t *testing.T) {
	for text, want := range map[string]string{
		"Installing, attempt 1 of 3.": "Installing, attempt 1 of 3.",
		"a\nb\tc":                     "a b c",
		`say "x" 'y'`:                 "say x y",
		"$(id) && ${x} || y; # z":     "?(id) ?? ??x? ?? y? ? z",
		" -n --x":                     "n --x",
		"":                            "",
		"Zürich":                      "Z?rich",
		strings.Repeat("a", 500):      strings.Repeat("a", maxDisplay) + "...",
	} {
		if got := display(text); got != want {
			t.Errorf("%q shows as %q, want %q", text, got, want)
		}
	}
}

func FuzzDisplay(f *testing.F) {
	f.Add("plain")
	f.Add("\n-- ${x} \xff \\")
	f.Fuzz(func(t *testing.T, text string) {
		got := display(text)
		if !only(got, alphanumeric+" .,:/_()+=@%-?") || strings.HasPrefix(got, "-") || len(got) > maxDisplay+3 {
			t.Errorf("%q shows as %q", text, got)
		}
		if display(got) != got && len(got) <= maxDisplay {
			t.Errorf("%q is not at rest: %q", got, display(got))
		}
	})
}
