package store

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pureboot/pureboot/ent"
)

func TestTokenOpensUntilItEnds(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		s, ctx := open(t, o), t.Context()
		text, err := s.CreateToken(ctx, "ci", Operator, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		token, err := s.Authenticate(ctx, text)
		if err != nil || token.Name != "ci" || token.Role != Operator {
			t.Fatalf("it opens %+v, %v", token, err)
		}
		row := s.Read().AdminToken.GetX(ctx, token.ID)
		_, secret, _ := cutToken(text)
		if row.SecretHash == secret || len(row.SecretHash) != 64 {
			t.Errorf("at rest it is %q", row.SecretHash)
		}
		if row.LastUsedAt == nil {
			t.Error("its use was not noted")
		}
		err = s.Write(ctx, func(tx *ent.Tx) error {
			return tx.AdminToken.UpdateOneID(token.ID).SetRevokedAt(time.Now()).Exec(ctx)
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Authenticate(ctx, text); !errors.Is(err, ErrUnauthorized) {
			t.Errorf("revoked, it says %v", err)
		}
		text, err = s.CreateToken(ctx, "old", Admin, time.Now().Add(-time.Second))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Authenticate(ctx, text); !errors.Is(err, ErrUnauthorized) {
			t.Errorf("expired, it says %v", err)
		}
	})
}

func TestForgedTokens(t *testing.T) {
	s, ctx := open(t, Options{Dir: t.TempDir(), Log: quiet()}), t.Context()
	a, err1 := s.CreateToken(ctx, "a", Admin, time.Time{})
	b, err2 := s.CreateToken(ctx, "b", Admin, time.Time{})
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	idA, _, _ := cutToken(a)
	idB, secretB, _ := cutToken(b)
	row := s.Read().AdminToken.GetX(ctx, idA)
	for _, text := range []string{
		"", "pbt_", "pbt__", "pbt_" + idA, "pbt_" + idA + "_", a + "x", a[:len(a)-1], strings.ToUpper(a), " " + a, a + "\n",
		"pbt_" + idA + "_" + secretB, "pbt_" + idA + "_" + row.SecretHash, "pbt_0000000000000000_" + secretB,
		"pbj_" + idB + "_" + secretB, "pbt_" + idB + "_" + strings.Repeat("x", 1<<20),
	} {
		if _, err := s.Authenticate(ctx, text); !errors.Is(err, ErrUnauthorized) {
			t.Errorf("%.60q: %v", text, err)
		}
	}
}

func TestOneFirstToken(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		s, ctx := open(t, o), t.Context()
		if _, err := s.CreateToken(ctx, "viewer", Viewer, time.Time{}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.CreateToken(ctx, "old", Admin, time.Now().Add(-time.Hour)); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		texts := make(chan string, 4)
		for range cap(texts) {
			wg.Go(func() {
				var text string
				created, err := s.CreateAdminToken(ctx, "init", true, func(made string) error {
					text = made
					return nil
				})
				if err != nil {
					t.Error(err)
				} else if created {
					texts <- text
				}
			})
		}
		wg.Wait()
		close(texts)
		if len(texts) != 1 {
			t.Fatalf("%d tokens were made", len(texts))
		}
		if token, err := s.Authenticate(ctx, <-texts); err != nil || token.Role != Admin {
			t.Errorf("it opens %+v, %v", token, err)
		}
	})
}

func TestATokenThatIsNotKeptIsNotMade(t *testing.T) {
	s, ctx := open(t, Options{Dir: t.TempDir(), Log: quiet()}), t.Context()
	full := errors.New("full")
	var text string
	created, err := s.CreateAdminToken(ctx, "init", true, func(made string) error { text = made; return full })
	if created || !errors.Is(err, full) {
		t.Errorf("created %v, %v", created, err)
	}
	if _, err := s.Authenticate(ctx, text); !errors.Is(err, ErrUnauthorized) {
		t.Errorf("it opens: %v", err)
	}
}

func TestRoles(t *testing.T) {
	for i, r := range Roles {
		for j, least := range Roles {
			if r.Allows(least) != (i >= j) {
				t.Errorf("%s allows what needs %s: %v", r, least, r.Allows(least))
			}
		}
	}
	if Role("").Allows(Viewer) || Role("root").Allows(Viewer) || Role("").Allows("") {
		t.Error("an unknown role is allowed something")
	}
	if Admin.Allows("") {
		t.Error("a role that does not exist is enough")
	}
}
