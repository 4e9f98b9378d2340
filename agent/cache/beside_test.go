package cache

import (
	"io"
	"os"
	"path/filepath"
	"testing"
)

func TestTheFileOfTheCurrentVersionIsNoUse(t *testing.T) {
	s := openStore(t, Options{})
	if _, _, ok := s.CurrentFile("images/a"); ok {
		t.Fatal("there is a file of nothing")
	}
	o := newOrigin(1, 3*ChunkSize)
	store(t, s, "images/a", o)
	before := s.Stats()
	obj, file, ok := s.CurrentFile("images/a")
	if !ok {
		t.Fatal("there is none")
	}
	defer file.Close()
	if data, err := io.ReadAll(file); err != nil || string(data) != string(o.data) || obj.Size != int64(len(data)) {
		t.Errorf("%d bytes, %v", len(data), err)
	}
	if after := s.Stats(); after.DiskHits != before.DiskHits || after.HotHits != before.HotHits {
		t.Error("it was counted as a hit")
	}
}

func TestVerifyOneObject(t *testing.T) {
	s := openStore(t, Options{})
	store(t, s, "images/good", newOrigin(1, 1000))
	store(t, s, "images/bad", newOrigin(2, 1000))
	name := filepath.Join(s.opts.Dir, "images/bad")
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	data[500] ^= 1
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[Key]bool{"images/good": true, "images/bad": false, "images/none": false} {
		if ok, err := s.Verify(t.Context(), key); ok != want || err != nil {
			t.Errorf("%s: %t, %v", key, ok, err)
		}
		if _, ok := s.Lookup(key); ok != want {
			t.Errorf("%s is here: %t", key, ok)
		}
	}
}

func TestRoom(t *testing.T) {
	s := openStore(t, Options{MaxBytes: 10_000, Rank: func(key Key) int {
		if key == "bootloaders/a" {
			return Pinned
		}
		return 0
	}})
	for i, key := range []Key{"bootloaders/a", "images/b", "images/c"} {
		store(t, s, key, newOrigin(uint64(i), 1000))
	}
	for want, of := range map[int64]func(Key) bool{
		9_000:  func(Key) bool { return false },
		10_000: func(key Key) bool { return key == "bootloaders/a" },
	} {
		if got, err := s.Room(of); got != want || err != nil {
			t.Errorf("room for %d, %v; want %d", got, err, want)
		}
	}
}
