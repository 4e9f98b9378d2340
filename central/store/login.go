package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/pureboot/pureboot/ent"
	"github.com/pureboot/pureboot/ent/admintoken"
)

// ErrUnauthorized says that a token opens nothing: malformed, unknown, expired or revoked.
var ErrUnauthorized = errors.New("not a valid token")

// usesEvery is how often the uses of tokens are written.
const usesEvery = time.Minute

// uses holds when tokens were last used, until that is written. There are no more than tokens.
type uses struct {
	mu sync.Mutex
	at map[string]time.Time
}

func (u *uses) note(id string, at time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.at == nil {
		u.at = map[string]time.Time{}
	}
	u.at[id] = at
}

// take returns what there is, and forgets it.
func (u *uses) take() map[string]time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	at := u.at
	u.at = nil
	return at
}

// Authenticate returns the token with this text, or ErrUnauthorized. It only reads, so it works on a full disk.
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
	token, at := tokenRecord(row), now()
	if !same(hex.EncodeToString(hash[:]), row.SecretHash) || !token.opens(at) {
		return Token{}, ErrUnauthorized
	}
	s.uses.note(id, at)
	return token, nil
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

// Run writes each minute what tokens were used, until ctx ends, and then once more. It also writes down
// what has expired, and sees to it that the disk keeps the room for central's next start.
func (s *Store) Run(ctx context.Context) error {
	tick := time.NewTicker(usesEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.writeUses(ctx)
			s.sweep(ctx, now())
			s.keepReserve()
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			s.writeUses(last)
			return nil
		}
	}
}

// writeUses writes when tokens were last used, all in one transaction. What cannot be written is lost: it is no more
// than a hint of which tokens nobody needs.
func (s *Store) writeUses(ctx context.Context) {
	used := s.uses.take()
	if len(used) == 0 {
		return
	}
	err := s.Write(ctx, func(tx *ent.Tx) error {
		for id, at := range used {
			err := tx.AdminToken.Update().
				Where(admintoken.ID(id), admintoken.Or(admintoken.LastUsedAtIsNil(), admintoken.LastUsedAtLT(at))).
				SetLastUsedAt(at).Exec(ctx)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		s.log.Warn("cannot note the use of tokens", "err", err)
	}
}
