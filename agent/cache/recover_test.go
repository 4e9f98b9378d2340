package cache

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// wantFiles compares the published files with want, and demands one record each and no part file.
func wantFiles(t testing.TB, s *Store, want ...string) {
	t.Helper()
	var published []string
	records, parts := 0, 0
	err := filepath.WalkDir(s.opts.Dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(s.opts.Dir, name)
		switch {
		case d.IsDir() && !strings.HasPrefix(rel, "."):
			if list, _ := os.ReadDir(name); len(list) == 0 {
				t.Errorf("empty directory %s", rel)
			}
		case d.IsDir():
		case strings.HasPrefix(rel, partDir):
			parts++
		case strings.HasPrefix(rel, metaDir):
			records++
		default:
			published = append(published, rel)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(want)
	if !slices.Equal(published, want) {
		t.Errorf("files %q, want %q", published, want)
	}
	if records != len(want) || parts != 0 {
		t.Errorf("%d records and %d part files for %d objects", records, parts, len(want))
	}
}
