package node

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/pureboot/pureboot/central/lifecycle"
	"github.com/pureboot/pureboot/central/wire"
)

// maxWaiting is how many reports may wait for central. More are refused rather than the oldest dropped.
const maxWaiting = 10_000

// ErrFull means that too many reports wait for central already.
var ErrFull = errors.New("too many reports wait for central")

// Event passes a machine's report on and reflects it in the site's copy. When central does not answer, the report
// takes effect here and waits (provisional): a machine that was installed while central was away must not be
// installed again at its next boot. Errors: central's *wire.Refusal, ErrUnknown, ErrFull.
func (s *Store) Event(ctx context.Context, id string, e wire.Event) (n wire.Node, provisional bool, err error) {
	if e.EventID == "" {
		e.EventID = rand.Text() // so that a report which waits is delivered once
	}
	behind, err := s.reportsOf(ctx, id)
	if err != nil {
		return n, false, err
	}
	if behind == 0 && s.opt.Central != nil {
		call, cancel := context.WithTimeout(ctx, 2*s.opt.Patience)
		n, err = s.opt.Central.Event(call, id, e)
		cancel()
		if err == nil {
			return n, false, s.reflect(ctx, n)
		}
		if r, ok := errors.AsType[*wire.Refusal](err); ok && r.Final() {
			return n, false, err
		}
		s.opt.Log.Warn("report waits for central", "node", id, "event", e.EventType, "err", err)
	}
	n, err = s.enqueue(context.WithoutCancel(ctx), id, e)
	return n, true, err
}

// ChangeState passes a transition that a machine asks for on to central and reflects it in the site's copy.
// Errors: central's *wire.Refusal, ErrUnavailable.
func (s *Store) ChangeState(ctx context.Context, id string, change wire.StateChange) (wire.Node, error) {
	if s.opt.Central == nil {
		return wire.Node{}, ErrUnavailable
	}
	call, cancel := context.WithTimeout(ctx, 2*s.opt.Patience)
	defer cancel()
	n, err := s.opt.Central.ChangeState(call, id, change)
	if r, ok := errors.AsType[*wire.Refusal](err); ok && r.Final() {
		return n, err
	}
	if err != nil {
		s.opt.Log.Warn("transition not passed on", "node", id, "state", change.State, "err", err)
		return n, ErrUnavailable
	}
	return n, s.reflect(ctx, n)
}

// reflect puts what central answered to a write into the copy.
func (s *Store) reflect(ctx context.Context, n wire.Node) error {
	err := s.tx(ctx, func(tx *sql.Tx) error {
		rec, err := copyIn(ctx, tx, n.ID)
		if errors.Is(err, ErrUnknown) {
			return nil // the next lookup brings it, whole
		}
		if err != nil {
			return err
		}
		if behind, err := waiting(ctx, tx, n.ID); err != nil || behind > 0 || n.Version < rec.Node.Version {
			return err
		}
		// Another workflow or group changes more than the node itself: that is to be asked for.
		expired := n.WorkflowID != rec.Node.WorkflowID || n.GroupID != rec.Node.GroupID || n.HomeSiteID != rec.Node.HomeSiteID
		rec.Node = n
		if err := save(ctx, tx, rec); err != nil || !expired {
			return err
		}
		_, err = tx.ExecContext(ctx, "UPDATE nodes SET expired = 1 WHERE id = ?", n.ID)
		return err
	})
	if err != nil {
		return fmt.Errorf("reflect node %s: %w", n.ID, err)
	}
	return nil
}

