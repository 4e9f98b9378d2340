package main

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/pureboot/pureboot/ent/migrate"
	"github.com/pureboot/pureboot/ent/migrate/scratch"
)

func TestSQLiteMigrationsLeadToTheSchema(t *testing.T) {
	lacking, err := sqlite(t.Context(), sub(t, "sqlite"))
	if err != nil {
		t.Fatal(err)
	}
	if lacking != nil {
		t.Errorf("run make migration NAME=x: the migrations lack\n%s", lacking)
	}
}

func TestPostgresMigrationsLeadToTheSchema(t *testing.T) {
	lacking, err := postgres(t.Context(), database(t), sub(t, "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	if lacking != nil {
		t.Errorf("run make migration NAME=x: the migrations lack\n%s", lacking)
	}
}

// The tests above mean something only if what is lacking is found.
func TestAMissingColumnIsFound(t *testing.T) {
	short := fstest.MapFS{"1_short.sql": {Data: []byte("-- +goose Up\n" +
		"CREATE TABLE `counters` (`id` text NOT NULL, `stream` text NOT NULL, `value` integer NOT NULL DEFAULT (0), PRIMARY KEY (`id`));\n")}}
	lacking, err := sqlite(t.Context(), short)
	if err != nil {
		t.Fatal(err)
	}
	want := "CREATE TABLE `new_counters` (`id` text NOT NULL, `stream` text NOT NULL, `origin` text"
	if !bytes.Contains(lacking, []byte(want)) {
		t.Errorf("the difference does not hold %s:\n%s", want, lacking)
	}
}

func TestWritesBothDialectsOrNothing(t *testing.T) {
	dir, url := t.TempDir(), database(t)
	for _, dialect := range []string{"sqlite", "postgres"} {
		if err := os.Mkdir(filepath.Join(dir, dialect), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := run(t.Context(), "Add x", dir, url); err == nil {
		t.Error("a name with a space was accepted")
	}
	if err := run(t.Context(), "init", dir, "postgres://nobody@127.0.0.1:1/none"); err == nil {
		t.Error("a database that does not answer was no error")
	}
	if files := written(t, dir); len(files) != 0 {
		t.Errorf("after errors there are %v", files)
	}
	if err := run(t.Context(), "init", dir, url); err != nil {
		t.Fatal(err)
	}
	files := written(t, dir)
	if len(files) != 2 || filepath.Base(files[0]) != filepath.Base(files[1]) {
		t.Errorf("there are %v, want one name in both folders", files)
	}
}

// database returns an empty database of a PostgreSQL server, or skips the test.
func database(t *testing.T) string {
	t.Helper()
	server, err := scratch.Postgres(t.Context())
	if errors.Is(err, scratch.ErrMissing) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	url, err := server.Database(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return url
}

func sub(t *testing.T, dialect string) fs.FS {
	files, err := fs.Sub(migrate.Files, dialect)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func written(t *testing.T, dir string) []string {
	files, err := filepath.Glob(filepath.Join(dir, "*", "*.sql"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}
