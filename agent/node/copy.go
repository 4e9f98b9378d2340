package node

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/pureboot/pureboot/central/lifecycle"
	"github.com/pureboot/pureboot/central/wire"
)

// Record is a node as the site knows it.
type Record struct {
	wire.Boot
	FetchedAt time.Time // when central said so
	Source    Source
}

// Source says where a record came from.
type Source string

// The sources of a record.
const (
	Fresh       Source = "local"   // a fresh copy
	FromCentral Source = "central" // asked for now
	Stale       Source = "stale"   // an old copy, because central did not answer
)

// Install returns what decides the node's boots.
func (r *Record) Install() lifecycle.Install { return install(&r.Node) }

func install(n *wire.Node) lifecycle.Install {
	in := lifecycle.Install{
		State: lifecycle.State(n.State), Seq: n.InstallSeq, Attempts: n.InstallAttempts, LastError: n.LastInstallError,
		Next: lifecycle.NextBoot(n.NextBoot),
	}
	if n.InstallStartedAt != nil {
		in.StartedAt = *n.InstallStartedAt
	}
	return in
}

// Which copy: the conditions of copyOf and forget. A system UUID that two copies share belongs to neither: makers
// and cloned machines do repeat them, and the wrong machine must not be installed.
const (
	byID   = "id = ?1"
	byMAC  = "id = (SELECT node_id FROM macs WHERE mac = ?1)"
	byUUID = "id = (SELECT max(id) FROM nodes WHERE system_uuid = ?1 AND system_uuid <> '' HAVING count(*) = 1)"
)

// copyOf reads a copy, and whether central said that it has changed since. Errors: ErrUnknown, errDamaged.
func copyOf(ctx context.Context, db reader, which, arg string) (rec Record, expired bool, err error) {
	var boot []byte
	var at int64
	err = db.QueryRowContext(ctx, "SELECT boot, fetched_at, expired FROM nodes WHERE "+which, arg).Scan(&boot, &at, &expired)
	if errors.Is(err, sql.ErrNoRows) {
		return Record{}, false, ErrUnknown
	}
	if err != nil {
		return Record{}, false, fmt.Errorf("read the copy of a node: %w", err)
	}
	if err := json.Unmarshal(boot, &rec.Boot); err != nil {
		return Record{}, false, fmt.Errorf("%w: copy of a node: %w", errDamaged, err)
	}
	rec.FetchedAt = time.UnixMilli(at)
	return rec, expired, nil
}

// moment is what was known when a question to central began.
type moment struct {
	marks   int64 // of the store
	version int64 // of the copy; zero when there was none
}

// put keeps what central answered to a question and returns the record to boot from: central's word with the waiting
// reports on top. Much can happen between the question and its answer:
//
//   - A report is passed on, and central's answer to it overtakes this one. It left a copy of a later version than
//     this answer's and than the copy had when the question began: the copy stands. (A copy that was of a later
//     version all along means that central was restored from a backup: the answer stands.)
//   - The heartbeat brings word that the node has changed. This answer may be older than that, so the copy stays
//     marked. It is enough to know that any copy was marked meanwhile: that costs one question more.
//
// A copy that cannot be written, as on a full disk, does not keep the machine from booting.
func (s *Store) put(ctx context.Context, boot wire.Boot, since moment) (Record, error) {
	if boot.Node.ID == "" || boot.Node.MACAddress == "" {
		return Record{}, errors.New("central's answer describes no node")
	}
	var rec Record
	err := s.tx(ctx, func(tx *sql.Tx) error {
		var stands bool
		var err error
		if rec, stands, err = merge(ctx, tx, boot, since); err != nil || stands {
			return err
		}
		if err := save(ctx, tx, rec); err != nil {
			return err
		}
		return mark(ctx, tx, boot.Node.ID, s.marks.Load() != since.marks)
	})
	if err != nil {
		s.opt.Log.Error("record of a node not kept", "node", boot.Node.ID, "err", err, "request", wire.RequestID(ctx))
		rec, _, err = merge(ctx, s.read, boot, since)
	}
	return rec, err
}

