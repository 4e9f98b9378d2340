package node

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/pureboot/pureboot/central/lifecycle"
	"github.com/pureboot/pureboot/central/wire"
)

// Bounds of what may wait for central. More is refused rather than the oldest dropped. The second half of each is
// kept for reports that move a machine: those of its progress, many a minute, must not crowd out that it is done.
const (
	maxWaiting      = 10_000   // reports
	maxWaitingBytes = 64 << 20 // of their JSON
)

// ErrFull means that too many reports wait for central already.
var ErrFull = errors.New("too many reports wait for central")

// enqueue lets a report take effect in the copy and writes it down for central, in one transaction.
// Errors: ErrUnavailable when there is no copy, ErrFull.
func (s *Store) enqueue(ctx context.Context, id string, e wire.Event) (wire.Node, error) {
	text, err := json.Marshal(e)
	if err != nil {
		return wire.Node{}, fmt.Errorf("encode a report: %w", err)
	}
	var rec Record
	err = s.tx(ctx, func(tx *sql.Tx) error {
		var reports, bytes int
		err := tx.QueryRowContext(ctx, "SELECT count(*), coalesce(sum(length(event)), 0) FROM outbox").Scan(&reports, &bytes)
		if err != nil {
			return err
		}
		share := 1
		switch lifecycle.EventType(e.EventType) {
		case lifecycle.InstallProgress, lifecycle.Heartbeat:
			share = 2
		}
		if reports >= maxWaiting/share || bytes+len(text) > maxWaitingBytes/share {
			return ErrFull
		}
		if rec, _, err = copyOf(ctx, tx, byID, id); err != nil {
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		at := time.Now()
		apply(&rec.Node, e, at)
		if err := save(ctx, tx, rec); err != nil {
			return err
		}
		return insertReport(ctx, tx, id, at.UnixMilli(), text)
	})
	if err != nil {
		return wire.Node{}, fmt.Errorf("keep a report: %w", err)
	}
	return rec.Node, nil
}

func insertReport(ctx context.Context, tx *sql.Tx, id string, at int64, text []byte) error {
	_, err := tx.ExecContext(ctx, "INSERT INTO outbox (node_id, at, event) VALUES (?, ?, ?)", id, at, text)
	return err
}

// report is a row of the outbox.
type report struct {
	seq   int64
	node  string
	at    time.Time
	event wire.Event
	fault error // the row is damaged
}

func scanReport(row interface{ Scan(...any) error }) (report, error) {
	var r report
	var at int64
	var text []byte
	if err := row.Scan(&r.seq, &r.node, &at, &text); err != nil {
		return r, err
	}
	r.at = time.UnixMilli(at)
	r.fault = json.Unmarshal(text, &r.event)
	return r, nil
}

// replay does to central's word on a node what its waiting reports will do to it. Central may have the first of them
// already, when only its answer was lost; a report that arrives twice changes nothing.
func replay(ctx context.Context, db reader, n *wire.Node) error {
	rows, err := db.QueryContext(ctx, "SELECT op_seq, node_id, at, event FROM outbox WHERE node_id = ? ORDER BY op_seq", n.ID)
	if err != nil {
		return fmt.Errorf("read the reports of a node: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		r, err := scanReport(rows)
		if err != nil {
			return fmt.Errorf("read the reports of a node: %w", err)
		}
		if r.fault == nil {
			apply(n, r.event, r.at)
		}
	}
	return rows.Err()
}

// deliverTime is after how long Deliver leaves the rest for the next time, so that it never holds up the heartbeat.
const deliverTime = 20 * time.Second

// Deliver sends the reports that wait, oldest first, until none is left, central does not answer, or it has taken
// long enough. A report that central refuses for good is dropped with an error in the log; one that central fails at
// waits, with all later ones of its node. Neither holds up the reports of other nodes.
func (s *Store) Deliver(ctx context.Context) error {
	if s.opt.Central == nil {
		return nil
	}
	s.delivery.Lock() // two at once would mix up the order
	defer s.delivery.Unlock()
	parked := map[string]error{} // by node
	began, after := time.Now(), int64(0)
	for time.Since(began) < deliverTime {
		row := s.read.QueryRowContext(ctx,
			"SELECT op_seq, node_id, at, event FROM outbox WHERE op_seq > ? ORDER BY op_seq LIMIT 1", after)
		r, err := scanReport(row)
		if errors.Is(err, sql.ErrNoRows) {
			break
		}
		if err != nil {
			return fmt.Errorf("read a waiting report: %w", err)
		}
		after = r.seq
		if parked[r.node] != nil {
			continue
		}
		if err := s.deliver(ctx, r); isPoison(err) {
			parked[r.node] = err
		} else if err != nil {
			return fmt.Errorf("deliver a report: %w", err)
		}
	}
	for id, err := range parked {
		return fmt.Errorf("central fails at reports of %d nodes, as of %s: %w", len(parked), id, err)
	}
	return nil
}

// isPoison says whether central failed at this one report, as far as can be told.
func isPoison(err error) bool {
	refusal, ok := errors.AsType[*wire.Refusal](err)
	return ok && refusal.Status == http.StatusInternalServerError
}

// deliver sends a report and crosses it out. After an error it still waits.
func (s *Store) deliver(ctx context.Context, r report) error {
	var n wire.Node
	refused := r.fault
	if refused == nil {
		call, cancel := context.WithTimeout(ctx, lookupTime)
		defer cancel()
		var err error
		n, err = s.opt.Central.Event(call, r.node, r.event)
		if refusal, ok := errors.AsType[*wire.Refusal](err); ok && refusal.Final() {
			refused = err
		} else if err != nil {
			return err
		}
	}
	if refused != nil {
		s.opt.Log.Error("report dropped", "node", r.node, "event", r.event.EventType, "event_id", r.event.EventID,
			"reported", r.at, "err", refused)
	}
	// In one step with what it means for the copy, so that the report's effect shows all the time.
	return s.tx(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "DELETE FROM outbox WHERE op_seq = ?", r.seq); err != nil {
			return err
		}
		if refused != nil {
			return mark(ctx, tx, r.node, true)
		}
		return reflectIn(ctx, tx, n)
	})
}

// Waiting returns how many reports wait for central.
func (s *Store) Waiting(ctx context.Context) (int, error) {
	var n int
	return n, s.read.QueryRowContext(ctx, "SELECT count(*) FROM outbox").Scan(&n)
}

func (s *Store) waitingOf(ctx context.Context, id string) (int, error) {
	var n int
	err := s.read.QueryRowContext(ctx, "SELECT count(*) FROM outbox WHERE node_id = ?", id).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("read the reports of a node: %w", err)
	}
	return n, nil
}
