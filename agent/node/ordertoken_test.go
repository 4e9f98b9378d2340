package node

import (
	"errors"
	"testing"

	"github.com/pureboot/pureboot/central/lifecycle"
)

// TestAnOrdersTokenIsForThatOrderAlone: it opens nothing that the token of an installation opens, nor another order.
func TestAnOrdersTokenIsForThatOrderAlone(t *testing.T) {
	key, other := mustKey(t, t.TempDir()), mustKey(t, t.TempDir())
	n := machine(1).Node
	n.State, n.InstallSeq, n.NextBoot = string(lifecycle.Active), 2, "local"
	token := func(k *Key) string {
		t.Helper()
		text, err := k.Order(&n)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	good := token(&key)
	if err := key.CheckOrder(&n, good); err != nil {
		t.Fatal(err)
	}
	for _, state := range lifecycle.States {
		same := n
		same.State = string(state)
		if err := key.Check(&same, good); !errors.Is(err, ErrToken) {
			t.Errorf("%s: it passes for the token of an installation: %v", state, err)
		}
		if err := key.CheckOrder(&same, mustToken(t, &key, &same)); !errors.Is(err, ErrToken) {
			t.Errorf("%s: the token of an installation passes for it: %v", state, err)
		}
	}
	for _, bad := range []string{"", good[:len(good)-1], good + "A", good + "\n", token(&other)} {
		if err := key.CheckOrder(&n, bad); !errors.Is(err, ErrToken) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	for _, change := range []func(){
		func() { n.NextBoot = "" },
		func() { n.NextBoot = "installer" },
		func() { n.NextBoot, n.InstallSeq = "local", 3 },
		func() { n.InstallSeq, n.MACAddress = 2, machine(2).Node.MACAddress },
		func() { n.MACAddress, n.State = machine(1).Node.MACAddress, string(lifecycle.Retired) },
	} {
		change()
		if err := key.CheckOrder(&n, good); !errors.Is(err, ErrToken) {
			t.Errorf("%+v: %v", n, err)
		}
	}
}

// TestAnOrderToInstallHasTheTokenOfTheInstallationItBegins: it opens nothing before that.
func TestAnOrderToInstallHasTheTokenOfTheInstallationItBegins(t *testing.T) {
	key := mustKey(t, t.TempDir())
	n := machine(1).Node
	n.State, n.InstallSeq, n.NextBoot = string(lifecycle.Active), 2, "installer"
	token := mustToken(t, &key, &n)
	if err := key.Check(&n, token); !errors.Is(err, ErrToken) {
		t.Errorf("before: %v", err)
	}
	n.State, n.InstallSeq, n.NextBoot = string(lifecycle.Installing), 3, ""
	if err := key.Check(&n, token); err != nil {
		t.Errorf("after: %v", err)
	}
}
