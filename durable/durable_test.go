package durable_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/pureboot/pureboot/durable"
)

func TestReplace(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "f")
	for _, text := range []string{"old, and longer", "new"} {
		if err := durable.Replace(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(name); err != nil || string(got) != text {
			t.Errorf("%q, %v, want %q", got, err, text)
		}
	}
	if info, err := os.Stat(name); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	wantNames(t, dir, "f")
}

func TestWhatCannotBeReplacedLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "taken")
	if err := os.MkdirAll(filepath.Join(name, "by a directory"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := durable.Replace(name, []byte("x"), 0o600); err == nil {
		t.Error("a directory was replaced")
	}
	wantNames(t, dir, "taken")
	if err := durable.Replace(filepath.Join(dir, "none", "f"), nil, 0o600); err == nil {
		t.Error("a directory was made")
	}
}

// TestWhatRootMakesIsTheDirectorysOwners is `sudo pureboot-agent init` beside a service that runs as a user of its own.
func TestWhatRootMakesIsTheDirectorysOwners(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can write for another user")
	}
	dir, mine := t.TempDir(), t.TempDir()
	if err := os.Chown(dir, 4711, 4712); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := errors.Join(
		durable.Replace(filepath.Join(dir, "replaced"), []byte("x"), 0o600), durable.Replace(filepath.Join(dir, "replaced"), []byte("y"), 0o600),
		durable.Touch(filepath.Join(dir, "touched"), 0o600), durable.Folder(filepath.Join(dir, "folder"), 0o700),
		durable.Replace(filepath.Join(mine, "replaced"), nil, 0o600), durable.Touch(filepath.Join(mine, "touched"), 0o600),
		// What was there is not given away, whatever leads to it.
		os.Symlink(filepath.Join(mine, "touched"), link), durable.Touch(link, 0o600),
		os.Symlink(mine, link+"2"), durable.Folder(link+"2", 0o700),
	); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]uint32{
		dir + "/replaced": 4711, dir + "/touched": 4711, dir + "/folder": 4711, mine: 0, mine + "/replaced": 0, mine + "/touched": 0,
	} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if of := info.Sys().(*syscall.Stat_t); of.Uid != want || want != 0 && of.Gid != 4712 || name != mine && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s is of %d:%d with %v, want %d", name, of.Uid, of.Gid, info.Mode(), want)
		}
	}
}

func wantNames(t *testing.T, dir, want string) {
	t.Helper()
	if list, err := os.ReadDir(dir); err != nil || len(list) != 1 || list[0].Name() != want {
		t.Errorf("%v, %v, want %s alone", list, err, want)
	}
}
