package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"entgo.io/ent/dialect"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/pureboot/pureboot/ent/migrate"
)

var (
	// ErrInUse says that another central has the SQLite file open.
	ErrInUse = errors.New("another central uses this database")

	// ErrNewer says that the database was migrated by a later build, which this one does not understand.
	ErrNewer = errors.New("the database is newer than this program")
)

// Migration is one step of the schema.
type Migration struct {
	Version   int64      `json:"version"` // the time of its making, as YYYYMMDDhhmmss
	Name      string     `json:"name"`
	AppliedAt *time.Time `json:"applied_at"` // nil if it is pending
}

// Migrations lists the steps of this build and whether the database has taken them. It changes nothing.
func Migrations(ctx context.Context, o Options) ([]Migration, error) {
	db, err := inspect(o)
	if err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	defer db.Close()
	p, err := provider(db, dialectOf(o.DSN))
	if err != nil {
		return nil, err
	}
	status, err := p.Status(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the state of the migrations: %w", err)
	}
	list := make([]Migration, len(status))
	for i, s := range status {
		_, name, _ := strings.Cut(strings.TrimSuffix(path.Base(s.Source.Path), ".sql"), "_")
		list[i] = Migration{Version: s.Source.Version, Name: name}
		if s.State == goose.StateApplied {
			list[i].AppliedAt = &s.AppliedAt
		}
	}
	_, err = pending(ctx, p)
	return list, err
}

// inspect opens the database of o to look at it. An SQLite file that is not there is not made.
func inspect(o Options) (*sql.DB, error) {
	if dialectOf(o.DSN) == dialect.Postgres {
		return openPgx(o.DSN)
	}
	file, err := sqliteFile(o)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		return sql.Open("sqlite", "file:nothing?mode=memory&cache=shared")
	}
	return sql.Open("sqlite", sqliteDSN(file))
}

// migrateSQLite brings the schema up to date and takes the lock of the file, which it keeps unless shared.
//
// A table is rebuilt by making it anew and dropping the old one. With foreign keys on, the drop would delete all
// that refers to its rows, silently; so they are off here, and checked when everything is done.
func (s *Store) migrateSQLite(ctx context.Context, file string, shared bool) error {
	held, err := lockFile(file + ".lock")
	if err != nil && !(shared && errors.Is(err, ErrInUse)) {
		return err
	}
	if shared && held != nil {
		defer held.Close()
	} else {
		s.lock = held
	}

	return s.migrateFile(ctx, file, held != nil)
}

// migrateFile brings the schema of an SQLite file up to date. Unless held it must be so already.
func (s *Store) migrateFile(ctx context.Context, file string, held bool) (err error) {
	defer func() { err = noSpace(err) }()
	db, err := sql.Open("sqlite", sqliteDSN(file, "foreign_keys(0)"))
	if err != nil {
		return err
	}
	defer db.Close()
	p, err := provider(db, dialect.SQLite)
	if err != nil {
		return err
	}
	version, err := pending(ctx, p)
	if err != nil || version < 0 {
		return err
	}
	if !held {
		return fmt.Errorf("%w, and it has to be migrated: end that one first", ErrInUse)
	}
	if version > 0 {
		if err := s.backupBefore(ctx, db, file, version); err != nil {
			return fmt.Errorf("back up before the migration: %w", err)
		}
	}
	if err := s.up(ctx, p); err != nil {
		return err
	}
	return checkForeignKeys(ctx, db)
}

// migratePostgres brings the schema up to date. Of several centrals that start at once, one does and the others
// wait for it.
func (s *Store) migratePostgres(ctx context.Context) error {
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 300), lock.WithUnlockTimeout(1, 60))
	if err != nil {
		return err
	}
	p, err := provider(s.write, dialect.Postgres, goose.WithSessionLocker(locker))
	if err != nil {
		return err
	}
	if version, err := pending(ctx, p); err != nil || version < 0 {
		return err
	}
	return s.up(ctx, p)
}

// up applies what is pending, each migration in a transaction of its own.
func (s *Store) up(ctx context.Context, p *goose.Provider) error {
	done, err := p.Up(ctx)
	for _, m := range done {
		s.log.Info("migrated the database", "migration", path.Base(m.Source.Path), "took", m.Duration)
	}
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	return nil
}

func provider(db *sql.DB, entDialect string, opts ...goose.ProviderOption) (*goose.Provider, error) {
	gooseDialect := goose.DialectSQLite3
	if entDialect == dialect.Postgres {
		gooseDialect = goose.DialectPostgres
	}
	files, err := fs.Sub(migrate.Files, map[string]string{dialect.SQLite: "sqlite", dialect.Postgres: "postgres"}[entDialect])
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(gooseDialect, db, files, opts...)
}

// pending returns the version of a database that lacks a migration, and -1 if it lacks none.
func pending(ctx context.Context, p *goose.Provider) (int64, error) {
	version, newest, err := p.GetVersions(ctx)
	switch {
	case err != nil:
		return 0, fmt.Errorf("read the version of the database: %w", err)
	case version > newest:
		return 0, fmt.Errorf("%w: it is at version %d, this program knows up to %d", ErrNewer, version, newest)
	}
	if more, err := p.HasPending(ctx); err != nil || more {
		return version, err
	}
	return -1, nil
}

// checkForeignKeys looks for rows that refer to nothing.
func checkForeignKeys(ctx context.Context, db *sql.DB) error {
	rows, err := db.QueryContext(ctx, `SELECT "table", parent, count(*) FROM pragma_foreign_key_check GROUP BY 1, 2`)
	if err != nil {
		return err
	}
	defer rows.Close()
	var errs []error
	for rows.Next() {
		var table, parent string
		var n int
		if err := rows.Scan(&table, &parent, &n); err != nil {
			return err
		}
		errs = append(errs, fmt.Errorf("after the migration, %d rows of %s refer to no row of %s", n, table, parent))
	}
	return errors.Join(append(errs, rows.Err())...)
}
