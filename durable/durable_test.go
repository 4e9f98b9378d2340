package durable_test

import (
	"os"
	"path/filepath"
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

func wantNames(t *testing.T, dir, want string) {
	t.Helper()
	if list, err := os.ReadDir(dir); err != nil || len(list) != 1 || list[0].Name() != want {
		t.Errorf("%v, %v, want %s alone", list, err, want)
	}
}