// merge returns the record to boot from, and whether it is the copy, which stands.
func merge(ctx context.Context, db reader, boot wire.Boot, since moment) (rec Record, stands bool, err error) {
	have, _, err := copyOf(ctx, db, byID, boot.Node.ID)
	if err == nil && have.Node.Version > boot.Node.Version && have.Node.Version != since.version {
		have.Source = Fresh
		return have, true, nil
	}
	rec = Record{Boot: boot, FetchedAt: time.Now(), Source: FromCentral}
	return rec, false, replay(ctx, db, &rec.Node)
}

// reflect puts what central answered to a write into the copy.
func (s *Store) reflect(ctx context.Context, n wire.Node) error {
	err := s.tx(ctx, func(tx *sql.Tx) error { return reflectIn(ctx, tx, n) })
	if err != nil {
		return fmt.Errorf("reflect node %s: %w", n.ID, err)
	}
	return nil
}

func reflectIn(ctx context.Context, tx *sql.Tx, n wire.Node) error {
	rec, _, err := copyOf(ctx, tx, byID, n.ID)
	switch {
	case errors.Is(err, ErrUnknown):
		return nil // the next lookup brings it, whole
	case errors.Is(err, errDamaged):
		_, err := tx.ExecContext(ctx, "DELETE FROM nodes WHERE id = ?", n.ID)
		return err
	case err != nil:
		return err
	case n.Version < rec.Node.Version:
		// A later answer was faster, or central was restored from a backup. Central is asked which it is.
		return mark(ctx, tx, n.ID, true)
	}
	// The workflow and the merged parameters are not in the answer. Where they may have changed, they are asked for.
	changed := n.WorkflowID != rec.Node.WorkflowID || n.GroupID != rec.Node.GroupID ||
		n.HomeSiteID != rec.Node.HomeSiteID || n.NextBoot != "" && n.NextBoot != rec.Node.NextBoot || !maps.Equal(n.Params, rec.Node.Params)
	rec.Node = n
	if err := replay(ctx, tx, &rec.Node); err != nil {
		return err
	}
	if err := save(ctx, tx, rec); err != nil || !changed {
		return err
	}
	return mark(ctx, tx, n.ID, true)
}

// save writes the row of a node, but for its mark, and those of its MAC addresses.
func save(ctx context.Context, tx *sql.Tx, rec Record) error {
	text, err := json.Marshal(rec.Boot)
	if err != nil {
		return err
	}
	n := &rec.Node
	_, err = tx.ExecContext(ctx, `INSERT INTO nodes (id, system_uuid, boot, fetched_at) VALUES (?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET system_uuid = excluded.system_uuid, boot = excluded.boot, fetched_at = excluded.fetched_at`,
		n.ID, n.SystemUUID, text, rec.FetchedAt.UnixMilli())
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "DELETE FROM macs WHERE node_id = ?", n.ID); err != nil {
		return err
	}
	macs := map[string]bool{n.MACAddress: true}
	for _, i := range n.Interfaces {
		macs[i.MACAddress] = true
	}
	for mac := range macs {
		// A card that was another node's has been moved.
		if _, err := tx.ExecContext(ctx, "INSERT OR REPLACE INTO macs (mac, node_id) VALUES (?, ?)", mac, n.ID); err != nil {
			return err
		}
	}
	return nil
}

// mark says whether central is to be asked before the copy is served again, however fresh it is.
func mark(ctx context.Context, tx *sql.Tx, id string, expired bool) error {
	_, err := tx.ExecContext(ctx, "UPDATE nodes SET expired = ? WHERE id = ?", expired, id)
	return err
}

// forget drops the copy of a node that central no longer has.
func (s *Store) forget(ctx context.Context, which, arg string) error {
	if _, err := s.write.ExecContext(ctx, "DELETE FROM nodes WHERE "+which, arg); err != nil {
		return fmt.Errorf("forget a node: %w", err)
	}
	return nil
}

// Count returns how many nodes the site has a copy of.
func (s *Store) Count(ctx context.Context) (int, error) {
	var n int
	return n, s.read.QueryRowContext(ctx, "SELECT count(*) FROM nodes").Scan(&n)
}
