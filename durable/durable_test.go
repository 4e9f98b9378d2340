package durable_test

import (
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

// TestWhatRootWritesIsTheDirectorysOwners is `sudo pureboot-agent init` beside a service that runs as a user of its own.
func TestWhatRootWritesIsTheDirectorysOwners(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can write for another user")
	}
	dir := t.TempDir()
	name := filepath.Join(dir, "f")
	for _, id := range []int{4711, 0} {
		if err := os.Chown(dir, id, id); err != nil {
			t.Fatal(err)
		}
		if err := durable.Replace(name, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if of := info.Sys().(*syscall.Stat_t); int(of.Uid) != id || int(of.Gid) != id || info.Mode() != 0o600 {
			t.Errorf("it is of %d:%d with %v, want %d:%[4]d", of.Uid, of.Gid, info.Mode(), id)
		}
	}
}

func wantNames(t *testing.T, dir, want string) {
	t.Helper()
	if list, err := os.ReadDir(dir); err != nil || len(list) != 1 || list[0].Name() != want {
		t.Errorf("%v, %v, want %s alone", list, err, want)
	}
}
