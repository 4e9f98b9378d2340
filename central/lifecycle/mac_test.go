package lifecycle

import (
	"errors"
	"net"
	"strings"
	"testing"
)

func TestParseMAC(t *testing.T) {
	for _, in := range []string{
		"52:54:00:ab:cd:ef", "52:54:00:AB:CD:EF", "52-54-00-ab-cd-ef", "52-54-00-AB-CD-EF", "525400abcdef", "525400ABCDEF",
		"5254.00ab.cdef", "5254.00AB.CDEF",
	} {
		if got, err := ParseMAC(in); got != "52:54:00:ab:cd:ef" || err != nil {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
}

func TestParseMACRefuses(t *testing.T) {
	for name, in := range map[string]string{
		"empty":           "",
		"short":           "52:54:00:ab:cd",
		"long":            "52:54:00:ab:cd:ef:01",
		"mixed":           "52:54-00:ab:cd:ef",
		"mixed dots":      "5254.00ab:cdef",
		"shifted":         "525:4:00:ab:cd:ef",
		"letters":         "52:54:00:ab:cd:eg",
		"space":           " 52:54:00:ab:cd:ef",
		"newline":         "52:54:00:ab:cd:ef\n",
		"signs":           "+2:54:00:ab:cd:ef",
		"two-byte letter": "52:54:00:ab:cd:é",
		"zero":            "00:00:00:00:00:00",
		"broadcast":       "ff:ff:ff:ff:ff:ff",
		"multicast":       "01:00:5e:00:00:01",
		"huge":            strings.Repeat("52:", 10000),
	} {
		_, err := ParseMAC(in)
		if !errors.Is(err, ErrMAC) {
			t.Errorf("%s: %v, want ErrMAC", name, err)
		} else if len(err.Error()) > 250 {
			t.Errorf("%s: the message is %d bytes long", name, len(err.Error()))
		}
	}
}

func FuzzParseMAC(f *testing.F) {
	for _, seed := range []string{"52:54:00:ab:cd:ef", "52-54-00-AB-CD-EF", "525400abcdef", "5254.00ab.cdef", "ff:ff:ff:ff:ff:ff", "\x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := ParseMAC(s)
		if err != nil {
			if !errors.Is(err, ErrMAC) || got != "" {
				t.Fatalf("%q: %q, %v", s, got, err)
			}
			return
		}
		hw, err := net.ParseMAC(got)
		if err != nil || hw.String() != got {
			t.Fatalf("%q became %q, which the standard library reads as %v, %v", s, got, hw, err)
		}
		digits := strings.ToLower(strings.NewReplacer(":", "", "-", "", ".", "").Replace(s))
		if digits != strings.ReplaceAll(got, ":", "") {
			t.Fatalf("%q became %q", s, got)
		}
		if again, err := ParseMAC(got); again != got || err != nil {
			t.Fatalf("%q is not stable: %q, %v", got, again, err)
		}
	})
}
