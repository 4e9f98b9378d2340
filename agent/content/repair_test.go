package content

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/pureboot/pureboot/agent/cache"
	"github.com/pureboot/pureboot/central/wire"
)

// TestASpoiledByteIsFetchedAgain: the disk loses one byte of an image, and the scrub brings its chunk from central.
func TestASpoiledByteIsFetchedAgain(t *testing.T) {
	central := newCentral()
	body := central.put(wire.Images, "linux", noise(1, 5*cache.ChunkSize))
	dir := t.TempDir()
	var files *Files
	store, err := cache.Open(cache.Options{
		Dir: filepath.Join(dir, "cache"), Log: slog.New(slog.DiscardHandler),
		Repair: func(key cache.Key, obj cache.Object) cache.Source { return files.Repair(key, obj) },
	})
	if err != nil {
		t.Fatal(err)
	}
	if files, err = Open(Options{Cache: store, Central: central, Dir: dir, Log: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	s := &site{Files: files, cache: store, dir: dir}
	t.Cleanup(s.close)
	s.wantFile(t, "images/linux", body, Miss)
	eventually(t, func() bool { return s.cached("images/linux") })
	_, before, _ := central.counts()

	f, err := os.OpenFile(filepath.Join(dir, "cache", "images", "linux"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte{^body[700_000]}, 700_000); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := store.Scrub(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if st := store.Stats(); st.Repaired != 1 || st.Corruptions != 1 {
		t.Errorf("stats %+v", st)
	}
	if _, sent, _ := central.counts(); sent != before+1 {
		t.Errorf("the repair cost %d requests", sent-before)
	}
	s.wantFile(t, "images/linux", body, Hit)
}

func TestOnlyWhatIsCentralsIsRepaired(t *testing.T) {
	s := openSite(t, newCentral())
	if s.Repair("upstream/x", cache.Object{}) != nil || s.Repair("images/x", cache.Object{}) == nil {
		t.Error("by the wrong source")
	}
	if alone := openSite(t, nil); alone.Repair("images/x", cache.Object{}) != nil {
		t.Error("by nobody")
	}
}
