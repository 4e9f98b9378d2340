package store

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/pureboot/pureboot/central/wire"
)

func TestWhatIsKeptOfAMachinesWords(t *testing.T) {
	for in, want := range map[string]string{
		"":                           "",
		"  Dell Inc. ":               "Dell Inc.",
		"a\nb\r\n\tc\x00d":           "a b c d",
		"\xff\xfeDell":               "Dell",
		"a\u202eb\u200b\u2028c":      "a b c",
		"Größe ${x} \"'`":            "Größe ${x} \"'`",
		strings.Repeat("é", 1000):    strings.Repeat("é", 20),
		strings.Repeat("a\n", 1000):  strings.TrimSpace(strings.Repeat("a ", 20)),
		strings.Repeat("\x00", 1000): "",
	} {
		if got := clean(in, 40); got != want {
			t.Errorf("%.40q: %q, want %q", in, got, want)
		}
	}
}

func FuzzClean(f *testing.F) {
	f.Add("a\nb", 10)
	f.Add("\xe2\x80\xa8é", 3)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		limit = limit & 0xfff
		got := clean(s, limit)
		if len(got) > limit || !printable(got) || !utf8.ValidString(got) || got != strings.TrimSpace(got) {
			t.Errorf("%q, %d: %q", s, limit, got)
		}
	})
}

// FuzzFacts says that whatever a machine says of itself, what is kept of it passes the check of an administrator's
// words.
func FuzzFacts(f *testing.F) {
	f.Add("host", "10.0.0.1", "x86_64", "uefi", "Dell", "R640", "7", "4c4c4544-0042-3510-8052-b4c04f4e4d31")
	f.Add("a b", "fe80::1%eth0", "z80", "", "a\nb", "\x00", "\"$(x)", "{4c4c4544-0042-3510-8052-b4c04f4e4d31}")
	f.Fuzz(func(t *testing.T, hostname, ip, arch, mode, vendor, model, serial, id string) {
		facts := factsOf("52:54:00:00:00:01", wire.Registration{
			Hostname: hostname, IPAddress: ip, Arch: arch, BootMode: mode, Vendor: vendor, Model: model, SerialNumber: serial, SystemUUID: id,
		})
		if found := facts.Check(); len(found) > 0 {
			t.Errorf("%+v: %v", facts, found)
		}
	})
}
