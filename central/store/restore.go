package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"entgo.io/ent/dialect"
	entsql "entgo.io/ent/dialect/sql"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pureboot/pureboot/ent"
	"github.com/pureboot/pureboot/ent/agentcommand"
	"github.com/pureboot/pureboot/ent/counter"
	"github.com/pureboot/pureboot/ent/devicegroup"
)

// noticeRestore makes the counters begin new streams if the database was restored from a backup. What agents know is
// then newer than what central does, under the same numbers; a new stream makes them ask for everything again.
//
// A copy that Backup made of SQLite bears a mark. PostgreSQL is asked which database this is: another server, another
// database or another timeline of the log than the one the streams were begun in is a restored one. That also holds
// after a switch to a replica, which may lack the last writes.
func (s *Store) noticeRestore(ctx context.Context) error {
	return s.Write(ctx, func(tx *ent.Tx) error {
		origin, restored, err := s.origin(ctx, tx)
		if err != nil || origin == "" && !restored {
			return err
		}
		if restored {
			return s.renew(ctx, tx, origin, "the database was restored from a backup")
		}
		streams, err := tx.Counter.Query().Where(counter.OriginNEQ(origin)).All(ctx)
		if err != nil {
			return err
		}
		for _, c := range streams {
			if c.Origin != "" {
				return s.renew(ctx, tx, origin, "the streams are of "+c.Origin+", the database is "+origin)
			}
		}
		if len(streams) == 0 {
			return nil
		}
		return tx.Counter.Update().Where(counter.OriginNEQ(origin)).SetOrigin(origin).Exec(ctx)
	})
}

// origin returns what the database says of itself, and whether it says that it was restored.
func (s *Store) origin(ctx context.Context, tx *ent.Tx) (origin string, restored bool, err error) {
	if s.dialect == dialect.SQLite {
		var version int64
		err = scan(ctx, tx, "PRAGMA user_version", &version)
		return "", version == backupMark, err
	}
	const database = "(SELECT oid::text FROM pg_database WHERE datname = current_database())"
	const timeline = "substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)"
	// The server's name for itself takes the right to see it, and an error ends a transaction of PostgreSQL.
	var may bool
	if err := scan(ctx, tx, "SELECT has_function_privilege('pg_control_system()', 'EXECUTE')", &may); err != nil {
		return "", false, err
	}
	server := "'-'"
	if may {
		server = "(SELECT system_identifier::text FROM pg_control_system())"
	}
	err = scan(ctx, tx, "SELECT "+server+" || ':' || "+database+" || ':' || "+timeline, &origin)
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		err = fmt.Errorf("ask PostgreSQL which database it is: %w", e)
	}
	return origin, false, err
}

// renew makes every counter begin a new stream. What a restored database would let happen twice is ended too.
func (s *Store) renew(ctx context.Context, tx *ent.Tx, origin, why string) error {
	counters, err := tx.Counter.Query().All(ctx)
	if err != nil {
		return err
	}
	for _, c := range counters {
		if err := c.Update().SetStream(rand.Text()).SetOrigin(origin).Exec(ctx); err != nil {
			return fmt.Errorf("begin a new stream: %w", err)
		}
	}
	// A join token may have been used after the backup.
	err = tx.DeviceGroup.Update().Where(devicegroup.AgentTokenHashNotNil()).
		ClearAgentTokenHash().ClearAgentTokenExpiresAt().Exec(ctx)
	if err != nil {
		return fmt.Errorf("void the join tokens: %w", err)
	}
	// A command may have been sent after the backup, and begun: the agent says.
	err = tx.AgentCommand.Update().Where(agentcommand.StateEQ(agentcommand.StateQueued)).
		SetState(agentcommand.StateSent).SetSentAt(now()).Exec(ctx)
	if err != nil {
		return fmt.Errorf("take the commands for sent: %w", err)
	}
	if s.dialect == dialect.SQLite {
		if _, err := tx.ExecContext(ctx, "PRAGMA user_version = 0"); err != nil {
			return fmt.Errorf("take the mark off: %w", err)
		}
	}
	s.log.Warn("the agents ask for everything again", "reason", why)
	return Audit(ctx, tx, Actor{Name: "central"}, Act{Action: "database.restored", Detail: why})
}

// Restored tells the database of o that it was restored in a way that it does not notice by itself.
func Restored(ctx context.Context, o Options) error {
	s, err := Open(ctx, o)
	if err != nil {
		return err
	}
	err = s.Write(ctx, func(tx *ent.Tx) error {
		origin, _, err := s.origin(ctx, tx)
		if err != nil {
			return err
		}
		return s.renew(ctx, tx, origin, "an administrator said so")
	})
	return errors.Join(err, s.Close())
}

// scan reads a single value.
func scan(ctx context.Context, tx *ent.Tx, query string, into any) error {
	rows, err := tx.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	return entsql.ScanOne(rows, into)
}
