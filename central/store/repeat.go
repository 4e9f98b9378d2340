package store

import (
	"context"
	"fmt"
	"time"

	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/ent"
	"github.com/pureboot/pureboot/ent/idempotencykey"
	"github.com/pureboot/pureboot/ent/predicate"
)

// keyLife is how long the key of a request is remembered.
const keyLife = 24 * time.Hour

// Repeatable is a request that its client may send again by the same Idempotency-Key, and that takes effect once. The
// first Write under its context takes the key in its own transaction: there is no effect without the key, and no key
// without an effect. A request that failed before it wrote anything has not used its key up.
type Repeatable struct {
	Principal string // whose key it is: keys of others do not collide
	Key       string
	Route     string // method, path and query
	Hash      string // SHA-256 of the body, hexadecimal

	taken bool // the key, by this request; written by Write alone, and one request writes from one goroutine at a time
}

// Taken says whether the request has taken effect.
func (r *Repeatable) Taken() bool { return r.taken }

// Answer is what a request was answered with. Status is 0 as long as that is not known: the request has taken effect,
// and its answer is still being made, or central ended before it was kept.
type Answer struct {
	Status int
	Header map[string]string
	Body   []byte // nil: not kept
}

type repeatableKey struct{}

// WithRepeatable returns a context whose first Write takes the key of r.
func WithRepeatable(ctx context.Context, r *Repeatable) context.Context {
	return context.WithValue(ctx, repeatableKey{}, r)
}

// take adds the taking of the key to a transaction, if the context is that of a request with a key not yet taken. A
// key that another request took meanwhile, on this central or another, is a *Conflict, and fn's effect is undone.
func take(ctx context.Context, fn func(tx *ent.Tx) error) (_ func(tx *ent.Tx) error, r *Repeatable) {
	r, _ = ctx.Value(repeatableKey{}).(*Repeatable)
	if r == nil || r.taken {
		return fn, nil
	}
	return func(tx *ent.Tx) error {
		at := now()
		if _, err := tx.IdempotencyKey.Delete().Where(r.is(), idempotencykey.ExpiresAtLTE(at)).Exec(ctx); err != nil {
			return err
		}
		if used, err := tx.IdempotencyKey.Query().Where(r.is()).Exist(ctx); err != nil {
			return err
		} else if used {
			return &Conflict{Field: "header.Idempotency-Key", Message: "another request with this key took effect meanwhile"}
		}
		if err := fn(tx); err != nil {
			return err
		}
		return tx.IdempotencyKey.Create().SetPrincipal(r.Principal).SetKey(r.Key).SetRoute(r.Route).SetRequestHash(r.Hash).
			SetCreatedAt(at).SetExpiresAt(at.Add(keyLife)).Exec(ctx)
	}, r
}

func (r *Repeatable) is() predicate.IdempotencyKey {
	return idempotencykey.And(idempotencykey.Principal(r.Principal), idempotencykey.Key(r.Key))
}

// AnswerTo returns what a request was answered with before, nil if its key is new, and *Invalid if the key was used for
// another request.
func (s *Store) AnswerTo(ctx context.Context, r *Repeatable) (*Answer, error) {
	row, err := s.reader.IdempotencyKey.Query().Where(r.is(), idempotencykey.ExpiresAtGT(now())).Only(ctx)
	switch {
	case ent.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("look for an idempotency key: %w", err)
	case row.Route != r.Route || row.RequestHash != r.Hash:
		return nil, &Invalid{Fields: []wire.ProblemField{{
			Location: "header.Idempotency-Key", Message: "was used for another request: a new one needs a new key", Value: r.Key,
		}}}
	}
	return &Answer{Status: row.Status, Header: row.Header, Body: row.Body}, nil
}

// KeepAnswer keeps the answer to a request that has taken effect, for those that repeat it.
func (s *Store) KeepAnswer(ctx context.Context, r *Repeatable, a Answer) error {
	err := s.Write(ctx, func(tx *ent.Tx) error {
		return tx.IdempotencyKey.Update().Where(r.is()).SetStatus(a.Status).SetHeader(a.Header).SetBody(a.Body).Exec(ctx)
	})
	if err != nil {
		return fmt.Errorf("keep an answer: %w", err)
	}
	return nil
}
