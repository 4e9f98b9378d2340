package tftp

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
)

func TestCleanName(t *testing.T) {
	tests := []struct{ raw, want string }{
		{"ipxe.efi", "ipxe.efi"},
		{"/ipxe.efi", "ipxe.efi"},
		{"//boot///ipxe.efi", "boot/ipxe.efi"},
		{`\boot\\x64\wdsnbp.com`, "boot/x64/wdsnbp.com"},
		{"./boot/./ipxe.efi", "boot/ipxe.efi"},
		{"boot/", "boot"},
		{"ipxe.efi\xff", "ipxe.efi"},
		{"ipxe.efi\x00", "ipxe.efi"},
		{"ipxe.efi\xff\x00\xff", "ipxe.efi"},
		{"pxelinux.cfg/01-aa-bb-cc-dd-ee-ff", "pxelinux.cfg/01-aa-bb-cc-dd-ee-ff"},
		{"..ipxe...efi..", "..ipxe...efi.."},
		{"größe", "größe"},
		{"%2e%2e/passwd", "%2e%2e/passwd"},
		{"a b", "a b"},
		{strings.Repeat("a", maxName), strings.Repeat("a", maxName)},
		{strings.Repeat("/", maxName) + "a", "a"},

		{"", ""},
		{"/", ""},
		{`\`, ""},
		{".", ""},
		{"\xff", ""},
		{"..", ""},
		{"../etc/passwd", ""},
		{"/boot/../../etc/passwd", ""},
		{`boot\..\..\secret`, ""},
		{"boot/..\xff", ""},
		{"a\x00b", ""},
		{"a\nb", ""},
		{"a\x7fb", ""},
		{"a\u0085b", ""},
		{"a\xffb", ""},
		{"a\xff/", ""},
		{strings.Repeat("a", maxName+1), ""},
	}
	for _, tt := range tests {
		got, err := CleanName(tt.raw)
		if got != tt.want {
			t.Errorf("CleanName(%q) = %q, %v, want %q", tt.raw, got, err, tt.want)
		}
		if refused := errors.Is(err, fs.ErrInvalid); refused != (tt.want == "") {
			t.Errorf("CleanName(%q): error %v", tt.raw, err)
		}
	}
}

func FuzzCleanName(f *testing.F) {
	for _, raw := range []string{"/a//b", `..\a`, "a\xff", "a\xff/\x00", "./.", "ö/\u0085", "a/..b/ /c"} {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		name, err := CleanName(raw)
		if err != nil {
			if name != "" || !errors.Is(err, fs.ErrInvalid) {
				t.Fatalf("%q, %v", name, err)
			}
			return
		}
		if !fs.ValidPath(name) || name == "." || len(name) > maxName || strings.ContainsAny(name, "\\\x00\n") {
			t.Fatalf("unsafe: %q", name)
		}
		if again, err := CleanName(name); again != name || err != nil {
			t.Fatalf("cleaned twice: %q, %v", again, err)
		}
	})
}
