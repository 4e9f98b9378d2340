package node

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

//go:embed migrations/*.sql
var migrations embed.FS

const (
	databaseFile = "nodes.db"
	damagedFile  = "nodes.db.damaged" // the last one that was set aside
)

// errDamaged says that what the store wrote cannot be read back.
var errDamaged = errors.New("damaged")

// openDatabase opens nodes.db. One that is damaged is set aside: the machines have to boot tonight, and what it knew
// of them central knows too. Only the reports that waited for central are nowhere else, so whatever of them can still
// be read is taken over.
func (s *Store) openDatabase(ctx context.Context) error {
	err := s.connect(ctx, beside)
	if isCramped(err) {
		if s.closeDatabase() == nil && s.connect(ctx, alone) == nil {
			s.opt.Log.Error("no room beside the node store: machines boot by what it has, but news of them may not be kept", "err", err)
			return nil
		}
		return err
	}
	if !isDamage(err) {
		return err
	}
	aside := filepath.Join(s.opt.Dir, damagedFile)
	if asideErr := errors.Join(s.closeDatabase(), s.setAside(aside)); asideErr != nil {
		return errors.Join(err, asideErr)
	}
	if err := s.connect(ctx, beside); err != nil {
		return err
	}
	saved, lost := s.salvage(ctx, aside)
	s.opt.Log.Error("node store damaged, begun anew: the reports in it that were not saved never reach central, so "+
		"look at the machines that were installed while central was away",
		"err", err, "kept_as", aside, "reports_saved", saved, "salvage_err", lost)
	return nil
}

// How the handles reach the database.
const (
	// Readers go on beside the writer. They and it meet in a file of shared memory.
	beside = "journal_mode(WAL)"
	// Both are one connection, which needs no such file: a full disk has no room for it. The journal stays as it is,
	// since to ask for it would be to open it as others may have it.
	alone = "locking_mode(EXCLUSIVE)"
)

// connect opens both handles, checks the file and brings its schema up to date.
func (s *Store) connect(ctx context.Context, mode string) error {
	file := filepath.Join(s.opt.Dir, databaseFile)
	var err error
	if s.write, err = sql.Open("sqlite", dsn(file, "immediate", mode, "synchronous(FULL)", "foreign_keys(1)")); err != nil {
		return err
	}
	s.write.SetMaxOpenConns(1)
	if s.read = s.write; mode == beside {
		if s.read, err = sql.Open("sqlite", dsn(file, "deferred", "query_only(1)")); err != nil {
			return err
		}
		s.read.SetMaxOpenConns(4)
		s.read.SetMaxIdleConns(4)
	}

	var verdict string
	if err := s.write.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&verdict); err != nil {
		return err
	}
	if verdict != "ok" {
		return fmt.Errorf("%w: %s", errDamaged, verdict)
	}
	dir, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, s.write, dir)
	if err != nil {
		return err
	}
	_, err = provider.Up(ctx)
	return err
}

// dsn is the driver's name for a file whose transactions begin with the lock.
func dsn(file, lock string, pragmas ...string) string {
	q := url.Values{"_txlock": {lock}, "_pragma": append([]string{"busy_timeout(10000)"}, pragmas...)}
	return (&url.URL{Scheme: "file", OmitHost: true, Path: file, RawQuery: q.Encode()}).String()
}

func (s *Store) closeDatabase() error {
	var err error
	for _, db := range []*sql.DB{s.read, s.write} {
		if db != nil {
			err = errors.Join(err, db.Close())
		}
	}
	return err
}

// isDamage says whether it is the file's content that cannot be used. A full disk or a missing right is no damage.
func isDamage(err error) bool {
	if fault, ok := errors.AsType[*sqlite.Error](err); ok {
		code := fault.Code() & 0xff // the rest is detail
		return code == sqlite3.SQLITE_CORRUPT || code == sqlite3.SQLITE_NOTADB
	}
	return errors.Is(err, errDamaged)
}

// isCramped says whether the database could not be opened for want of room or of a right on the disk.
func isCramped(err error) bool {
	fault, ok := errors.AsType[*sqlite.Error](err)
	return ok && slices.Contains([]int{sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN}, fault.Code()&0xff)
}

// setAside renames the database together with its log, in place of one that was set aside earlier.
func (s *Store) setAside(to string) error {
	from := filepath.Join(s.opt.Dir, databaseFile)
	var errs []error
	for _, suffix := range []string{"-shm", "-wal", ""} {
		if err := os.Remove(to + suffix); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
		if err := os.Rename(from+suffix, to+suffix); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// salvage takes over the waiting reports of a damaged database, as far as they can be read.
func (s *Store) salvage(ctx context.Context, file string) (saved int, err error) {
	db, err := sql.Open("sqlite", dsn(file, "deferred"))
	if err != nil {
		return 0, err
	}
	defer db.Close()
	rows, err := db.QueryContext(ctx, "SELECT node_id, at, event FROM outbox ORDER BY op_seq")
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	err = s.tx(ctx, func(tx *sql.Tx) error {
		for rows.Next() {
			var id string
			var at int64
			var text []byte
			if err := rows.Scan(&id, &at, &text); err != nil {
				return err
			}
			if err := insertReport(ctx, tx, id, at, text); err != nil {
				return err
			}
			saved++
		}
		return nil // rows.Err is where the readable part ends
	})
	if err != nil {
		return 0, err
	}
	return saved, rows.Err()
}

// tx runs do in one transaction, which holds SQLite's write lock from its begin.
func (s *Store) tx(ctx context.Context, do func(*sql.Tx) error) error {
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // does nothing after Commit
	if err := do(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// reader is a transaction, or the handle that reads outside of one.
type reader interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}
