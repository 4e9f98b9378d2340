package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pureboot/pureboot/ent"
	"github.com/pureboot/pureboot/ent/migrate/scratch"
)

// databases are those of all tests.
var databases scratch.Migrated

func TestMain(m *testing.M) { goleak.VerifyTestMain(databases.Around(m)) }

// onBoth runs a test on SQLite, and on PostgreSQL where it is installed. o opens a database without rows.
func onBoth(t *testing.T, test func(t *testing.T, o Options)) {
	t.Run("sqlite", func(t *testing.T) {
		o := Options{Dir: t.TempDir(), Log: quiet()}
		if err := databases.SQLite(t.Context(), filepath.Join(o.Dir, "pureboot.db")); err != nil {
			t.Fatal(err)
		}
		test(t, o)
	})
	t.Run("postgres", func(t *testing.T) { test(t, Options{DSN: postgres(t, databases.Postgres), Log: quiet()}) })
}

// onEmpty is onBoth with databases that have no schema yet.
func onEmpty(t *testing.T, test func(t *testing.T, o Options)) {
	t.Run("sqlite", func(t *testing.T) { test(t, Options{Dir: t.TempDir(), Log: quiet()}) })
	t.Run("postgres", func(t *testing.T) {
		test(t, Options{DSN: postgres(t, databases.Empty), Log: quiet()})
	})
}

// postgres returns the URL that make returns, or skips the test where PostgreSQL is not installed.
func postgres(t *testing.T, make func(context.Context) (string, error)) string {
	t.Helper()
	url, err := make(t.Context())
	if errors.Is(err, scratch.ErrMissing) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	return url
}

func open(t *testing.T, o Options) *Store {
	t.Helper()
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func TestStreamsOutliveARestart(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		first, err := Open(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		before, err := first.Epoch(t.Context(), ContentCounter)
		if err != nil {
			t.Fatal(err)
		}
		nodes, err := first.Epoch(t.Context(), NodeCounter)
		if err != nil {
			t.Fatal(err)
		}
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
		after, err := open(t, o).Epoch(t.Context(), ContentCounter)
		if err != nil {
			t.Fatal(err)
		}
		if before.Stream == "" || before != after || before.Stream == nodes.Stream {
			t.Errorf("content was at %v, is at %v; nodes are at %v", before, after, nodes)
		}
	})
}

// Writers of one counter run into each other all the time, and whoever looks while they do must never see a number
// before all smaller ones.
func TestCountersAreDense(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		s, ctx := open(t, o), t.Context()
		const writers, writes = 8, 10
		write := func(name string) error {
			return s.Write(ctx, func(tx *ent.Tx) error {
				e, err := Next(ctx, tx, NodeCounter)
				if err != nil {
					return err
				}
				return tx.AuditEntry.Create().SetWho(name).SetAction("test").SetSubject(fmt.Sprint(e.N)).Exec(ctx)
			})
		}
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				for range writes {
					if err := write(fmt.Sprint(w)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		done := make(chan struct{})
		go func() { wg.Wait(); close(done) }()
		for running := true; running; {
			select {
			case <-done:
				running = false
			default:
			}
			err := s.View(ctx, func(tx *ent.Tx) error {
				e, err := Current(ctx, tx, NodeCounter)
				if err != nil {
					return err
				}
				rows, err := tx.AuditEntry.Query().Count(ctx)
				if int64(rows) != e.N {
					t.Errorf("the counter is at %d with %d rows", e.N, rows)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		seen := map[string]bool{}
		for _, row := range s.Read().AuditEntry.Query().AllX(ctx) {
			seen[row.Subject] = true
		}
		if len(seen) != writers*writes {
			t.Errorf("%d writes got %d numbers", writers*writes, len(seen))
		}
	})
}

func TestAFailedWriteLeavesNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		s, ctx := open(t, o), t.Context()
		bad := errors.New("bad")
		insert := func(tx *ent.Tx) {
			tx.AuditEntry.Create().SetWho("x").SetAction("test").ExecX(ctx)
		}
		if err := s.Write(ctx, func(tx *ent.Tx) error { insert(tx); return bad }); !errors.Is(err, bad) {
			t.Errorf("the error is %v", err)
		}
		func() {
			defer func() {
				if recover() != "worse" {
					t.Error("the panic was swallowed")
				}
			}()
			_ = s.Write(ctx, func(tx *ent.Tx) error { insert(tx); panic("worse") })
		}()
		if n := s.Read().AuditEntry.Query().CountX(ctx); n != 0 {
			t.Errorf("%d rows are left", n)
		}
		// The writer is free again.
		if err := s.Write(ctx, func(tx *ent.Tx) error { insert(tx); return nil }); err != nil {
			t.Error(err)
		}
	})
}

func TestAWriteGivesUpWithItsContext(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir(), Log: quiet()})
	ctx, cancel := context.WithCancel(t.Context())
	err := s.Write(ctx, func(*ent.Tx) error {
		cancel() // a second writer would wait for us
		return s.Write(ctx, func(*ent.Tx) error { return nil })
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
}

func TestReadCannotWriteSQLite(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir(), Log: quiet()})
	if err := s.Read().AuditEntry.Create().SetWho("x").SetAction("test").Exec(t.Context()); err == nil {
		t.Error("a reader wrote")
	}
}

func TestAFullDiskIsNoSpace(t *testing.T) {
	s, ctx := open(t, Options{Dir: t.TempDir(), Log: quiet()}), t.Context()
	if _, err := s.write.ExecContext(ctx, "PRAGMA max_page_count = 100"); err != nil {
		t.Fatal(err)
	}
	big := func(n int) error {
		return s.Write(ctx, func(tx *ent.Tx) error {
			return tx.AuditEntry.Create().SetWho("x").SetAction("test").SetAfter(make([]byte, n)).Exec(ctx)
		})
	}
	if err := big(1 << 20); !errors.Is(err, ErrNoSpace) {
		t.Errorf("the error is %v", err)
	}
	if err := big(1); err != nil {
		t.Errorf("after a write that did not fit: %v", err)
	}
}

func TestTimesKeepTheirOrder(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		s, ctx := open(t, o), t.Context()
		east, home := time.FixedZone("east", 9*3600), time.Local
		time.Local = east
		defer func() { time.Local = home }()
		at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		times := []time.Time{at, at.Add(time.Microsecond).In(east), at.Add(500 * time.Millisecond), at.Add(time.Second).In(east)}
		for _, at := range times {
			if err := s.Write(ctx, func(tx *ent.Tx) error {
				return tx.AuditEntry.Create().SetWho("x").SetAction("test").SetAt(at).Exec(ctx)
			}); err != nil {
				t.Fatal(err)
			}
		}
		rows := s.Read().AuditEntry.Query().Order(ent.Asc("at")).AllX(ctx)
		for i, row := range rows {
			if !row.At.Equal(times[i]) || row.At.Location() != time.UTC {
				t.Errorf("%d is %v, want %v", i, row.At, times[i].UTC())
			}
		}
	})
}

func TestOddFileNames(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a b?c#d%20&e.db")
	open(t, Options{DSN: file, Log: quiet()})
	if found, err := filepath.Glob(filepath.Dir(file) + "/*.db"); err != nil || len(found) != 1 || found[0] != file {
		t.Errorf("there is %v, %v", found, err)
	}
}
