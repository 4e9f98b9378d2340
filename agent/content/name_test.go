package content

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pureboot/pureboot/agent/cache"
	"github.com/pureboot/pureboot/central/wire"
)

func TestNames(t *testing.T) {
	for _, path := range []string{"ipxe.efi", "debian-12/linux", "a b", "ü", "..a", "a..", "...", ".part/1", "%2e%2e", strings.Repeat("x", 255)} {
		if key, err := keyOf(wire.Images, path); err != nil || key != cache.Key("images/"+path) {
			t.Errorf("%q: %q, %v", path, key, err)
		}
	}
	for _, path := range []string{
		"", ".", "..", "/", "/a", "a/", "a//b", "./a", "../a", "a/..", "a/../b", `a\b`, `..\a`, "a\x00", "a\nb", "a\x7f", "a\u0085b", "\xff",
		strings.Repeat("x", 256), strings.Repeat("x/", 256) + "x",
	} {
		if key, err := keyOf(wire.Images, path); !errors.Is(err, ErrName) || !errors.Is(err, os.ErrInvalid) {
			t.Errorf("%q: %q, %v; want it refused", path, key, err)
		}
	}
	for _, category := range []string{"", ".", "..", "upstream", ".meta", ".part", "images/..", "Images", "images/"} {
		if key, err := keyOf(category, "x"); err == nil {
			t.Errorf("category %q: %q", category, key)
		}
	}
}

func TestRankKeepsTheBootloaders(t *testing.T) {
	ranks := []int{Rank("images/a"), Rank("scripts/a"), Rank("templates/a"), Rank("bootloaders/a")}
	if !slices.IsSorted(ranks) || ranks[3] != cache.Pinned || ranks[0] == ranks[1] || ranks[1] == ranks[2] {
		t.Errorf("images, scripts, templates, bootloaders rank %v", ranks)
	}
}

// mirrorCentral has a file of every name, whose content says which.
type mirrorCentral struct{ deadCentral }

func (mirrorCentral) Chunks(_ context.Context, category, path string) (wire.Chunks, error) {
	return chunksOf(category, path, []byte("content of "+category+"/"+path)), nil
}

func (mirrorCentral) ReadContent(_ context.Context, category, path, _ string, offset, _ int64) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader(("content of " + category + "/" + path)[offset:])), nil
}

// FuzzNothingOutsideTheCacheIsRead opens whatever name there is, in a folder with files around the cache.
func FuzzNothingOutsideTheCacheIsRead(f *testing.F) {
	for _, seed := range [][2]string{
		{"images", "../../outside"},
		{"images", "/etc/passwd"},
		{"..", "outside"},
		{"images", ".."},
		{"images", "a/../../../outside"},
		{".meta", "x"},
		{"images", `..\..\outside`},
		{"images", "x\x00y"},
		{"images", "%2e%2e/x"},
		{"images/../..", "outside"},
	} {
		f.Add(seed[0], seed[1])
	}
	dir := f.TempDir()
	for _, name := range []string{"outside", "cache.yaml"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("secret"), 0o600); err != nil {
			f.Fatal(err)
		}
	}
	s := openSiteIn(f, dir, mirrorCentral{})
	s.unknown.SetLimit(1e9)
	f.Fuzz(func(t *testing.T, category, path string) {
		file, err := s.Open(t.Context(), category, path)
		if errors.Is(err, ErrName) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		got, err := io.ReadAll(file)
		if want := "content of " + category + "/" + path; err != nil || string(got) != want {
			t.Errorf("read %q, %v; want %q", got, err, want)
		}
		if err := file.Stored(); err != nil {
			t.Fatal(err)
		}
		if around, err := os.ReadDir(dir); err != nil || len(around) != 3 { // with the cache
			t.Errorf("beside the cache there is %v, %v", around, err)
		}
	})
}
