package node

import (
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pureboot/pureboot/central/lifecycle"
	"github.com/pureboot/pureboot/central/wire"
)

func mustKey(t testing.TB, dir string) Key {
	t.Helper()
	key, err := LoadKey(dir, new(journal).log())
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func mustToken(t testing.TB, key *Key, n *wire.Node) string {
	t.Helper()
	token, err := key.Token(n)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestToken(t *testing.T) {
	key, other := mustKey(t, t.TempDir()), mustKey(t, t.TempDir())
	n, neighbour := machine(1).Node, machine(2).Node
	older, stolen := n, n
	n.InstallSeq, older.InstallSeq = 2, 1
	stolen.ID, stolen.InstallSeq = neighbour.ID, 2
	good := mustToken(t, &key, &n)
	if err := key.Check(&n, good); err != nil {
		t.Fatal(err)
	}
	flipped := []byte(good)
	flipped[len(flipped)-1] ^= 1
	for name, token := range map[string]string{
		"none":                        "",
		"of another node":             mustToken(t, &key, &neighbour),
		"of another node's id":        mustToken(t, &key, &stolen),
		"of an older installation":    mustToken(t, &key, &older),
		"of another key":              mustToken(t, &other, &n),
		"truncated":                   good[:len(good)-1],
		"truncated by its code":       good[:32],
		"longer":                      good + "A",
		"padded":                      good + "==",
		"with a line break":           good + "\n",
		"with a line break inside":    good[:10] + "\n" + good[11:],
		"of standard base64":          base64.StdEncoding.EncodeToString([]byte(good)),
		"with one bit turned":         string(flipped),
		"with trailing bits":          good[:len(good)-1] + string(good[len(good)-1]+1),
		"of nothing but the alphabet": strings.Repeat("A", len(good)),
	} {
		if err := key.Check(&n, token); !errors.Is(err, ErrToken) {
			t.Errorf("a token %s: %v", name, err)
		}
	}
	moved := n
	moved.MACAddress = neighbour.MACAddress
	if err := key.Check(&moved, good); !errors.Is(err, ErrToken) {
		t.Errorf("for the same node with another card: %v", err)
	}
	if _, err := key.Token(&wire.Node{ID: "no UUID"}); err == nil {
		t.Error("a node without an id got a token")
	}
}

func TestTokenEndsWithItsInstallation(t *testing.T) {
	key := mustKey(t, t.TempDir())
	n := machine(1).Node
	token := mustToken(t, &key, &n)
	valid := map[lifecycle.State]bool{
		lifecycle.Pending: true, lifecycle.Installing: true, lifecycle.InstallFailed: true, lifecycle.Installed: true,
	}
	for _, state := range lifecycle.States {
		n.State = string(state)
		if got := key.Check(&n, token) == nil; got != valid[state] {
			t.Errorf("%s: valid is %v", state, got)
		}
	}

	n = machine(1).Node
	report := func(kind lifecycle.EventType) { apply(&n, wire.Event{EventType: string(kind)}, time.Now()) }
	for _, kind := range []lifecycle.EventType{lifecycle.BootStarted, lifecycle.InstallStarted, lifecycle.InstallComplete} {
		report(kind)
		if err := key.Check(&n, token); err != nil {
			t.Errorf("after %s: %v", kind, err)
		}
	}
	report(lifecycle.FirstBoot)
	if err := key.Check(&n, token); !errors.Is(err, ErrToken) {
		t.Errorf("after first_boot: %v", err)
	}

	released := machine(1).Node
	in, err := lifecycle.Install{State: lifecycle.Reprovision, Seq: 1}.To(lifecycle.Pending, false, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	released.State, released.InstallSeq = string(in.State), in.Seq
	if err := key.Check(&released, token); !errors.Is(err, ErrToken) {
		t.Errorf("after a newer installation: %v", err)
	}
	if err := key.Check(&released, mustToken(t, &key, &released)); err != nil {
		t.Errorf("the newer token: %v", err)
	}

	never := machine(1).Node
	never.State, never.InstallSeq = string(lifecycle.Discovered), 0
	if err := key.Check(&never, mustToken(t, &key, &never)); !errors.Is(err, ErrToken) {
		t.Errorf("before the first installation: %v", err)
	}
}

func TestTokenSurvivesRestart(t *testing.T) {
	dir := t.TempDir()
	before := mustKey(t, dir)
	n := machine(1).Node
	token := mustToken(t, &before, &n)
	info, err := os.Stat(filepath.Join(dir, keyFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key file: %v, %v", info.Mode(), err)
	}
	after := mustKey(t, dir)
	if err := after.Check(&n, token); err != nil {
		t.Error(err)
	}
	if files, _ := os.ReadDir(dir); len(files) != 1 {
		t.Errorf("left behind: %v", files)
	}
}

func TestDamagedKeyIsReplaced(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, keyFile)
	old := mustKey(t, dir)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, damaged := range map[string][]byte{
		"empty": {}, "short": text[:40], "no hexadecimal": []byte(strings.Repeat("x", 64)), "long": append(text[:64:64], "00"...),
	} {
		if err := os.WriteFile(path, damaged, 0o644); err != nil {
			t.Fatal(err)
		}
		log := new(journal)
		key, err := LoadKey(dir, log.log())
		if err != nil || key == (Key{}) || key == old || !log.has("level=ERROR") {
			t.Errorf("%s: %v", name, err)
		}
		if log.has(strings.TrimSpace(string(text))[:16]) {
			t.Errorf("%s: the key is in the log", name)
		}
		if again := mustKey(t, dir); again != key {
			t.Errorf("%s: the new key does not last", name)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, %v", name, info.Mode(), err)
		}
	}
}

func TestUnreadableKeyIsNotReplaced(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, keyFile), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadKey(dir, new(journal).log()); err == nil {
		t.Error("a key that could not be read was taken for none")
	}
}

func FuzzCheck(f *testing.F) {
	key := mustKey(f, f.TempDir())
	n, neighbour := machine(1).Node, machine(2).Node
	good := mustToken(f, &key, &n)
	for _, seed := range []string{"", good, good[1:], good + "=", mustToken(f, &key, &neighbour), "pbn1|", strings.Repeat("A", 54)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		if err := key.Check(&n, token); (err == nil) != (token == good) {
			t.Errorf("%q: %v", token, err)
		}
	})
}
