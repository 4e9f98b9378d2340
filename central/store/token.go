package store

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"entgo.io/ent/dialect/sql"

	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/ent"
	"github.com/pureboot/pureboot/ent/admintoken"
	"github.com/pureboot/pureboot/ent/predicate"
)

// Role is what the holder of a token may do.
type Role string

// The roles, each of which may do all that the ones before it may.
const (
	Viewer   Role = "viewer"   // reads
	Operator Role = "operator" // acts on nodes and content
	Admin    Role = "admin"    // does all
)

// Roles lists every role, the least first.
var Roles = []Role{Viewer, Operator, Admin}

// Allows says whether r may do what needs at least the role least. An unknown role allows nothing.
func (r Role) Allows(least Role) bool {
	need := slices.Index(Roles, least)
	return need >= 0 && slices.Index(Roles, r) >= need
}

// TokenSpec is what an administrator may say of a token.
type TokenSpec struct {
	Name      string     `json:"name" minLength:"1" maxLength:"100" doc:"Of who or what uses it"`
	Role      Role       `json:"role" enum:"viewer,operator,admin"`
	ExpiresAt *time.Time `json:"expires_at,omitempty" doc:"Left out: never"`
}

// Check returns what is wrong with the token.
func (t *TokenSpec) Check() []wire.ProblemField {
	var f faults
	f.name("name", t.Name)
	if strings.TrimSpace(t.Name) == "" {
		f.add("name", nil, "is empty")
	}
	if !slices.Contains(Roles, t.Role) {
		f.add("role", clean(string(t.Role), maxName), "want viewer, operator or admin")
	}
	if t.ExpiresAt != nil {
		at := t.ExpiresAt.UTC().Truncate(time.Microsecond)
		t.ExpiresAt = &at
		if at.Year() < 1 || at.Year() > 9999 { // which JSON and the databases do not write alike, if at all
			f.add("expires_at", nil, "is not in the years 1 to 9999")
		}
	}
	return f
}

// Token is an admin token without its secret.
type Token struct {
	ID string `json:"id"`
	TokenSpec
	CreatedBy  string     `json:"created_by"`
	CreatedAt  time.Time  `json:"created_at"`
	RevokedAt  *time.Time `json:"revoked_at" doc:"Null while it is not"`
	LastUsedAt *time.Time `json:"last_used_at" doc:"To the minute; null until it is used"`
}

// Tag stands for what an administrator may have read of the token, as its ETag: all of it but when it was used.
func (t *Token) Tag() string {
	said := struct {
		TokenSpec
		RevokedAt *time.Time
	}{t.TokenSpec, t.RevokedAt}
	return `"` + checksum(said)[:16] + `"`
}

// expect says by ErrVersion that a token is not the one that was read, whose Tag is tag; an empty tag is any.
func (t *Token) expect(tag string) error {
	if tag != "" && tag != t.Tag() {
		return ErrVersion
	}
	return nil
}

// opens says whether the token is good for anything.
func (t *Token) opens(at time.Time) bool {
	return t.RevokedAt == nil && (t.ExpiresAt == nil || at.Before(*t.ExpiresAt))
}

// CheckNew is Check of a token that is to be made: its end is to come.
func (t *TokenSpec) CheckNew() []wire.ProblemField {
	f := faults(t.Check())
	if t.ExpiresAt != nil && !time.Now().Before(*t.ExpiresAt) {
		f.add("expires_at", nil, "is over")
	}
	return f
}

// CreateToken makes an admin token and returns its text too, pbt_<id>_<secret>, which is kept nowhere: the database
// has the SHA-256 of the secret.
func (s *Store) CreateToken(ctx context.Context, by Actor, spec TokenSpec) (token Token, text string, err error) {
	if err := faults(spec.CheckNew()).err(); err != nil {
		return Token{}, "", err
	}
	err = s.Write(ctx, func(tx *ent.Tx) (err error) {
		token, text, err = createToken(ctx, tx, by, spec)
		return err
	})
	return token, text, err
}

// CreateAdminToken makes a token of the role Admin and says whether it did: if only is set, it does not if one is
// there that still opens something. keep gets the token's text before the token is valid, and its error undoes it;
// it may be called again with another text, which replaces the one before.
func (s *Store) CreateAdminToken(ctx context.Context, name string, only bool, keep func(text string) error) (created bool, err error) {
	err = s.Write(ctx, func(tx *ent.Tx) error {
		created = false
		found, err := tx.AdminToken.Query().Where(admins(time.Now())).Exist(ctx)
		if err != nil || only && found {
			return err
		}
		_, text, err := createToken(ctx, tx, Actor{Name: "init"}, TokenSpec{Name: name, Role: Admin})
		if err != nil {
			return err
		}
		created = true
		return keep(text)
	})
	return created && err == nil, err
}

// admins selects the tokens of the role Admin that open something.
func admins(at time.Time) predicate.AdminToken {
	return admintoken.And(
		admintoken.RoleEQ(admintoken.RoleAdmin), admintoken.RevokedAtIsNil(),
		admintoken.Or(admintoken.ExpiresAtIsNil(), admintoken.ExpiresAtGT(at)),
	)
}

