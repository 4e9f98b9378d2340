package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestRoomIsSetAside(t *testing.T) {
	o := Options{Dir: t.TempDir(), Log: quiet()}
	name := reserveFile(filepath.Join(o.Dir, "pureboot.db"))
	check := func(when string) {
		t.Helper()
		if info, err := os.Stat(name); err != nil || info.Size() != reserveBytes || info.Mode().Perm() != 0o600 {
			t.Errorf("%s it is %v, %v", when, info, err)
		}
	}
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	check("while it serves")
	if given, err := giveBack(s.file); err != nil || !given {
		t.Errorf("given back: %v, %v", given, err)
	}
	if given, err := giveBack(s.file); err != nil || given {
		t.Errorf("given back twice: %v, %v", given, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	check("after the end")
	if err := os.Truncate(name, 1); err != nil {
		t.Fatal(err)
	}
	if err := setAside(filepath.Join(o.Dir, "pureboot.db")); err != nil {
		t.Fatal(err)
	}
	check("after it was cut")

	// A command beside a central leaves its room to it.
	o = Options{Dir: t.TempDir(), Log: quiet(), Shared: true}
	open(t, o)
	if _, err := os.Stat(reserveFile(filepath.Join(o.Dir, "pureboot.db"))); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a command set room aside: %v", err)
	}
}
