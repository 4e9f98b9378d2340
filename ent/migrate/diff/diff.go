package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"

	atlas "ariga.io/atlas/sql/migrate"
	"entgo.io/ent/dialect"
	entsql "entgo.io/ent/dialect/sql"
	"entgo.io/ent/dialect/sql/schema"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/pureboot/pureboot/ent/migrate"
)

// sqlite returns what the migrations of files lack, tried out in memory; nil if they lack nothing.
func sqlite(ctx context.Context, files fs.FS) ([]byte, error) {
	db, err := sql.Open("sqlite", "file:scratch?mode=memory&cache=shared&_pragma=foreign_keys(1)")
	if err != nil {
		return nil, err
	}
	defer db.Close()
	return diff(ctx, db, dialect.SQLite, goose.DialectSQLite3, files)
}

// postgres is sqlite for PostgreSQL, tried out in an empty database.
func postgres(ctx context.Context, url string, files fs.FS) ([]byte, error) {
	db, err := sql.Open("pgx", url)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	return diff(ctx, db, dialect.Postgres, goose.DialectPostgres, files)
}

// forward writes a migration as goose reads it. There is no way back but the backup.
type forward struct{}

func (forward) Format(plan *atlas.Plan) ([]atlas.File, error) {
	text := []byte("-- +goose Up\n")
	for _, c := range plan.Changes {
		if c.Comment != "" {
			text = fmt.Appendln(text, "--", c.Comment)
		}
		text = fmt.Appendf(text, "%s;\n", c.Cmd)
	}
	return []atlas.File{atlas.NewLocalFile("migration.sql", text)}, nil
}

// diff applies the migrations to an empty database, compares what came out with ent/schema, and returns the
// difference.
func diff(ctx context.Context, db *sql.DB, entDialect string, gooseDialect goose.Dialect, files fs.FS) ([]byte, error) {
	provider, err := goose.NewProvider(gooseDialect, db, files)
	if err == nil {
		_, err = provider.Up(ctx)
	}
	if err != nil && !errors.Is(err, goose.ErrNoMigrations) {
		return nil, fmt.Errorf("apply the migrations: %w", err)
	}

	tmp, err := os.MkdirTemp("", "pureboot-migration-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	out, err := atlas.NewLocalDir(tmp)
	if err != nil {
		return nil, err
	}
	m, err := schema.NewMigrate(entsql.OpenDB(entDialect, db), schema.WithDir(out), schema.WithFormatter(forward{}),
		schema.WithDropColumn(true), schema.WithDropIndex(true))
	if err != nil {
		return nil, err
	}
	if err := m.NamedDiff(ctx, "migration", migrate.Tables...); err != nil {
		return nil, fmt.Errorf("compare with the schema: %w", err)
	}
	written, err := out.Files()
	if err != nil || len(written) == 0 {
		return nil, err
	}
	return written[0].Bytes(), nil
}
