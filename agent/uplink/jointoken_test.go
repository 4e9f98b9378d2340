package uplink

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestJoinToken(t *testing.T) {
	pin := strings.Repeat("0a", 32)
	good := "pbj1." + pin + ".0123456789abcdef." + joinSecret
	for _, text := range []string{good, good + "\n", " \t" + good + "\r\n", strings.Replace(good, "0a", "0A", 1)} {
		token, err := ParseJoinToken(text)
		if err != nil || token.ID != "0123456789abcdef" || fmt.Sprintf("%x", token.Pin) != pin || token.text != strings.TrimSpace(text) {
			t.Errorf("%q: %v, %v", text, token, err)
		}
		for _, verb := range []string{"%v", "%+v", "%s"} {
			if strings.Contains(fmt.Sprintf(verb, token), joinSecret) {
				t.Errorf("%s prints the secret", verb)
			}
		}
	}
	for name, text := range map[string]string{
		"empty":              "",
		"cut":                good[:len(good)/2],
		"without its secret": "pbj1." + pin + ".0123456789abcdef.",
		"a short secret":     "pbj1." + pin + ".0123456789abcdef." + joinSecret[:12],
		"a long secret":      "pbj1." + pin + ".0123456789abcdef." + strings.Repeat("x", 400),
		"without its id":     "pbj1." + pin + ".." + joinSecret,
		"a short pin":        "pbj1." + pin[2:] + ".0123456789abcdef." + joinSecret,
		"no hexadecimal":     "pbj1." + strings.Repeat("zz", 32) + ".0123456789abcdef." + joinSecret,
		"another kind":       "pbj2." + pin + ".0123456789abcdef." + joinSecret,
		"an admin's token":   "pbt_0123456789abcdef_" + joinSecret,
		"two lines":          good + "\n" + good,
		"a fifth part":       good + ".x",
		"a space inside":     strings.Replace(good, "abcdef", "abc ef", 1),
		"a quote inside":     good + `"`,
	} {
		_, err := ParseJoinToken(text)
		if !errors.Is(err, errJoinToken) {
			t.Errorf("%s: %v", name, err)
		}
		mustNotTell(t, err, joinSecret[:12])
	}
}

func FuzzJoinToken(f *testing.F) {
	pin := strings.Repeat("0a", 32)
	for _, seed := range []string{"", "pbj1", "pbj1...", "pbj1." + pin + ".id." + joinSecret, "pbj1." + pin + ".id.\x00" + joinSecret} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		token, err := ParseJoinToken(text)
		if err != nil {
			if err.Error() != errJoinToken.Error() { // always the same words, so none of the token's
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		again, err := ParseJoinToken(token.text)
		if err != nil || again != token || !strings.HasPrefix(token.text, fmt.Sprintf("pbj1.%s.%s.", token.text[5:69], token.ID)) {
			t.Errorf("%q: %+v, %+v, %v", text, token, again, err)
		}
	})
}
