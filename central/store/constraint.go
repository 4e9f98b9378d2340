package store

import (
	"errors"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlitelib "modernc.org/sqlite/lib"
)

// violated turns what a constraint of the database refused into a *Conflict. The checks before a write find nearly
// all of it, and say more; this is for what came to be between the check and the write.
func violated(err error) error {
	if lite, ok := errors.AsType[*sqlite.Error](err); ok {
		switch lite.Code() {
		case sqlitelib.SQLITE_CONSTRAINT_UNIQUE, sqlitelib.SQLITE_CONSTRAINT_PRIMARYKEY:
			// UNIQUE constraint failed: nodes.mac_address, and more columns after a comma
			_, columns, _ := strings.Cut(lite.Error(), "constraint failed: ")
			columns, _, _ = strings.Cut(columns, " (")
			if _, column, ok := strings.Cut(columns, "."); ok && !strings.Contains(column, ",") {
				return taken(column, err)
			}
			return taken("", err)
		case sqlitelib.SQLITE_CONSTRAINT_FOREIGNKEY:
			return dangling(err)
		}
	}
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch pg.Code {
		case "23505": // unique_violation, of a constraint TABLE_COLUMN_key if of one column
			if column, ok := strings.CutSuffix(strings.TrimPrefix(pg.ConstraintName, pg.TableName+"_"), "_key"); ok {
				return taken(column, err)
			}
			return taken("", err)
		case "23503": // foreign_key_violation
			return dangling(err)
		}
	}
	return err
}

func taken(column string, err error) error {
	if column == "" {
		return &Conflict{Message: "there is one like it already", cause: err}
	}
	return &Conflict{Field: "body." + column, Message: "another has it already", cause: err}
}

func dangling(err error) error {
	return &Conflict{Message: "something that it refers to, or that refers to it, has changed meanwhile", cause: err}
}
