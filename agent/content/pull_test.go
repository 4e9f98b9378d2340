package content

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/pureboot/pureboot/agent/cache"
	"github.com/pureboot/pureboot/central/wire"
)

func TestAPullReadsEveryPage(t *testing.T) {
	central := newCentral()
	central.pageSize = 7
	for i := range 50 {
		central.put(wire.Images, fmt.Sprint("file", i), noise(uint64(i), 10))
	}
	s := openSite(t, central)
	s.pull(t, central)
	if got := s.Epoch(); got != central.now() {
		t.Errorf("the epoch is %v, want %v: that of the last page", got, central.now())
	}
	for i := range 50 {
		if _, status, err := s.Stat(t.Context(), wire.Images, fmt.Sprint("file", i)); status != Hit || err != nil {
			t.Errorf("file %d is a %s, %v", i, status, err)
		}
	}
	_, _, before := central.counts()
	s.pull(t, central)
	if _, _, paged := central.counts(); before != 8 || paged != before {
		t.Errorf("%d pages were read, then %d; want 8, and none when all is known", before, paged-before)
	}
}

func TestAPullBringsTheDifferences(t *testing.T) {
	central := newCentral()
	central.put(wire.Images, "stays", noise(1, 10))
	gone := central.put(wire.Images, "goes", noise(2, 10))
	back := central.put(wire.Images, "back", noise(3, 10))
	s := openSite(t, central)
	s.pull(t, central)
	s.wantFile(t, "images/goes", gone, Miss)
	s.wantFile(t, "images/back", back, Miss)

	central.pageSize = 2
	central.remove(wire.Images, "goes")
	central.remove(wire.Images, "back")
	central.put(wire.Images, "back", back) // on a later page than its removal
	added := central.put(wire.Images, "added", noise(4, 10))
	s.pull(t, central)
	s.wantError(t, "images/goes", os.ErrNotExist)
	if s.cached("images/goes") {
		t.Error("what central removed is still in the cache")
	}
	s.wantFile(t, "images/back", back, Hit)
	s.wantFile(t, "images/added", added, Miss)
}

func TestACentralRestoredFromABackupIsReadAnew(t *testing.T) {
	central := newCentral()
	kept := central.put(wire.Images, "kept", noise(1, 10))
	lost := central.put(wire.Images, "lost", noise(2, 10))
	s := openSite(t, central)
	s.pull(t, central)
	s.wantFile(t, "images/kept", kept, Miss)
	s.wantFile(t, "images/lost", lost, Miss)

	central.mu.Lock()
	central.stream, central.changes = "s2", central.changes[:1]
	central.mu.Unlock()
	s.pull(t, central)
	s.wantFile(t, "images/kept", kept, Hit)
	if s.cached("images/lost") {
		t.Error("what central has no more is still in the cache")
	}
	s.wantError(t, "images/lost", os.ErrNotExist)
}

func TestAnAnswerOfANewerEpochLeadsToAPull(t *testing.T) {
	central := newCentral()
	central.put(wire.Images, "linux", noise(1, 10))
	s := openSite(t, central)
	s.pull(t, central)
	linux := central.put(wire.Images, "linux", noise(2, 10))
	central.put(wire.Images, "initrd", noise(3, 10))
	s.wantFile(t, "images/linux", linux, Miss)
	eventually(t, func() bool { return s.Epoch() == central.now() })
	if _, status, err := s.Stat(t.Context(), wire.Images, "initrd"); status != Hit || err != nil {
		t.Errorf("the other file is a %s, %v", status, err)
	}
}

func TestAFileAskedForDuringAPullStaysTheNewerOne(t *testing.T) {
	for _, full := range []bool{true, false} {
		s := openSite(t, deadCentral{})
		current := noise(2, 20)
		c := chunksOf(wire.Images, "linux", current)
		obj, err := objectOf(c)
		if err != nil {
			t.Fatal(err)
		}
		s.manifest.learn("images/linux", known{Size: obj.Size, SHA256: obj.SHA256}, wire.Epoch{Stream: "s1", N: 7})
		s.manifest.apply(pulled{full: full, epoch: wire.Epoch{Stream: "s1", N: 6}, changes: map[cache.Key]*known{"images/linux": nil}})
		if k, ok := s.manifest.get("images/linux"); !ok || k.SHA256 != obj.SHA256 {
			t.Errorf("full %t: an older page won: %+v", full, k)
		}
		s.manifest.apply(pulled{full: full, epoch: wire.Epoch{Stream: "s1", N: 8}, changes: map[cache.Key]*known{"images/linux": nil}})
		if k, ok := s.manifest.get("images/linux"); ok {
			t.Errorf("full %t: a newer page lost: %+v", full, k)
		}
	}
}