func createToken(ctx context.Context, tx *ent.Tx, by Actor, spec TokenSpec) (Token, string, error) {
	id, secret := make([]byte, 8), make([]byte, 32)
	rand.Read(id) // never fails
	rand.Read(secret)
	idText, secretText := hex.EncodeToString(id), base64.RawURLEncoding.EncodeToString(secret)
	hash := sha256.Sum256([]byte(secretText))
	row, err := tx.AdminToken.Create().SetID(idText).SetName(spec.Name).SetRole(admintoken.Role(spec.Role)).
		SetSecretHash(hex.EncodeToString(hash[:])).SetNillableExpiresAt(spec.ExpiresAt).
		SetCreatedBy(clean(by.Name, 200)).SetCreatedAt(now()).Save(ctx)
	if err != nil {
		return Token{}, "", fmt.Errorf("create token %q: %w", spec.Name, err)
	}
	made := tokenRecord(row)
	err = Audit(ctx, tx, by, Act{Action: "token.create", Subject: "token/" + idText, After: made})
	return made, "pbt_" + idText + "_" + secretText, err
}

// Token returns a token.
func (s *Store) Token(ctx context.Context, id string) (Token, error) {
	row, err := s.reader.AdminToken.Get(ctx, id)
	if err != nil {
		return Token{}, missing(err)
	}
	return tokenRecord(row), nil
}

// Tokens lists the tokens by name, those that open nothing any more among them.
func (s *Store) Tokens(ctx context.Context, paging Paging) (Page[Token], error) {
	var page Page[Token]
	limit, after, err := paging.start()
	if err != nil {
		return page, err
	}
	name, id, _ := strings.Cut(after, "\n")
	err = s.View(ctx, func(tx *ent.Tx) error {
		total, err := tx.AdminToken.Query().Count(ctx)
		if err != nil {
			return err
		}
		rows, err := tx.AdminToken.Query().Where(func(q *sql.Selector) {
			q.Where(sql.CompositeGT([]string{q.C(admintoken.FieldName), q.C(admintoken.FieldID)}, name, id))
		}).Order(ent.Asc(admintoken.FieldName, admintoken.FieldID)).Limit(limit + 1).All(ctx)
		page = pageOf(rows, limit, total, func(t *ent.AdminToken) string { return t.Name + "\n" + t.ID }, tokenRecord)
		return err
	})
	return page, err
}

// UpdateToken changes a token by edit, which gets what it is and returns what it shall be. One that was revoked stays
// as it is, and the last that administers stays one that does: *Conflict. An ifTag that is not empty must be its Tag,
// else the error is ErrVersion.
func (s *Store) UpdateToken(ctx context.Context, by Actor, id, ifTag string, edit func(TokenSpec) (TokenSpec, error)) (Token, error) {
	var changed Token
	err := s.Write(ctx, func(tx *ent.Tx) error {
		row, err := tx.AdminToken.Get(ctx, id)
		if err != nil {
			return missing(err)
		}
		before := tokenRecord(row)
		if before.RevokedAt != nil {
			return &Conflict{Message: "the token was revoked, which is final"}
		}
		if err := before.expect(ifTag); err != nil {
			return err
		}
		spec, err := edit(before.TokenSpec)
		if err != nil {
			return err
		}
		if err := faults(spec.Check()).err(); err != nil {
			return err
		}
		update := row.Update().SetName(spec.Name).SetRole(admintoken.Role(spec.Role))
		optional(spec.ExpiresAt, func(at time.Time) { update.SetExpiresAt(at) }, func() { update.ClearExpiresAt() })
		if row, err = update.Save(ctx); err != nil {
			return fmt.Errorf("update token: %w", err)
		}
		if err := someAdmin(ctx, tx, before); err != nil {
			return err
		}
		changed = tokenRecord(row)
		return Audit(ctx, tx, by, Act{Action: "token.update", Subject: "token/" + id, Before: before, After: changed})
	})
	return changed, err
}

// RevokeToken makes a token open nothing, for good. It stays in the list, since the audit names it; revoking it again
// changes nothing. The last that administers is a *Conflict. ifTag is as that of UpdateToken.
func (s *Store) RevokeToken(ctx context.Context, by Actor, id, ifTag string) error {
	return s.Write(ctx, func(tx *ent.Tx) error {
		row, err := tx.AdminToken.Get(ctx, id)
		if err != nil {
			return missing(err)
		}
		before := tokenRecord(row)
		if before.RevokedAt != nil {
			return nil
		}
		if err := before.expect(ifTag); err != nil {
			return err
		}
		if row, err = row.Update().SetRevokedAt(now()).Save(ctx); err != nil {
			return fmt.Errorf("revoke token: %w", err)
		}
		if err := someAdmin(ctx, tx, before); err != nil {
			return err
		}
		return Audit(ctx, tx, by, Act{Action: "token.revoke", Subject: "token/" + id, Before: before, After: tokenRecord(row)})
	})
}

// someAdmin says by a *Conflict that a change of a token has left none that administers.
func someAdmin(ctx context.Context, tx *ent.Tx, before Token) error {
	at := time.Now()
	if before.Role != Admin || !before.opens(at) {
		return nil
	}
	found, err := tx.AdminToken.Query().Where(admins(at)).Exist(ctx)
	if err == nil && !found {
		err = &Conflict{Message: "it is the last token of the role admin: make another first"}
	}
	return err
}

func tokenRecord(row *ent.AdminToken) Token {
	return Token{
		ID: row.ID, TokenSpec: TokenSpec{Name: row.Name, Role: Role(row.Role), ExpiresAt: row.ExpiresAt},
		CreatedBy: row.CreatedBy, CreatedAt: row.CreatedAt, RevokedAt: row.RevokedAt, LastUsedAt: row.LastUsedAt,
	}
}
