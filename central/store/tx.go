package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"entgo.io/ent/dialect"
	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlitelib "modernc.org/sqlite/lib"

	"github.com/pureboot/pureboot/ent"
)

// ErrNoSpace says that a disk is full. Nothing was written.
var ErrNoSpace = errors.New("no space left on the disk")

// Read returns a client for single queries. It cannot write with SQLite and must not be used to with PostgreSQL.
func (s *Store) Read() *ent.Client { return s.reader }

// View runs fn over one snapshot of the database, for what several queries must agree on. fn must not write, and
// must not use the store but by tx.
func (s *Store) View(ctx context.Context, fn func(tx *ent.Tx) error) error {
	opts := &sql.TxOptions{ReadOnly: true}
	if s.dialect == dialect.Postgres {
		opts.Isolation = sql.LevelRepeatableRead
	}
	return once(ctx, s.reader, opts, fn)
}

// Write runs fn in one transaction, which is committed when fn returns nil and has reached the disk when Write does.
// All writes appear as if one came after the other: SQLite has a single writer, and what PostgreSQL cannot order is
// rolled back and tried again. So fn may run several times: it has no effect but by tx, and it sets what it hands
// out anew each time. fn must not call Write or Read, and must not wait for the network. The first write under the context
// of a Repeatable takes its key.
func (s *Store) Write(ctx context.Context, fn func(tx *ent.Tx) error) error {
	var opts *sql.TxOptions
	if s.dialect == dialect.Postgres {
		opts = &sql.TxOptions{Isolation: sql.LevelSerializable}
	}
	fn, key := take(ctx, fn)
	for try := 1; ; try++ {
		err := once(ctx, s.writer, opts, fn)
		if err == nil && key != nil {
			key.taken = true
		}
		if err == nil || try == maxTries || !retryable(err) && !(raced(err) && try < maxRaces) {
			return violated(err)
		}
		select {
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		case <-time.After(backoff(try)):
		}
	}
}

// maxTries bounds how often a write that lost against others is tried.
const maxTries = 20

// backoff returns a random part of a time that doubles with each try up to 256 ms.
func backoff(try int) time.Duration {
	return rand.N(time.Millisecond << min(try, 8))
}

// retryable says whether PostgreSQL undid a transaction only because of others beside it: serialization_failure and
// deadlock_detected.
func retryable(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (e.Code == "40001" || e.Code == "40P01")
}

// Away says whether an error is that the database cannot be asked at the moment: PostgreSQL ends, starts, is not reached
// or has no connection left, or somebody else has SQLite's file to himself.
func Away(err error) bool {
	if lite, ok := errors.AsType[*sqlite.Error](err); ok {
		return lite.Code()&0xff == sqlitelib.SQLITE_BUSY
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		class := e.Code[:min(len(e.Code), 2)]
		return class == "08" || class == "57" && e.Code != "57014" || e.Code == "53300" // 57014 is a query that was canceled
	}
	_, unreached := errors.AsType[*pgconn.ConnectError](err)
	return unreached || errors.Is(err, driver.ErrBadConn)
}

// maxRaces bounds how often a write is tried again whose checks found nothing and which a constraint then refused. With
// PostgreSQL another write has come between; now the check finds it and says more than the constraint.
const maxRaces = 3

func raced(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (e.Code == "23505" || e.Code == "23503")
}

// once runs fn in a transaction of its own.
func once(ctx context.Context, c *ent.Client, opts *sql.TxOptions, fn func(tx *ent.Tx) error) error {
	tx, err := c.BeginTx(ctx, opts)
	if err != nil {
		return err
	}
	committed := false
	defer func() { // after an error and after a panic alike
		if !committed {
			_ = tx.Rollback()
		}
	}()
	if err := fn(tx); err != nil {
		return noSpace(err)
	}
	committed = true
	return noSpace(tx.Commit())
}

// noSpace marks the errors of a full disk as ErrNoSpace: SQLITE_FULL, SQLITE_IOERR_SHMSIZE as long as the index of the
// log has no room, and disk_full of PostgreSQL.
func noSpace(err error) error {
	lite, isLite := errors.AsType[*sqlite.Error](err)
	pg, isPG := errors.AsType[*pgconn.PgError](err)
	full := isLite && (lite.Code() == sqlitelib.SQLITE_FULL || lite.Code() == sqlitelib.SQLITE_IOERR_SHMSIZE)
	if full || isPG && pg.Code == "53100" {
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return err
}
