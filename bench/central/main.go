// Program central measures pureboot-central as an administrator of many sites meets it: over HTTPS, on a database with
// 1,000 sites and 100,000 nodes, on SQLite and on PostgreSQL.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/pureboot/pureboot/ent/migrate/scratch"
)

func main() {
	debug.SetGCPercent(400) // as pureboot-central has it; and what the client collects would be taken for central's time
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench/central:", err)
		os.Exit(1)
	}
}

// settings are what the command line says.
type settings struct {
	databases []string
	rows      *regexp.Regexp
	sites     int
	perSite   int // nodes
	agents    int
	seconds   int // of a load
	dir       string
	out       string
	profiles  string
}

func run(ctx context.Context) (err error) {
	if len(os.Args) == 2 && os.Args[1] == loadArg {
		return serveLoad(ctx, os.Stdin, os.Stdout)
	}
	var s settings
	databases := flag.String("databases", "sqlite,postgres", "what to measure on")
	rows := flag.String("rows", "", "only the rows whose names match")
	flag.IntVar(&s.sites, "sites", 1000, "sites, five deep")
	flag.IntVar(&s.perSite, "nodes", 100, "nodes of each site")
	flag.IntVar(&s.agents, "agents", 10000, "agents that send heartbeats")
	flag.IntVar(&s.seconds, "seconds", 20, "how long a load lasts")
	flag.StringVar(&s.dir, "dir", "", "folder for the databases; empty means a temporary one")
	flag.StringVar(&s.profiles, "profile", "", "folder for profiles of central under each load")
	flag.StringVar(&s.out, "out", "", "file to write the results to, besides the standard output")
	flag.Parse()
	s.databases = strings.Split(*databases, ",")
	if s.rows, err = regexp.Compile(*rows); err != nil {
		return fmt.Errorf("-rows: %w", err)
	}
	if flag.NArg() > 0 || s.sites < 300 || s.perSite < 1 || s.agents < 1 || s.seconds < 1 {
		return errors.New("want no arguments, 300 sites at least, a node each, an agent and a second")
	}
	dir, err := os.MkdirTemp(s.dir, "pureboot-bench-")
	if err != nil {
		return err
	}
	s.dir = dir
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	r := report{command: "bin/bench-central " + strings.Join(os.Args[1:], " "), settings: s}
	for _, database := range s.databases {
		figures, err := measureOn(ctx, s, database)
		if errors.Is(err, scratch.ErrMissing) {
			fmt.Fprintln(os.Stderr, err)
			continue
		} else if err != nil {
			return fmt.Errorf("%s: %w", database, err)
		}
		r.add(database, figures)
	}
	text := r.text()
	if _, err := io.WriteString(os.Stdout, text); err != nil || s.out == "" {
		return err
	}
	return os.WriteFile(s.out, []byte(text), 0o644)
}
