package uplink

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/pureboot/pureboot/central/lifecycle"
	"github.com/pureboot/pureboot/central/wire"
)

// rotating is both sides of rotations and what is between them: a disk each, backups of central's, and the network.
type rotating struct {
	central, backup lifecycle.Credential // on disk; central's memory holds nothing else
	disk            keys                 // of the agent
	memory          keys
	made            map[string]int // number of the secret with a hash
	asked           int            // rotations
	least           int            // number that the secret in use has at least when the rotation is over
	spent           map[string]bool
	flight          []wire.NextCredential // heartbeats that are late, under the secrets below
	under           []string
	mutant          string
}

func (w *rotating) fresh() string {
	secret := fmt.Sprint("secret", len(w.made))
	w.made[hashOfSecret(secret)] = len(w.made)
	return secret
}

// serve is what central does with a request.
func (w *rotating) serve(secret string, next *wire.NextCredential) (*wire.Rotation, bool) {
	after, ok := w.central.Use(hashOfSecret(secret))
	if !ok {
		return nil, false
	}
	if after != w.central {
		w.spent[w.central.Current] = true
	}
	if w.mutant != "the old one stays valid" {
		w.central = after
	}
	if next != nil {
		if w.mutant == "any announcement counts" {
			next.Rotation = w.central.Rotation
		}
		w.central = w.central.Announce(next.Rotation, next.SHA256)
	}
	if w.central.Rotation == "" {
		return nil, true
	}
	return &wire.Rotation{ID: w.central.Rotation, Accepted: w.central.Next}, true
}

// beat is a heartbeat with what follows a refusal. Each part of it may be lost, and the agent may crash before or after
// it has kept what it learned.
func (w *rotating) beat(lost, crash string) (worked bool) {
	for range 2 {
		secret, next := w.memory.Secret, w.memory.announce()
		if lost == "request" {
			if next != nil { // and comes when it comes
				w.flight, w.under = append(w.flight, *next), append(w.under, secret)
			}
			return false
		}
		asked, ok := w.serve(secret, next)
		if lost == "answer" {
			return false
		}
		if !ok {
			after, try := w.memory.deny(w.memory.era)
			if w.mutant == "no way back" {
				return false
			}
			if w.memory = after; !try {
				return false
			}
			continue
		}
		w.memory = w.memory.worked()
		after := w.memory.answered(secret, asked, w.fresh)
		if crash == "before it is kept" {
			w.memory = w.disk
			return true
		}
		if w.mutant != "never kept" {
			w.disk = after
		}
		w.disk.refused = nil
		w.memory = after
		if crash == "after it is kept" {
			w.memory = w.disk
		}
		return true
	}
	return false
}

// settle has both sides talk without trouble, which ends every rotation. It says what is wrong then.
func (w *rotating) settle() error {
	for range 8 {
		w.beat("", "")
	}
	switch {
	case !w.beat("", ""):
		return fmt.Errorf("the agent is locked out: %+v, central %+v", w.memory, w.central)
	case w.central.Rotation != "":
		return fmt.Errorf("the rotation %s never ends: %+v, central %+v", w.central.Rotation, w.memory, w.central)
	}
	return nil
}

func rotations(t *rapid.T, mutant string) error {
	w := &rotating{made: map[string]int{}, spent: map[string]bool{}, mutant: mutant}
	w.memory.Secret = w.fresh()
	w.disk, w.central = w.memory, lifecycle.Credential{Current: hashOfSecret(w.memory.Secret)}
	w.backup = w.central
	lost := rapid.SampledFrom([]string{"", "", "request", "answer"})
	crash := rapid.SampledFrom([]string{"", "", "before it is kept", "after it is kept"})
	for range rapid.IntRange(1, 30).Draw(t, "steps") {
		switch rapid.IntRange(0, 9).Draw(t, "what") {
		case 0:
			w.asked++
			w.least = len(w.made)
			w.central = w.central.Rotate(fmt.Sprint("rotation", w.asked))
		case 1:
			w.memory = w.disk // a restart
		case 2: // central goes back to its last backup, which is no older than one rotation
			w.central, w.least = w.backup, 0
			clear(w.spent)
			if err := w.settle(); err != nil {
				return fmt.Errorf("after a restore: %w", err)
			}
			w.backup = w.central
		case 3:
			if n := len(w.flight); n > 0 {
				i := rapid.IntRange(0, n-1).Draw(t, "late")
				w.serve(w.under[i], &w.flight[i])
			}
		default:
			w.beat(lost.Draw(t, "lost"), crash.Draw(t, "crash"))
		}
		for hash := range w.spent {
			if _, ok := w.central.Use(hash); ok {
				return fmt.Errorf("an old secret still opens central: %+v", w.central)
			}
		}
		if w.central.Rotation == "" && w.backup.Current != w.central.Current {
			w.backup = w.central // the nightly one
		}
	}
	if err := w.settle(); err != nil {
		return err
	}
	if n := w.made[w.central.Current]; n < w.least {
		return fmt.Errorf("the rotation is over, and a secret from before it opens central: %+v", w.central)
	}
	return nil
}

func TestRotations(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		if err := rotations(t, ""); err != nil {
			t.Fatal(err)
		}
	})
}

// TestWhatRotationsAreTestedFor: each of these faults is found.
func TestWhatRotationsAreTestedFor(t *testing.T) {
	for _, mutant := range []string{"the old one stays valid", "any announcement counts", "no way back", "never kept"} {
		t.Run(mutant, func(t *testing.T) {
			found := false
			for seed := range 3000 {
				if found = rapid.Custom(func(t *rapid.T) bool { return rotations(t, mutant) != nil }).Example(seed); found {
					break
				}
			}
			if !found {
				t.Error("nobody notices")
			}
		})
	}
}

func TestAnAgentWhoseCredentialIsRefusedTriesBothOnce(t *testing.T) {
	k := keys{Secret: "a", Other: "b"}
	k, try := k.deny(0)
	if !try || k.Secret != "b" {
		t.Errorf("%+v, %v", k, try)
	}
	if k, try = k.deny(0); !try || k.Secret != "b" { // of another request at the same time
		t.Errorf("%+v, %v", k, try)
	}
	k, try = k.deny(1)
	if try || k.Secret != "a" {
		t.Errorf("%+v, %v", k, try)
	}
	if k, try = k.deny(2); try || k.Secret != "b" { // in turn, for the day that one of them works again
		t.Errorf("%+v, %v", k, try)
	}
	if k, try = k.worked().deny(3); !try || k.Secret != "a" {
		t.Errorf("%+v, %v", k, try)
	}
	if k, try = (keys{Secret: "a"}).deny(0); try || k.Secret != "a" {
		t.Errorf("%+v, %v", k, try)
	}
}

// TestTheNewSecretIsUsedOnceCentralHasIt, and not before: there, a secret that it does not know is a guess at one.
func TestTheNewSecretIsUsedOnceCentralHasIt(t *testing.T) {
	k := keys{Secret: "old"}.answered("old", &wire.Rotation{ID: "r"}, func() string { return "new" })
	for _, accepted := range []string{"", hashOfSecret("old"), hashOfSecret("another's")} {
		k = k.answered("old", &wire.Rotation{ID: "r", Accepted: accepted}, nil)
		if next := k.announce(); k.Secret != "old" || next == nil || *next != (wire.NextCredential{Rotation: "r", SHA256: hashOfSecret("new")}) {
			t.Errorf("accepted %.8s: %+v announces %+v", accepted, k, next)
		}
	}
	k = k.answered("old", &wire.Rotation{ID: "r", Accepted: hashOfSecret("new")}, nil)
	if k.Secret != "new" || k.Other != "old" || k.announce() != nil {
		t.Errorf("accepted: %+v", k)
	}
}
