package content

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pureboot/pureboot/agent/cache"
	"github.com/pureboot/pureboot/central/wire"
)

// FuzzManifest holds that whatever central answers, each name that is believed stays below the cache's folder, each file
// has a size and a digest that can be, and nothing is believed of a manifest that is refused.
func FuzzManifest(f *testing.F) {
	digest := strings.Repeat("ab", 32)
	for _, path := range []string{"linux", "../linux", "/linux", "a/../../b", "", "a\x00", `..\a`, "a//b", "."} {
		text, err := json.Marshal(wire.Manifest{
			Epoch: wire.Epoch{Stream: "s", N: 1}, Full: true, Items: []wire.ManifestItem{{File: wire.File{Category: "images", Path: path, Size: 5, SHA256: digest}}},
			Needed: &wire.Needed{Names: []string{path}, Globs: []string{path + "*"}},
		})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(`{"epoch":{"stream":"s","n":1},"full":true,"items":[{"category":"images","path":"a","size":-1}]}`))
	f.Add([]byte(`{"epoch":{"stream":"s","n":1},"items":[{"category":"images","path":"a","removed":true},{"category":"images","path":"a"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var page wire.Manifest
		if json.Unmarshal(text, &page) != nil {
			return
		}
		s := openSite(t, &scriptedCentral{pages: []wire.Manifest{page}})
		before := listing(t, s.dir)
		_, err := s.Refresh(t.Context(), true)
		if err != nil {
			if len(s.manifest.files) != 0 || s.Epoch() != (wire.Epoch{}) || !slices.Equal(listing(t, s.dir), before) {
				t.Errorf("of a manifest that is refused, %v, something was believed: %v", err, s.manifest.files)
			}
			if !errors.Is(err, ErrManifest) && page.Next == "" {
				t.Errorf("refused for no reason of its own: %v", err)
			}
		}
		for key, k := range s.manifest.files {
			if !fs.ValidPath(string(key)) || key.Validate() != nil || k.Size < 0 || k.Size > wire.MaxFile || !filepath.IsLocal(string(key)) {
				t.Errorf("it is believed that %q has %d bytes", key, k.Size)
			}
		}
		for _, w := range s.Wanted() { // no pattern of central's makes this fail
			if w.Reason == Unwanted || w.Key() == cache.Key("") {
				t.Errorf("wanted is %+v", w)
			}
		}
	})
}

// listing is what is in a folder but for the cache's own files.
func listing(t *testing.T, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !strings.Contains(path, "/cache/.") {
			names = append(names, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
