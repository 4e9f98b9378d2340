package store

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/pureboot/pureboot/ent"
)

// Actor is on whose behalf something is done.
type Actor struct {
	Name      string    // as logs name it: admin:NAME or site:NAME
	Site      uuid.UUID // of an agent, which reaches the nodes of its site alone; uuid.Nil for an administrator
	From      string    // address
	RequestID string
	Standing  Standing // of an agent
}

func (a Actor) agent() bool { return a.Site != uuid.Nil }

// Act is what an audit entry says besides who did it.
type Act struct {
	Action        string // as site.create
	Subject       string // as site/<id>
	Detail        string
	Before, After any // encoded as JSON; what is called a secret, and passwords in URLs, are left out
}

// Audit writes an audit entry in the transaction of the act itself.
func Audit(ctx context.Context, tx *ent.Tx, by Actor, act Act) error {
	create := tx.AuditEntry.Create().SetAt(now()).
		SetWho(clean(by.Name, 200)).SetFromAddress(clean(by.From, 64)).SetRequestID(clean(by.RequestID, 64)).
		SetAction(act.Action).SetSubject(clean(act.Subject, 300)).SetDetail(clean(act.Detail, maxMessage))
	for _, state := range []struct {
		of  any
		set func([]byte) *ent.AuditEntryCreate
	}{{act.Before, create.SetBefore}, {act.After, create.SetAfter}} {
		if state.of == nil {
			continue
		}
		text, err := image(state.of)
		if err != nil {
			return fmt.Errorf("audit %s: %w", act.Action, err)
		}
		state.set(text)
	}
	if err := create.Exec(ctx); err != nil {
		return fmt.Errorf("audit %s: %w", act.Action, err)
	}
	return nil
}

// AuditAlone writes an audit entry for what changed nothing else, such as a refusal.
func (s *Store) AuditAlone(ctx context.Context, by Actor, act Act) error {
	return s.Write(ctx, func(tx *ent.Tx) error { return Audit(ctx, tx, by, act) })
}

// auditAdmin writes an audit entry if an administrator acts. What agents report is kept in the nodes' own logs.
func auditAdmin(ctx context.Context, tx *ent.Tx, by Actor, act Act) error {
	if by.agent() {
		return nil
	}
	return Audit(ctx, tx, by, act)
}

// now is the time in what both databases keep of it.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }
