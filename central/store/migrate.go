package store

import (
	"context"
	"database/sql"
	"errors"

	"entgo.io/ent/dialect"
	entsql "entgo.io/ent/dialect/sql"

	"github.com/pureboot/pureboot/ent"
)

var (
	// ErrInUse says that another central has the SQLite file open.
	ErrInUse = errors.New("another central uses this database")

	// ErrNewer says that the database was migrated by a later build, which this one does not understand.
	ErrNewer = errors.New("the database is newer than this program")
)

func (s *Store) migrateSQLite(ctx context.Context, file string, shared bool) error {
	db, err := sql.Open("sqlite", sqliteDSN(file, "foreign_keys(1)"))
	if err != nil {
		return err
	}
	defer db.Close()
	return ent.NewClient(ent.Driver(entsql.OpenDB(dialect.SQLite, db))).Schema.Create(ctx)
}

func (s *Store) migratePostgres(ctx context.Context) error {
	return ent.NewClient(ent.Driver(entsql.OpenDB(dialect.Postgres, s.write))).Schema.Create(ctx)
}