// enqueue lets a report take effect in the copy and writes it down for central, in one transaction.
func (s *Store) enqueue(ctx context.Context, id string, e wire.Event) (wire.Node, error) {
	text, err := json.Marshal(e)
	if err != nil {
		return wire.Node{}, fmt.Errorf("encode a report: %w", err)
	}
	var n wire.Node
	err = s.tx(ctx, func(tx *sql.Tx) error {
		var all int
		if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM outbox").Scan(&all); err != nil {
			return err
		}
		if all >= maxWaiting {
			return ErrFull
		}
		rec, err := copyIn(ctx, tx, id)
		if err != nil {
			return err
		}
		apply(&rec.Node, e, time.Now())
		n = rec.Node
		if err := save(ctx, tx, rec); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "INSERT INTO outbox (node_id, event) VALUES (?, ?)", id, text)
		return err
	})
	return n, err
}

// apply does to a node what central will do when the report arrives.
func apply(n *wire.Node, e wire.Event, now time.Time) {
	in, steps := install(n).On(lifecycle.Event{
		Type: lifecycle.EventType(e.EventType), Status: lifecycle.EventStatus(e.Status), Message: e.Message,
	}, now)
	n.State, n.InstallSeq, n.InstallAttempts, n.LastInstallError = string(in.State), in.Seq, in.Attempts, in.LastError
	n.InstallStartedAt = nil
	if !in.StartedAt.IsZero() {
		n.InstallStartedAt = &in.StartedAt
	}
	if len(steps) > 0 {
		n.StateChangedAt = now
	}
}

// Deliver sends the reports that wait, oldest first, until none is left or central does not answer. A report that
// central refuses for good is dropped with an error in the log: it must not hold up the others.
func (s *Store) Deliver(ctx context.Context) error {
	for {
		var seq int64
		var id string
		var text []byte
		err := s.read.QueryRowContext(ctx, "SELECT op_seq, node_id, event FROM outbox ORDER BY op_seq LIMIT 1").Scan(&seq, &id, &text)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		var e wire.Event
		if err == nil {
			err = json.Unmarshal(text, &e)
		}
		if err != nil {
			return fmt.Errorf("read a waiting report: %w", err)
		}
		call, cancel := context.WithTimeout(ctx, lookupTime)
		n, err := s.opt.Central.Event(call, id, e)
		cancel()
		if r, ok := errors.AsType[*wire.Refusal](err); ok && r.Final() {
			s.opt.Log.Error("report refused by central", "node", id, "event", e.EventType, "err", err)
		} else if err != nil {
			return fmt.Errorf("deliver a report: %w", err)
		}
		if _, err := s.write.ExecContext(ctx, "DELETE FROM outbox WHERE op_seq = ?", seq); err != nil {
			return fmt.Errorf("cross out a report: %w", err)
		}
		if n.ID != "" {
			if err := s.reflect(ctx, n); err != nil {
				return err
			}
		} else if err := s.Expire(ctx, []string{id}); err != nil {
			return err
		}
	}
}

// Waiting returns how many reports wait for central.
func (s *Store) Waiting(ctx context.Context) (int, error) {
	var n int
	return n, s.read.QueryRowContext(ctx, "SELECT count(*) FROM outbox").Scan(&n)
}

func (s *Store) reportsOf(ctx context.Context, id string) (int, error) {
	var n int
	return n, s.read.QueryRowContext(ctx, "SELECT count(*) FROM outbox WHERE node_id = ?", id).Scan(&n)
}

func waiting(ctx context.Context, tx *sql.Tx, id string) (int, error) {
	var n int
	return n, tx.QueryRowContext(ctx, "SELECT count(*) FROM outbox WHERE node_id = ?", id).Scan(&n)
}

// copyIn reads a copy within a transaction.
func copyIn(ctx context.Context, tx *sql.Tx, id string) (Record, error) {
	var rec Record
	var text []byte
	var at int64
	err := tx.QueryRowContext(ctx, "SELECT boot, fetched_at FROM nodes WHERE id = ?", id).Scan(&text, &at)
	if errors.Is(err, sql.ErrNoRows) {
		return rec, ErrUnknown
	}
	if err == nil {
		err = json.Unmarshal(text, &rec.Boot)
	}
	rec.FetchedAt = time.UnixMilli(at)
	return rec, err
}
