package admin

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestATokenOpensUntilItExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all, err := loadTokens(filepath.Join(t.TempDir(), "tokens.json"))
		if err != nil {
			t.Fatal(err)
		}
		end := time.Now().Add(time.Hour)
		short, err := all.make(NewToken{Name: "short", Role: Viewer, ExpiresAt: &end})
		if err != nil {
			t.Fatal(err)
		}
		long, err := all.make(NewToken{Name: "long", Role: Admin})
		if err != nil {
			t.Fatal(err)
		}
		opens := func(text string, want bool) {
			t.Helper()
			if _, ok := all.find(text); ok != want {
				t.Errorf("%.10s… opens: %v", text, ok)
			}
		}
		opens(short.Text, true)
		opens(short.ID, false)
		opens("pbl_"+short.ID+"_", false)
		opens(strings.ToUpper(short.Text), false)
		opens("pbl_"+long.ID+short.Text[len("pbl_")+16:], false) // the secret of another
		opens("pbl_"+strings.Repeat("x", 1<<20), false)
		time.Sleep(time.Hour)
		opens(short.Text, false)
		opens(long.Text, true)

		again, err := loadTokens(all.file)
		if err != nil || len(again.list()) != 2 {
			t.Fatalf("%+v, %v", again, err)
		}
		all = again
		opens(long.Text, true)
		if found, err := all.revoke(long.ID); !found || err != nil {
			t.Errorf("%v, %v", found, err)
		}
		opens(long.Text, false)
		if found, err := all.revoke(long.ID); found || err != nil {
			t.Errorf("again: %v, %v", found, err)
		}
		// One that has expired goes when the next one is made.
		if _, err := all.make(NewToken{Name: "third", Role: Viewer}); err != nil || len(all.list()) != 1 {
			t.Errorf("%+v, %v", all.list(), err)
		}
	})
}

func TestThereAreOnlySoManyTokens(t *testing.T) {
	all, err := loadTokens(filepath.Join(t.TempDir(), "tokens.json"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range maxTokens {
		all.items = append(all.items, kept{Token: Token{ID: fmt.Sprint(i)}})
	}
	if _, err := all.make(NewToken{Name: "x", Role: Viewer}); !errors.Is(err, errTooMany) {
		t.Errorf("one more: %v", err)
	}
}

// TestTokensThatCannotBeReadOpenNothing and are not replaced by those of somebody who makes one.
func TestTokensThatCannotBeReadOpenNothing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokens.json")
	if err := os.WriteFile(file, []byte(`[{"id":"x","sha`), 0o600); err != nil {
		t.Fatal(err)
	}
	all, err := loadTokens(file)
	if err == nil || len(all.list()) != 0 {
		t.Errorf("%+v, %v", all, err)
	}
	if _, err := all.make(NewToken{Name: "x", Role: Viewer}); err == nil {
		t.Error("made one")
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != `[{"id":"x","sha` {
		t.Errorf("%s, %v", text, err)
	}
}