func TestHostileManifests(t *testing.T) {
	digest := strings.Repeat("ab", 32)
	file := func(category, path string, size int64, sha string) wire.ManifestItem {
		return wire.ManifestItem{File: wire.File{Category: category, Path: path, Size: size, SHA256: sha}}
	}
	epoch := wire.Epoch{Stream: "s1", N: 9}
	many := make([]wire.ManifestItem, 40)
	for i := range many {
		many[i] = file(wire.Images, fmt.Sprint("x", i), 1, digest)
	}
	for _, tt := range []struct {
		name  string
		pages []wire.Manifest
	}{
		{"negative size", []wire.Manifest{{Epoch: epoch, Full: true, Items: []wire.ManifestItem{file(wire.Images, "x", -1, digest)}}}},
		{"a size beyond all disks", []wire.Manifest{{Epoch: epoch, Full: true, Items: []wire.ManifestItem{file(wire.Images, "x", math.MaxInt64, digest)}}}},
		{"a name twice", []wire.Manifest{{Epoch: epoch, Full: true, Items: []wire.ManifestItem{many[0], many[1], many[0]}}}},
		{"no epoch", []wire.Manifest{{Full: true, Items: many}}},
		{"an epoch before all time", []wire.Manifest{{Epoch: wire.Epoch{Stream: "s1", N: -1}, Full: true, Items: many}}},
		{"too many names of workflows", []wire.Manifest{{Epoch: epoch, Full: true, Needed: &wire.Needed{Names: make([]string, maxNeeded+1)}}}},
		{"a glob of workflows that is none", []wire.Manifest{{Epoch: epoch, Full: true, Needed: &wire.Needed{Globs: []string{"images/["}}}}},
		{"no digest", []wire.Manifest{{Epoch: epoch, Full: true, Items: []wire.ManifestItem{file(wire.Images, "x", 1, "zz")}}}},
		{"too many files", []wire.Manifest{
			{Epoch: epoch, Full: true, Items: many, Next: "a"},
			{Epoch: epoch, Full: true, Items: many, Next: "b"},
			{Epoch: epoch, Full: true, Items: many, Next: "c"},
			{Epoch: epoch, Full: true, Items: many},
		}},
		{"empty pages for ever", []wire.Manifest{{Epoch: epoch, Full: true, Next: "a"}}},
		{"the same page for ever", []wire.Manifest{{Epoch: epoch, Full: true, Items: many[:1], Next: "a"}}},
		{"another history between pages", []wire.Manifest{
			{Epoch: epoch, Full: true, Items: many[:1], Next: "a"}, {Epoch: wire.Epoch{Stream: "s2"}, Full: true},
		}},
		{"differences after all there is, between pages", []wire.Manifest{{Epoch: epoch, Full: true, Items: many[:1], Next: "a"}, {Epoch: epoch}}},
		{"differences to another history", []wire.Manifest{{Epoch: wire.Epoch{Stream: "s2", N: 1}}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			central := newCentral()
			body := central.put(wire.Images, "linux", noise(1, 10))
			s := openSite(t, central)
			s.pull(t, central)
			s.wantFile(t, "images/linux", body, Miss)
			before := s.Epoch()

			s.maxFiles = 100
			s.opt.Central = &scriptedCentral{pages: tt.pages}
			if err := s.Pull(t.Context(), epoch); err == nil {
				t.Error("the pull succeeded")
			}
			if errors.Is(s.Distrusted(), ErrManifest) == strings.Contains(tt.name, "between pages") {
				t.Errorf("distrusted for %v", s.Distrusted())
			}
			if s.Epoch() != before {
				t.Errorf("the epoch became %v", s.Epoch())
			}
			s.wantFile(t, "images/linux", body, Hit)
		})
	}
}

