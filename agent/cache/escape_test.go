package cache

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"
)

func TestEscape(t *testing.T) {
	long := strings.Repeat("x", 300)
	for _, tt := range []struct {
		key           Key
		strict, aside bool
		want          string
	}{
		{key: "images/debian-12/linux", want: "images/debian-12/linux"},
		{key: "images/debian-12/linux", aside: true, want: "images%dir/debian-12%dir/linux%file"},
		{key: "a", aside: true, want: "a%file"},
		{key: "bootloaders/EFI/BOOTX64.EFI", want: "bootloaders/EFI/BOOTX64.EFI"},
		{key: "EFI/grub.cfg", strict: true, want: "%45%46%49/grub.cfg"},
		{key: ".meta/x", want: "%2emeta/x"},
		{key: "a/.hidden", want: "a/%2ehidden"},
		{key: "a/...", want: "a/%2e.."},
		{key: "a/b.", strict: true, want: "a/b%2e"},
		{key: "a%2eb", want: "a%252eb"},
		{key: "a%dir/b%file", want: "a%25dir/b%25file"},
		{key: "a\nb\x7f\x00", want: "a%0ab%7f%00"},
		{key: "größe", want: "größe"},
		{key: "größe", strict: true, want: "gr%c3%b6%c3%9fe"},
		{key: `a:b\c`, want: `a:b\c`},
		{key: `a:b\c`, strict: true, want: "a%3ab%5cc"},
		{key: "lost+found/x", want: "%6cost+found/x"},
		{key: Key(long), want: long[:250] + "%more/" + long[250:]},
		{key: Key(long[:250] + "..x"), want: long[:250] + "%more/%2e.x"},
	} {
		if got := escape(tt.key, tt.strict, tt.aside); got != tt.want {
			t.Errorf("escape(%q, strict %v, aside %v) = %q, want %q", tt.key, tt.strict, tt.aside, got, tt.want)
		}
	}
}

// FuzzEscape shows that a path gives its key back, in every form, and that a filesystem takes it.
func FuzzEscape(f *testing.F) {
	for _, seed := range []string{
		"images/debian-12/linux", ".part/1", "a%more/b", "a%", "..x/%2e", "A/a/Ä\x01", "lost+found",
		strings.Repeat("é", 400), strings.Repeat(".", 252), strings.Repeat("%", 200),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		key := Key(s)
		if key.Validate() != nil {
			t.Skip()
		}
		for _, strict := range []bool{false, true} {
			for _, aside := range []bool{false, true} {
				path := escape(key, strict, aside)
				back, err := unescape(path)
				if err != nil || back != key {
					t.Fatalf("%q came back from %q as %q, %v", key, path, back, err)
				}
				for name := range strings.SplitSeq(path, "/") {
					if name == "" || name[0] == '.' || len(name) > maxName || strings.ContainsAny(name, "\x00\n") {
						t.Fatalf("%q has the component %q", key, name)
					}
					if strict && strings.ToLower(name) != name {
						t.Fatalf("%q folds", name)
					}
				}
			}
		}
	})
}

// unescape is the proof that escape is reversible; nothing but a person needs it, since a
// record holds the key.
func unescape(path string) (Key, error) {
	var names []string
	var name strings.Builder
	whole := true
	for part := range strings.SplitSeq(path, "/") {
		piece, more := strings.CutSuffix(part, continued)
		if whole = !more; whole {
			piece = strings.TrimSuffix(strings.TrimSuffix(piece, asideDir), asideFile)
		}
		for {
			before, after, found := strings.Cut(piece, "%")
			name.WriteString(before)
			if !found {
				break
			}
			if len(after) < 2 {
				return "", errors.New("escape cut short")
			}
			raw, err := hex.DecodeString(after[:2])
			if err != nil {
				return "", err
			}
			name.Write(raw)
			piece = after[2:]
		}
		if whole {
			names = append(names, name.String())
			name.Reset()
		}
	}
	if !whole {
		return "", errors.New("last name goes on nowhere")
	}
	return Key(strings.Join(names, "/")), nil
}
