package cache

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestNamesStepAside(t *testing.T) {
	for _, tt := range []struct {
		name string
		keys []Key
		want []string
	}{
		{"file first", []Key{"a", "a/b", "a/c"}, []string{"a", "a%dir/b%file", "a%dir/c%file"}},
		{"directory first", []Key{"a/b", "a"}, []string{"a/b", "a%file"}},
		{"three deep", []Key{"a/b/c", "a/b", "a"}, []string{"a/b/c", "a%dir/b%file", "a%file"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := newNames(false)
			for i, key := range tt.keys {
				if got := n.hold(key); got != tt.want[i] {
					t.Errorf("hold(%q) = %q, want %q", key, got, tt.want[i])
				}
			}
		})
	}
}

func TestDirectoriesAreReleasedWithTheirLastName(t *testing.T) {
	n := newNames(false)
	n.hold("a/b/c")
	n.hold("a/b/c")
	n.hold("a/d")
	if got := n.release("a/b/c"); got != nil {
		t.Errorf("released %q while it is held", got)
	}
	if got := n.release("a/b/c"); !slices.Equal(got, []string{"a/b"}) {
		t.Errorf("released %q, want a/b", got)
	}
	if got := n.release("a/d"); !slices.Equal(got, []string{"a"}) {
		t.Errorf("released %q, want a", got)
	}
	if len(n.held)+len(n.files)+len(n.dirs) != 0 {
		t.Errorf("left over: %v %v %v", n.held, n.files, n.dirs)
	}
}

// TestNamesNeverCollide holds and releases short keys that love to be each other's directories.
func TestNamesNeverCollide(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := newNames(rapid.Bool().Draw(t, "strict"))
		paths := map[Key]string{}
		key := rapid.StringMatching(`[aA%](/[aA%]){0,3}`)
		t.Repeat(map[string]func(*rapid.T){
			"hold": func(t *rapid.T) {
				k := Key(key.Draw(t, "key"))
				if paths[k] != "" {
					t.Skip("held")
				}
				paths[k] = n.hold(k)
			},
			"release": func(t *rapid.T) {
				k := Key(key.Draw(t, "key"))
				if paths[k] == "" {
					t.Skip("not held")
				}
				n.release(k)
				delete(paths, k)
			},
			"": func(t *rapid.T) {
				for k, p := range paths {
					for other, q := range paths {
						if k != other && (p == q || strings.HasPrefix(q, p+"/")) {
							t.Fatalf("%q at %q is in the way of %q at %q", k, p, other, q)
						}
					}
				}
			},
		})
	})
}
