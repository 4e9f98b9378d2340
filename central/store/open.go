// Package store keeps central's data: an ent client over SQLite in central's own folder, or over PostgreSQL that
// several centrals share. Everything that is written goes through Write, one transaction each; what must be read as
// of one moment goes through View; the rest reads with Read.
package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"entgo.io/ent/dialect"
	entsql "entgo.io/ent/dialect/sql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/pureboot/pureboot/durable"
	"github.com/pureboot/pureboot/ent"
)

// Options says where the data is.
type Options struct {
	DSN string       // postgres:// URL, or the path of an SQLite file; empty means pureboot.db in Dir
	Dir string       // central's data_dir, made when it is missing
	Log *slog.Logger // nil means slog.Default()

	// Shared opens an SQLite file that another process may be serving from, for a short command beside it. The
	// schema is then migrated only if nobody else has the file open.
	Shared bool
}

// Store is central's database. Its methods may be called at once from many goroutines.
type Store struct {
	log     *slog.Logger
	dialect string
	lock    *os.File // of an SQLite file; nil when Shared, or with PostgreSQL
	file    string   // the SQLite file that lock is of; else empty

	// SQLite has one writer at a time: write has a single connection, whose transactions take the write lock as
	// they begin, so that none has to be upgraded halfway and fail. The connections of read cannot write. With
	// PostgreSQL both are the same.
	write, read *sql.DB
	reader      *ent.Client
	writer      *ent.Client

	uses uses
}

// Open connects to the database, migrates its schema to this build's and makes the counters. A second central on
// the same SQLite file is ErrInUse, a schema from a later build ErrNewer.
func Open(ctx context.Context, o Options) (_ *Store, err error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	s := &Store{log: o.Log.With("room", "store"), dialect: dialectOf(o.DSN)}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if s.dialect == dialect.Postgres {
		err = s.openPostgres(ctx, o)
	} else {
		err = s.openSQLite(ctx, o)
	}
	if err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	s.writer = ent.NewClient(ent.Driver(entsql.OpenDB(s.dialect, s.write)))
	s.reader = s.writer
	if s.read != s.write {
		s.reader = ent.NewClient(ent.Driver(entsql.OpenDB(s.dialect, s.read)))
	}
	if err := s.makeCounters(ctx, ContentCounter, NodeCounter); err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	if err := s.noticeRestore(ctx); err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	return s, nil
}

func dialectOf(dsn string) string {
	if strings.HasPrefix(dsn, "postgres://") || strings.HasPrefix(dsn, "postgresql://") {
		return dialect.Postgres
	}
	return dialect.SQLite
}

// sqliteFile returns where the SQLite database of o is.
func sqliteFile(o Options) (string, error) {
	if o.DSN != "" {
		return filepath.Abs(o.DSN)
	}
	return filepath.Abs(filepath.Join(o.Dir, "pureboot.db"))
}

// sqliteDSN returns the driver's name for a file. Commits reach the disk before they are answered; times are kept as
// UTC text, which sorts as the times do.
func sqliteDSN(file string, pragmas ...string) string {
	q := url.Values{
		"_pragma":      append([]string{"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)"}, pragmas...),
		"_time_format": {"sqlite"},
		"_timezone":    {"UTC"},
		"_txlock":      {"immediate"},
	}
	u := url.URL{Scheme: "file", Path: file, RawQuery: q.Encode()}
	return u.String()
}

func (s *Store) openSQLite(ctx context.Context, o Options) error {
	file, err := sqliteFile(o)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
		return err
	}
	if err := durable.Touch(file, 0o600); err != nil { // SQLite gives its other files the same mode, and the same owner
		return err
	}
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err := cmp.Or(err, f.Close()); err != nil {
		return err
	}
	err = s.migrateSQLite(ctx, file, o.Shared)
	if errors.Is(err, ErrNoSpace) && s.lock != nil {
		given, giveErr := giveBack(file)
		if giveErr != nil || !given {
			return errors.Join(err, giveErr)
		}
		s.log.Warn("the disk is full: central starts in the room that it had set aside", "bytes", reserveBytes)
		err = s.migrateFile(ctx, file, true)
	}
	if err != nil {
		return err
	}
	if s.write, err = openKeeping(sqliteDSN(file, "foreign_keys(1)")); err != nil {
		return err
	}
	s.write.SetMaxOpenConns(1)
	if s.read, err = openKeeping(sqliteDSN(file, "query_only(1)")); err != nil {
		return err
	}
	s.read.SetMaxOpenConns(sqliteReaders)
	s.read.SetMaxIdleConns(sqliteReaders)
	if s.lock != nil {
		s.file = file
		defer s.keepReserve()
	}
	return s.read.PingContext(ctx)
}

// sqliteReaders is how many connections read an SQLite database; each has a cache of about 2 MB, and statements.
const sqliteReaders = 8

func (s *Store) openPostgres(ctx context.Context, o Options) error {
	db, err := openPgx(o.DSN)
	if err != nil {
		return err
	}
	s.write, s.read = db, db
	db.SetMaxOpenConns(32)
	db.SetMaxIdleConns(8)
	if err := db.PingContext(ctx); err != nil {
		return err
	}
	return s.migratePostgres(ctx)
}

// openPgx opens PostgreSQL by its URL, which no error quotes: it may hold a password.
func openPgx(url string) (*sql.DB, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, errors.New("not a valid PostgreSQL URL")
	}
	return stdlib.OpenDB(*config, stdlib.OptionAfterConnect(inUTC)), nil
}

// inUTC makes times come in UTC, as they do from SQLite, whatever the machine's time zone is.
func inUTC(_ context.Context, conn *pgx.Conn) error {
	codec := &pgtype.TimestamptzCodec{ScanLocation: time.UTC}
	conn.TypeMap().RegisterType(&pgtype.Type{Name: "timestamptz", OID: pgtype.TimestamptzOID, Codec: codec})
	return nil
}

// Ping says whether the database answers.
func (s *Store) Ping(ctx context.Context) error { return s.read.PingContext(ctx) }

// Close ends all connections. Nothing may be under way.
func (s *Store) Close() error {
	var errs []error
	if s.read != nil && s.read != s.write {
		errs = append(errs, s.read.Close())
	}
	if s.write != nil {
		errs = append(errs, s.write.Close())
	}
	s.keepReserve() // what closing has freed
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	return errors.Join(errs...)
}