func TestNamesOfAManifestThatNothingHereCanBear(t *testing.T) {
	digest := strings.Repeat("ab", 32)
	item := func(category, path string) wire.ManifestItem {
		return wire.ManifestItem{File: wire.File{Category: category, Path: path, Size: 1, SHA256: digest}}
	}
	for _, path := range []string{
		"../../etc/passwd", "/etc/passwd", "a/../b", ".", "", `a\b`, "a\x00b", strings.Repeat("x", 256), strings.Repeat("x/", 300) + "x",
	} {
		s := openSite(t, &scriptedCentral{pages: []wire.Manifest{{
			Epoch: wire.Epoch{Stream: "s1", N: 1}, Full: true, Items: []wire.ManifestItem{item("images", "good"), item("images", path)},
		}}})
		if err := s.Pull(t.Context(), wire.Epoch{Stream: "s1", N: 1}); !errors.Is(err, ErrManifest) {
			t.Errorf("%.40q: %v", path, err)
		}
		if len(s.manifest.files) != 0 || s.Distrusted() == nil {
			t.Errorf("%.40q: the manifest holds %v, distrusted for %v", path, s.manifest.files, s.Distrusted())
		}
	}
}

func TestCategoriesOfTheFutureArePassedOver(t *testing.T) {
	page := wire.Manifest{Epoch: wire.Epoch{Stream: "s1", N: 1}, Full: true}
	for _, category := range []string{"firmware", "..", "", "images/..", "images"} {
		page.Items = append(page.Items, wire.ManifestItem{File: wire.File{Category: category, Path: "x", Size: 1, SHA256: strings.Repeat("ab", 32)}})
	}
	s := openSite(t, &scriptedCentral{pages: []wire.Manifest{page}})
	if err := s.Pull(t.Context(), page.Epoch); err != nil {
		t.Fatal(err)
	}
	if len(s.manifest.files) != 1 {
		t.Errorf("the manifest holds %v, want the one good name", s.manifest.files)
	}
}

func TestPullsAtOnceAreOne(t *testing.T) {
	central := newCentral()
	central.put(wire.Images, "linux", noise(1, 10))
	s := openSite(t, central)
	var pulls sync.WaitGroup
	for range 20 {
		pulls.Go(func() {
			if err := s.Pull(t.Context(), central.now()); err != nil {
				t.Error(err)
			}
		})
	}
	pulls.Wait()
	if _, _, paged := central.counts(); paged != 1 {
		t.Errorf("%d pages were read, want 1", paged)
	}
}

func TestTheManifestOutlivesTheAgent(t *testing.T) {
	central := newCentral()
	body := central.put(wire.Images, "linux", noise(1, 10))
	dir := t.TempDir()
	s := openSiteIn(t, dir, central)
	s.pull(t, central)
	s.wantFile(t, "images/linux", body, Miss)
	s.close()

	s = openSiteIn(t, dir, deadCentral{})
	s.wantFile(t, "images/linux", body, Hit)
	if s.Epoch() != central.now() {
		t.Errorf("the epoch is %v, want %v", s.Epoch(), central.now())
	}
}

func TestAManifestThatCannotBeRead(t *testing.T) {
	for _, text := range []string{"", "{", "null", "[]", `{"files": 3}`, `{"files": {"images/linux": {"sha256": "xx"}}}`, "\x00\xff"} {
		central := newCentral()
		body := central.put(wire.Images, "linux", noise(1, 10))
		dir := t.TempDir()
		s := openSiteIn(t, dir, central)
		s.pull(t, central)
		s.wantFile(t, "images/linux", body, Miss)
		s.close()
		if err := os.WriteFile(filepath.Join(dir, manifestFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}

		s = openSiteIn(t, dir, deadCentral{})
		if s.Epoch() != (wire.Epoch{}) {
			t.Errorf("%q: the epoch is %v", text, s.Epoch())
		}
		s.wantFile(t, "images/linux", body, Stale) // the bytes are there, but not the word that they are current
		s.close()

		s = openSiteIn(t, dir, central)
		s.pull(t, central)
		s.wantFile(t, "images/linux", body, Hit)
		s.close()
	}
}

func TestAManifestThatCannotBeKept(t *testing.T) {
	central := newCentral()
	body := central.put(wire.Images, "linux", noise(1, 10))
	dir := t.TempDir()
	s := openSiteIn(t, dir, central)
	if err := os.Mkdir(filepath.Join(dir, manifestFile), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := s.Pull(t.Context(), central.now()); err == nil || errors.Is(err, errDead) {
		t.Errorf("pull: %v, want why it is not kept", err)
	}
	s.wantFile(t, "images/linux", body, Miss)
}
