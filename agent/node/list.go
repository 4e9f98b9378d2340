package node

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Filter says which copies List returns. An empty field means any.
type Filter struct {
	GroupID, State string
	After          string // id of the last node of the page before
	Limit          int    // of the page; 0: none
}

// List returns the copies of nodes in the order of their ids. A damaged one is left out: the next question to central
// brings it again.
func (s *Store) List(ctx context.Context, f Filter) ([]Record, error) {
	limit := f.Limit
	if limit <= 0 {
		limit = -1
	}
	rows, err := s.read.QueryContext(ctx, `SELECT boot, fetched_at, expired FROM nodes
		WHERE id > ?1 AND json_valid(boot) AND (?2 = '' OR json_extract(boot, '$.node.group_id') = ?2)
			AND (?3 = '' OR json_extract(boot, '$.node.state') = ?3)
		ORDER BY id LIMIT ?4`, f.After, f.GroupID, f.State, limit)
	if err != nil {
		return nil, fmt.Errorf("list the copies of nodes: %w", err)
	}
	defer rows.Close()
	var list []Record
	for rows.Next() {
		var boot []byte
		var at int64
		var expired bool
		if err := rows.Scan(&boot, &at, &expired); err != nil {
			return nil, fmt.Errorf("list the copies of nodes: %w", err)
		}
		rec := Record{FetchedAt: time.UnixMilli(at), Source: Fresh}
		if expired || time.Since(rec.FetchedAt) >= s.opt.TTL {
			rec.Source = Stale
		}
		if json.Unmarshal(boot, &rec.Boot) == nil {
			list = append(list, rec)
		}
	}
	return list, rows.Err()
}

// Oldest returns when central said what the oldest copy says; zero if there is none.
func (s *Store) Oldest(ctx context.Context) (time.Time, error) {
	var at sql.NullInt64
	err := s.read.QueryRowContext(ctx, "SELECT min(fetched_at) FROM nodes").Scan(&at)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, fmt.Errorf("read the age of the copies of nodes: %w", err)
	}
	if !at.Valid {
		return time.Time{}, nil
	}
	return time.UnixMilli(at.Int64), nil
}
