package cache

import (
	"os"
	"path/filepath"
	"testing"
)

// TestIndexSparesOnlyWork: whatever the index is, everything that is on disk is found, and nothing else.
func TestIndexSparesOnlyWork(t *testing.T) {
	a, b, c := newOrigin(1, 1000), newOrigin(2, 2*ChunkSize+1), newOrigin(3, 1000)
	for name, damage := range map[string]func(t *testing.T, index string){
		"as it was": func(*testing.T, string) {},
		"gone":      remove,
		"garbage":   func(t *testing.T, index string) { write(t, index, []byte("garbage")) },
		"cut":       func(t *testing.T, index string) { write(t, index, readFile(t, index)[:100]) },
		"flipped": func(t *testing.T, index string) {
			data := readFile(t, index)
			data[len(data)-3] ^= 1
			write(t, index, data)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := openStore(t, Options{})
			index := filepath.Join(s.opts.Dir, indexFile)
			store(t, s, "a", a)
			store(t, s, "x/b", b)
			if err := streamed(t, s, "up/w", "", newWeb(5, 100)).Stored(); err != nil {
				t.Fatal(err)
			}
			s = reopen(t, s)
			old := readFile(t, index)
			if err := s.Remove("a"); err != nil {
				t.Fatal(err)
			}
			if err := s.SetMeta("up/w", "v1", []byte("HEADERS")); err != nil { // of the same length
				t.Fatal(err)
			}
			store(t, s, "c", c)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			write(t, index, old) // as after a crash
			damage(t, index)
			s = openStore(t, s.opts)
			wantMiss(t, s, "a", a)
			wantGet(t, s, "x/b", b, TierDisk)
			wantGet(t, s, "c", c, TierDisk)
			if e, _ := s.Lookup("up/w"); string(e.Meta) != "HEADERS" {
				t.Errorf("meta %q", e.Meta)
			}
			wantFiles(t, s, "x/b", "up/w", "c")
		})
	}
}

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
