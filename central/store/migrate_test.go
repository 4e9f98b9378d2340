package store

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestASecondCentralIsRefused(t *testing.T) {
	o := Options{Dir: t.TempDir(), Log: quiet()}
	first, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), o); !errors.Is(err, ErrInUse) {
		t.Errorf("the second got %v", err)
	}
	o.Shared = true
	if beside, err := Open(t.Context(), o); err != nil {
		t.Errorf("a command beside it got %v", err)
	} else if err := beside.Close(); err != nil {
		t.Error(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	o.Shared = false
	open(t, o)
}

func TestACommandDoesNotMigrateUnderACentral(t *testing.T) {
	o := Options{Dir: t.TempDir(), Log: quiet(), Shared: true}
	held, err := lockFile(filepath.Join(o.Dir, "pureboot.db.lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if _, err := Open(t.Context(), o); !errors.Is(err, ErrInUse) {
		t.Errorf("the error is %v", err)
	}
}

func TestANewerDatabaseIsRefused(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		s, err := Open(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.write.ExecContext(t.Context(),
			"INSERT INTO goose_db_version (version_id, is_applied) VALUES (99990101000000, true)")
		if err := errors.Join(err, s.Close()); err != nil {
			t.Fatal(err)
		}
		if _, err = Open(t.Context(), o); !errors.Is(err, ErrNewer) {
			t.Errorf("open says %v", err)
		}
		if _, err := Migrations(t.Context(), o); !errors.Is(err, ErrNewer) {
			t.Errorf("status says %v", err)
		}
	})
}

func TestMigrationsListsWithoutChanging(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		before, err := Migrations(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if len(before) == 0 || before[0].AppliedAt != nil || before[0].Name != "init" {
			t.Errorf("of an empty database: %+v", before)
		}
		if o.Dir != "" {
			if left, err := os.ReadDir(o.Dir); err != nil || len(left) != 0 {
				t.Errorf("looking left %v, %v", left, err)
			}
		}
		open(t, o)
		after, err := Migrations(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range after {
			if m.AppliedAt == nil || m.AppliedAt.IsZero() {
				t.Errorf("%d is not applied", m.Version)
			}
		}
	})
}

func TestCentralsThatStartAtOnceMigrateOnce(t *testing.T) {
	o := Options{DSN: database(t), Log: quiet()}
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			s, err := Open(t.Context(), o)
			if err != nil {
				t.Error(err)
				return
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestDanglingRowsAreReported(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.db")
	db, err := sql.Open("sqlite", sqliteDSN(file, "foreign_keys(0)"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, q := range []string{
		"CREATE TABLE parents (id integer PRIMARY KEY)",
		"CREATE TABLE children (id integer PRIMARY KEY, parent integer REFERENCES parents (id))",
		"INSERT INTO parents VALUES (1)",
		"INSERT INTO children VALUES (1, 1), (2, 5), (3, 6)",
	} {
		if _, err := db.Exec(q); err != nil {
			t.Fatal(err)
		}
	}
	err = checkForeignKeys(t.Context(), db)
	if err == nil || !strings.Contains(err.Error(), "2 rows of children refer to no row of parents") {
		t.Errorf("the error is %v", err)
	}
	if _, err := db.Exec("DELETE FROM children WHERE parent > 1"); err != nil {
		t.Fatal(err)
	}
	if err := checkForeignKeys(t.Context(), db); err != nil {
		t.Error(err)
	}
}

func TestABackupReplacesTheOneBefore(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir(), Log: quiet()})
	file := filepath.Join(t.TempDir(), "copy.db")
	for range 2 {
		if err := s.backup(t.Context(), s.write, file); err != nil {
			t.Fatal(err)
		}
	}
	copied := open(t, Options{DSN: file, Log: quiet()})
	want, err1 := s.Epoch(t.Context(), NodeCounter)
	got, err2 := copied.Epoch(t.Context(), NodeCounter)
	if err := errors.Join(err1, err2); err != nil || got != want {
		t.Errorf("the copy is at %v, want %v; %v", got, want, err)
	}
}

func TestErrorsDoNotQuoteThePassword(t *testing.T) {
	for _, url := range []string{
		"postgres://u:hunter2@127.0.0.1:1/x", "postgres://u:hunter2@127.0.0.1:port/x", "postgres://u:hunter2@[/x",
	} {
		_, err := Open(context.Background(), Options{DSN: url, Log: quiet()})
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error is %v", err)
		}
	}
}
