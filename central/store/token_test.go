package store

import (
	"context"
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
		text, err := makeToken(ctx, s, "ci", Operator)
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
		if row.LastUsedAt != nil {
			t.Error("its use was written at once")
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
		text = expired(t, s)
		if _, err := s.Authenticate(ctx, text); !errors.Is(err, ErrUnauthorized) {
			t.Errorf("expired, it says %v", err)
		}
	})
}

func makeToken(ctx context.Context, s *Store, name string, role Role) (string, error) {
	_, text, err := s.CreateToken(ctx, root, TokenSpec{Name: name, Role: role})
	return text, err
}

// expired makes an admin token whose time is over.
func expired(t *testing.T, s *Store) string {
	t.Helper()
	text, err := makeToken(t.Context(), s, "old", Admin)
	if err != nil {
		t.Fatal(err)
	}
	id, _, _ := cutToken(text)
	err = s.Write(t.Context(), func(tx *ent.Tx) error {
		return tx.AdminToken.UpdateOneID(id).SetExpiresAt(time.Now().Add(-time.Second)).Exec(t.Context())
	})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// Uses are written together, by a loop that writes the last ones as it ends.
func TestUsesOfTokensAreWrittenTogether(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		s, ctx := open(t, o), t.Context()
		var ids []string
		for _, name := range []string{"a", "b", "unused"} {
			token, text, err := s.CreateToken(ctx, root, TokenSpec{Name: name, Role: Viewer})
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, token.ID)
			for range 3 {
				if name == "unused" {
					continue
				}
				if _, err := s.Authenticate(ctx, text); err != nil {
					t.Fatal(err)
				}
			}
		}
		before := time.Now().Add(-time.Minute)
		running, cancel := context.WithCancel(ctx)
		cancel()
		if err := s.Run(running); err != nil {
			t.Fatal(err)
		}
		for i, id := range ids {
			row := s.Read().AdminToken.GetX(ctx, id)
			if used := row.LastUsedAt != nil && row.LastUsedAt.After(before); used != (i < 2) {
				t.Errorf("%s was last used at %v", row.Name, row.LastUsedAt)
			}
		}
	})
}

func TestATokenIsRevokedForGood(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		s, ctx := open(t, o), t.Context()
		first, text, err := s.CreateToken(ctx, root, TokenSpec{Name: "first", Role: Admin})
		if err != nil {
			t.Fatal(err)
		}
		demote := func(spec TokenSpec) (TokenSpec, error) { spec.Role = Viewer; return spec, nil }
		expired(t, s)
		if err := s.RevokeToken(ctx, root, first.ID, ""); !conflict(err) {
			t.Errorf("the last admin was revoked: %v", err)
		}
		if _, err := s.UpdateToken(ctx, root, first.ID, "", demote); !conflict(err) {
			t.Errorf("the last admin was made a viewer: %v", err)
		}
		if _, err := s.Authenticate(ctx, text); err != nil {
			t.Errorf("it opens nothing any more: %v", err)
		}
		second, _, err := s.CreateToken(ctx, root, TokenSpec{Name: "second", Role: Admin})
		if err != nil {
			t.Fatal(err)
		}
		if changed, err := s.UpdateToken(ctx, root, second.ID, "", func(spec TokenSpec) (TokenSpec, error) {
			soon := time.Now().Add(time.Hour)
			spec.Name, spec.ExpiresAt = "other", &soon
			return spec, nil
		}); err != nil || changed.Name != "other" || changed.ExpiresAt == nil {
			t.Errorf("it became %+v, %v", changed, err)
		}
		for range 2 {
			if err := s.RevokeToken(ctx, root, first.ID, ""); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.Authenticate(ctx, text); !errors.Is(err, ErrUnauthorized) {
			t.Errorf("revoked, it says %v", err)
		}
		if _, err := s.UpdateToken(ctx, root, first.ID, "", demote); !conflict(err) {
			t.Errorf("what was revoked was changed: %v", err)
		}
		if err := s.RevokeToken(ctx, root, "0000000000000000", ""); !errors.Is(err, ErrNotFound) {
			t.Errorf("an unknown one: %v", err)
		}
		page, err := s.Tokens(ctx, Paging{Limit: 2})
		if err != nil || page.Total != 3 || len(page.Items) != 2 || page.Items[0].Name != "first" || page.Items[0].RevokedAt == nil {
			t.Errorf("the list begins %+v, %v", page, err)
		}
		if rest, err := s.Tokens(ctx, Paging{Cursor: page.NextCursor}); err != nil || len(rest.Items) != 1 || rest.Items[0].Name != "other" {
			t.Errorf("it goes on %+v, %v", rest, err)
		}
		over := time.Now().Add(-time.Hour)
		for what, spec := range map[string]TokenSpec{
			"no name": {Role: Viewer}, "no role": {Name: "x"}, "an unknown role": {Name: "x", Role: "root"},
			"a line break": {Name: "x\ny", Role: Viewer}, "a time that is over": {Name: "x", Role: Viewer, ExpiresAt: &over},
		} {
			_, _, err := s.CreateToken(ctx, root, spec)
			if invalid, ok := errors.AsType[*Invalid](err); !ok || len(invalid.Fields) != 1 {
				t.Errorf("%s: %v", what, err)
			}
		}
	})
}

func TestForgedTokens(t *testing.T) {
	s, ctx := open(t, Options{Dir: t.TempDir(), Log: quiet()}), t.Context()
	a, err1 := makeToken(ctx, s, "a", Admin)
	b, err2 := makeToken(ctx, s, "b", Admin)
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
		if _, err := makeToken(ctx, s, "viewer", Viewer); err != nil {
			t.Fatal(err)
		}
		expired(t, s)
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
