package content

import (
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestCheckPath(t *testing.T) {
	for _, path := range []string{
		"ipxe.efi", "debian-12/linux", "a b", "é", "..a/b..", ".hidden", "a%2fb", "C:",
		strings.Repeat("a", 255) + "/" + strings.Repeat("b", 255),
	} {
		if err := CheckPath("images", path); err != nil {
			t.Errorf("%q is refused: %v", path, err)
		}
	}
	for _, path := range []string{
		"", ".", "..", "/a", "a/", "a//b", "./a", "a/./b", "a/../b", "../a", `a\b`, `..\a`, "a\x00b", "a\nb", "a\x7f",
		"a\xffb", "\u0085", strings.Repeat("a", 256), strings.Repeat("a/", 256) + "b",
	} {
		if err := CheckPath("images", path); err == nil {
			t.Errorf("%q is accepted", path)
		}
	}
	for _, category := range []string{"", "Images", "blobs", "images/..", ".."} {
		if err := CheckPath(category, "a"); err == nil {
			t.Errorf("category %q is accepted", category)
		}
	}
}

// A path that passes stays below its category on any filesystem, and has one spelling only.
func FuzzCheckPath(f *testing.F) {
	for _, path := range []string{"a/b", "../a", "a/../../b", `a\..\b`, "/etc/passwd", "a\x00", "a//b", "%2e%2e/a"} {
		f.Add("images", path)
	}
	f.Fuzz(func(t *testing.T, category, path string) {
		if CheckPath(category, path) != nil {
			return
		}
		root := filepath.Join("/", "root", category)
		joined := filepath.Join(root, path)
		if rel, err := filepath.Rel(root, joined); err != nil || rel != path || !filepath.IsLocal(path) {
			t.Errorf("%q leads to %q", path, joined)
		}
		if len(path) > 512 || !utf8.ValidString(path) || strings.ContainsAny(path, "\\\x00\r\n") {
			t.Errorf("%q is accepted", path)
		}
	})
}
