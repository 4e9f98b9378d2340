package store

import (
	"context"
	"crypto/rand"
	"fmt"

	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/ent"
	"github.com/pureboot/pureboot/ent/counter"
)

// The counters.
const (
	ContentCounter = "content" // advanced by each change of content
	NodeCounter    = "nodes"   // advanced by each change of a node that an agent must see
)

// Next advances a counter and returns its new value. The transaction holds the counter's row until it ends, so
// numbers become visible in their order and none is left out: who has read up to N has seen all up to N. Call it as
// late as the work allows, since every other writer of the counter waits; with several counters, take
// ContentCounter before NodeCounter.
func Next(ctx context.Context, tx *ent.Tx, name string) (wire.Epoch, error) {
	return Take(ctx, tx, name, 1)
}

// Take is n times Next at once. It returns the last of the values.
func Take(ctx context.Context, tx *ent.Tx, name string, n int) (wire.Epoch, error) {
	c, err := tx.Counter.UpdateOneID(name).AddValue(int64(n)).Save(ctx)
	if err != nil {
		return wire.Epoch{}, fmt.Errorf("advance counter %s: %w", name, err)
	}
	return wire.Epoch{Stream: c.Stream, N: c.Value}, nil
}

// Current returns a counter as the transaction sees it.
func Current(ctx context.Context, tx *ent.Tx, name string) (wire.Epoch, error) {
	return epoch(ctx, tx.Counter, name)
}

// Epoch returns a counter as of now.
func (s *Store) Epoch(ctx context.Context, name string) (wire.Epoch, error) {
	return epoch(ctx, s.reader.Counter, name)
}

func epoch(ctx context.Context, counters *ent.CounterClient, name string) (wire.Epoch, error) {
	c, err := counters.Get(ctx, name)
	if err != nil {
		return wire.Epoch{}, fmt.Errorf("read counter %s: %w", name, err)
	}
	return wire.Epoch{Stream: c.Stream, N: c.Value}, nil
}

// makeCounters makes the counters that are missing, each with a stream of its own.
func (s *Store) makeCounters(ctx context.Context, names ...string) error {
	have, err := s.reader.Counter.Query().Where(counter.IDIn(names...)).Count(ctx)
	if err != nil || have == len(names) {
		return err
	}
	return s.Write(ctx, func(tx *ent.Tx) error {
		for _, name := range names {
			if err := makeCounter(ctx, tx, name); err != nil {
				return err
			}
		}
		return nil
	})
}

// makeCounter makes a counter if it is missing.
func makeCounter(ctx context.Context, tx *ent.Tx, name string) error {
	err := tx.Counter.Create().SetID(name).SetStream(rand.Text()).OnConflictColumns(counter.FieldID).Ignore().Exec(ctx)
	if err != nil {
		return fmt.Errorf("make counter %s: %w", name, err)
	}
	return nil
}
