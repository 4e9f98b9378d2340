package store

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pureboot/pureboot/ent"
	"github.com/pureboot/pureboot/ent/admintoken"
)

// ErrUnauthorized says that a token opens nothing: malformed, unknown, expired or revoked.
var ErrUnauthorized = errors.New("not a valid token")

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

// Token is an admin token without its secret.
type Token struct {
	ID   string
	Name string
	Role Role
}

// CreateToken makes an admin token and returns its text, pbt_<id>_<secret>, which is kept nowhere: the database has
// the SHA-256 of the secret. The zero expires means never.
func (s *Store) CreateToken(ctx context.Context, name string, role Role, expires time.Time) (string, error) {
	var text string
	err := s.Write(ctx, func(tx *ent.Tx) (err error) {
		text, err = createToken(ctx, tx, name, role, expires)
		return err
	})
	return text, err
}

// CreateAdminToken makes a token of the role Admin and says whether it did: if only is set, it does not if one is
// there that still opens something. keep gets the token's text before the token is valid, and its error undoes it;
// it may be called again with another text, which replaces the one before.
func (s *Store) CreateAdminToken(ctx context.Context, name string, only bool, keep func(text string) error) (created bool, err error) {
	err = s.Write(ctx, func(tx *ent.Tx) error {
		created = false
		found, err := tx.AdminToken.Query().Where(
			admintoken.RoleEQ(admintoken.RoleAdmin),
			admintoken.RevokedAtIsNil(),
			admintoken.Or(admintoken.ExpiresAtIsNil(), admintoken.ExpiresAtGT(time.Now())),
		).Exist(ctx)
		if err != nil || only && found {
			return err
		}
		text, err := createToken(ctx, tx, name, Admin, time.Time{})
		if err != nil {
			return err
		}
		created = true
		return keep(text)
	})
	return created && err == nil, err
}

func createToken(ctx context.Context, tx *ent.Tx, name string, role Role, expires time.Time) (string, error) {
	id, secret := make([]byte, 8), make([]byte, 32)
	rand.Read(id) // never fails
	rand.Read(secret)
	idText, secretText := hex.EncodeToString(id), base64.RawURLEncoding.EncodeToString(secret)
	hash := sha256.Sum256([]byte(secretText))

	create := tx.AdminToken.Create().SetID(idText).SetName(name).SetRole(admintoken.Role(role)).
		SetSecretHash(hex.EncodeToString(hash[:]))
	if !expires.IsZero() {
		create.SetExpiresAt(expires)
	}
	if err := create.Exec(ctx); err != nil {
		return "", fmt.Errorf("create token %q: %w", name, err)
	}
	return "pbt_" + idText + "_" + secretText, nil
}

// Authenticate returns the token with this text. Its last use is noted to the minute.
func (s *Store) Authenticate(ctx context.Context, text string) (Token, error) {
	id, secret, ok := cutToken(text)
	if !ok {
		return Token{}, ErrUnauthorized
	}
	row, err := s.reader.AdminToken.Get(ctx, id)
	if ent.IsNotFound(err) {
		return Token{}, ErrUnauthorized
	} else if err != nil {
		return Token{}, fmt.Errorf("authenticate: %w", err)
	}
	hash := sha256.Sum256([]byte(secret))
	same := subtle.ConstantTimeCompare([]byte(hex.EncodeToString(hash[:])), []byte(row.SecretHash)) == 1
	now := time.Now()
	if !same || row.RevokedAt != nil || row.ExpiresAt != nil && !now.Before(*row.ExpiresAt) {
		return Token{}, ErrUnauthorized
	}
	if row.LastUsedAt == nil || now.Sub(*row.LastUsedAt) >= time.Minute {
		err := s.Write(ctx, func(tx *ent.Tx) error {
			return tx.AdminToken.UpdateOneID(id).SetLastUsedAt(now.UTC()).Exec(ctx)
		})
		if err != nil { // a full disk must not lock the admin out
			s.log.Warn("cannot note the use of a token", "token", id, "err", err)
		}
	}
	return Token{ID: row.ID, Name: row.Name, Role: Role(row.Role)}, nil
}

// cutToken returns the parts of a token's text. The secret may hold underscores, the id does not.
func cutToken(text string) (id, secret string, ok bool) {
	rest, ok := strings.CutPrefix(text, "pbt_")
	if !ok || len(text) > 128 {
		return "", "", false
	}
	id, secret, ok = strings.Cut(rest, "_")
	return id, secret, ok && len(id) == 16 && secret != ""
}
