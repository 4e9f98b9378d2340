// Command diff writes the SQL that brings the databases from the newest migration to the model in ent/schema, for
// both dialects or for none: ent/migrate/{sqlite,postgres}/VERSION_NAME.sql. It is called with the name of the
// migration, as add_node_rack.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
	"time"

	"github.com/pureboot/pureboot/ent/migrate/scratch"
)

func main() {
	dir := flag.String("dir", "ent/migrate", "folder of the migrations")
	pg := flag.String("postgres", "", "URL of an empty PostgreSQL database to try things in; empty starts a server")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, flag.Arg(0), *dir, *pg)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "migration:", err)
		os.Exit(1)
	}
}

var names = regexp.MustCompile(`^[a-z][a-z0-9_]{0,60}$`)

func run(ctx context.Context, name, dir, pg string) (err error) {
	if !names.MatchString(name) {
		return fmt.Errorf("name %q: want lower-case letters, digits and underscores (make migration NAME=add_x)", name)
	}
	if pg == "" {
		server, err := scratch.Postgres(ctx)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, server.Stop()) }()
		if pg, err = server.Database(ctx); err != nil {
			return err
		}
	}
	lite, err := sqlite(ctx, os.DirFS(filepath.Join(dir, "sqlite")))
	if err != nil {
		return fmt.Errorf("sqlite: %w", err)
	}
	post, err := postgres(ctx, pg, os.DirFS(filepath.Join(dir, "postgres")))
	if err != nil {
		return fmt.Errorf("postgres: %w", err)
	}
	if lite == nil && post == nil {
		fmt.Println("The migrations already lead to ent/schema: nothing to write.")
		return nil
	}
	file := time.Now().UTC().Format("20060102150405") + "_" + name + ".sql"
	for folder, sql := range map[string][]byte{"sqlite": lite, "postgres": post} {
		if sql == nil {
			sql = []byte("-- +goose Up\n-- nothing changes in this dialect\n")
		}
		path := filepath.Join(dir, folder, file)
		if err := os.WriteFile(path, sql, 0o644); err != nil {
			return err
		}
		fmt.Println(path)
	}
	return nil
}
