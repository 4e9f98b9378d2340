package node

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/pureboot/pureboot/central/wire"
)

// Expire marks copies as changed at central, so that the next lookup asks. They still serve while central is away.
func (s *Store) Expire(ctx context.Context, ids []string) error {
	s.marks.Add(1) // before the rows: see put
	return s.tx(ctx, func(tx *sql.Tx) error {
		for _, id := range ids {
			if err := mark(ctx, tx, id, true); err != nil {
				return fmt.Errorf("expire node %s: %w", id, err)
			}
		}
		return nil
	})
}

// ExpireAll marks every copy.
func (s *Store) ExpireAll(ctx context.Context) error {
	s.marks.Add(1)
	if _, err := s.write.ExecContext(ctx, "UPDATE nodes SET expired = 1"); err != nil {
		return fmt.Errorf("expire all nodes: %w", err)
	}
	return nil
}

// ExpireMAC marks the copy of the machine with this MAC address. It says whether there is one.
func (s *Store) ExpireMAC(ctx context.Context, mac string) (bool, error) {
	s.marks.Add(1)
	result, err := s.write.ExecContext(ctx, "UPDATE nodes SET expired = 1 WHERE "+byMAC, mac)
	if err != nil {
		return false, fmt.Errorf("expire the node with %s: %w", mac, err)
	}
	n, err := result.RowsAffected()
	return n > 0, err
}

const nodesCursor = "nodes"

// Epoch returns up to where central's changes of this site's nodes are known here; zero at first.
func (s *Store) Epoch(ctx context.Context) (wire.Epoch, error) {
	return s.cursor(ctx, nodesCursor)
}

// SetEpoch keeps it, after the changes up to it have been carried out.
func (s *Store) SetEpoch(ctx context.Context, e wire.Epoch) error {
	err := setCursor(ctx, s.write, nodesCursor, e)
	if err != nil {
		return fmt.Errorf("keep the epoch of the nodes: %w", err)
	}
	return nil
}
