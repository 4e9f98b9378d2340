package node

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/pureboot/pureboot/central/wire"
)

// Line is an entry of the journal, which belongs to whoever carries out central's commands. It is here because this is
// the site's one database that is on the disk when a write returns.
type Line struct {
	ID   string
	Text []byte
}

const journalCursor = "journal"

// Journal returns the lines in the order in which they were put first, and the epoch that was written with the last.
func (s *Store) Journal(ctx context.Context) (at wire.Epoch, lines []Line, err error) {
	if at, err = s.cursor(ctx, journalCursor); err != nil {
		return at, nil, err
	}
	rows, err := s.read.QueryContext(ctx, "SELECT id, text FROM journal ORDER BY place")
	if err != nil {
		return at, nil, fmt.Errorf("read the journal: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var l Line
		if err := rows.Scan(&l.ID, &l.Text); err != nil {
			return at, nil, fmt.Errorf("read the journal: %w", err)
		}
		lines = append(lines, l)
	}
	return at, lines, rows.Err()
}

// WriteJournal takes lines out, then puts others in, in place of those with the same id, and keeps the epoch: all of it
// or nothing, and on the disk when it returns.
func (s *Store) WriteJournal(ctx context.Context, at wire.Epoch, put []Line, drop []string) error {
	err := s.tx(ctx, func(tx *sql.Tx) error {
		for _, id := range drop {
			if _, err := tx.ExecContext(ctx, "DELETE FROM journal WHERE id = ?", id); err != nil {
				return err
			}
		}
		for _, l := range put {
			_, err := tx.ExecContext(ctx, `INSERT INTO journal (id, text) VALUES (?, ?)
				ON CONFLICT (id) DO UPDATE SET text = excluded.text`, l.ID, l.Text)
			if err != nil {
				return err
			}
		}
		return setCursor(ctx, tx, journalCursor, at)
	})
	if err != nil {
		return fmt.Errorf("write the journal: %w", err)
	}
	return nil
}

// cursor returns an epoch that was kept; zero at first.
func (s *Store) cursor(ctx context.Context, name string) (wire.Epoch, error) {
	var text string
	err := s.read.QueryRowContext(ctx, "SELECT epoch FROM cursors WHERE name = ?", name).Scan(&text)
	if errors.Is(err, sql.ErrNoRows) || err == nil && text == "" {
		return wire.Epoch{}, nil
	}
	if err != nil {
		return wire.Epoch{}, fmt.Errorf("read the epoch of the %s: %w", name, err)
	}
	return wire.ParseEpoch(text)
}

func setCursor(ctx context.Context, db execer, name string, e wire.Epoch) error {
	text := ""
	if e.Stream != "" {
		text = e.String()
	}
	_, err := db.ExecContext(ctx, `INSERT INTO cursors (name, epoch) VALUES (?, ?)
		ON CONFLICT (name) DO UPDATE SET epoch = excluded.epoch`, name, text)
	return err
}

// execer is a transaction, or the handle that writes outside of one.
type execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}
