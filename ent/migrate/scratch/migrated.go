package scratch

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/pureboot/pureboot/ent/migrate"
)

// Migrated hands out databases that have today's schema. It migrates one of each kind and copies it after that, which
// takes a tenth of the time. The zero value is ready for use, by several goroutines at once.
type Migrated struct {
	mu     sync.Mutex
	server *Server
	err    error  // of the server's start
	file   []byte // an SQLite database
	model  string // name of the PostgreSQL database that others are copied from
}

// SQLite makes a database in a file that is not there yet.
func (m *Migrated) SQLite(ctx context.Context, file string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.file == nil {
		made, err := sqliteModel(ctx)
		if err != nil {
			return fmt.Errorf("make a scratch SQLite database: %w", err)
		}
		m.file = made
	}
	return os.WriteFile(file, m.file, 0o600)
}

func sqliteModel(ctx context.Context) (_ []byte, err error) {
	dir, err := os.MkdirTemp("", "pureboot-sqlite-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	file := filepath.Join(dir, "model.db")
	if err := up(ctx, "sqlite", file+"?_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)", goose.DialectSQLite3, "sqlite"); err != nil {
		return nil, err
	}
	return os.ReadFile(file)
}

// Postgres makes a database on a server that the first call starts, and returns its URL. ErrMissing is as that of the
// function Postgres.
func (m *Migrated) Postgres(ctx context.Context) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.start(ctx); err != nil {
		return "", err
	}
	if m.model == "" {
		name, err := m.server.create(ctx, "template1")
		if err == nil {
			err = up(ctx, "pgx", m.server.url(name), goose.DialectPostgres, "postgres")
		}
		if err != nil {
			return "", fmt.Errorf("make a scratch PostgreSQL database: %w", err)
		}
		m.model = name
	}
	name, err := m.server.create(ctx, m.model)
	if err != nil {
		return "", err
	}
	return m.server.url(name), nil
}

// Empty is Postgres of a database without a schema.
func (m *Migrated) Empty(ctx context.Context) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.start(ctx); err != nil {
		return "", err
	}
	return m.server.Database(ctx)
}

func (m *Migrated) start(ctx context.Context) error {
	if m.server == nil && m.err == nil {
		m.server, m.err = Postgres(ctx)
	}
	return m.err
}

// Stop ends the server, if there is one.
func (m *Migrated) Stop() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.server == nil {
		return nil
	}
	return m.server.Stop()
}

// Around returns tests that end the server after them. goleak takes it in the place of a *testing.M.
func (m *Migrated) Around(tests interface{ Run() int }) Suite { return Suite{m, tests} }

// Suite is tests with the databases that they use.
type Suite struct {
	databases *Migrated
	tests     interface{ Run() int }
}

// Run runs the tests, and returns the exit code.
func (s Suite) Run() int {
	code := s.tests.Run()
	if err := s.databases.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// up migrates a database by the files of a folder, and closes it.
func up(ctx context.Context, driver, dsn string, dialect goose.Dialect, folder string) (err error) {
	db, err := sql.Open(driver, dsn)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	files, err := fs.Sub(migrate.Files, folder)
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(dialect, db, files)
	if err != nil {
		return err
	}
	_, err = p.Up(ctx)
	return err
}
