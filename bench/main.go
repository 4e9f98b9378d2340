// Command bench measures the agent beside well-known caching proxies. It is the origin and the clients, checks every
// byte, starts each proxy on loopback in a folder of its own, and ends what it started. README.md says how to read what
// it prints.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "child" {
		exit(child(os.Args[2:]))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := measure(ctx, os.Args[1:])
	stop()
	exit(err)
}

func exit(err error) {
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// options are the flags.
type options struct {
	rows, peers, agent, out string
	profiles                string
	quick, huge, trace      bool
	reps                    int
	limit                   time.Duration
}

func parse(args []string) (o options, err error) {
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.StringVar(&o.rows, "rows", "", "regular expression of the rows to run (default all)")
	f.StringVar(&o.peers, "peers", "", "comma-separated beginnings of the peers to run (default all; with -quick agent)")
	f.StringVar(&o.agent, "agent", "bin/pureboot-agent", "the agent's program")
	f.StringVar(&o.out, "out", "", "file to write the results to as well")
	f.StringVar(&o.profiles, "profile", "", "folder for processor and allocation profiles of our agent, where a row takes them")
	f.BoolVar(&o.quick, "quick", false, "only check the agent's behaviour, bytes and counts but not times, on small objects")
	f.BoolVar(&o.huge, "huge", false, "measure memory with an object of 4 GiB")
	f.BoolVar(&o.trace, "trace", false, "tell each request that the agent made of the origin")
	f.IntVar(&o.reps, "reps", 0, "repetitions (default 3; with -quick 1)")
	f.DurationVar(&o.limit, "limit", 2*time.Hour, "give up after so long")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if o.reps == 0 {
		o.reps = 3
		if o.quick {
			o.reps = 1
		}
	}
	if o.quick && o.peers == "" {
		o.peers = "agent"
	}
	o.agent, err = filepath.Abs(o.agent)
	return o, err
}

// measure is the whole program. Its error says which promises were not kept: with -quick of bytes and counts, else it
// is for the reader to judge.
func measure(ctx context.Context, args []string) (err error) {
	o, err := parse(args)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, o.limit, fmt.Errorf("not done after %v", o.limit))
	defer cancel()
	wanted, err := regexp.Compile(o.rows)
	if err != nil {
		return fmt.Errorf("-rows: %w", err)
	}
	rows := slices.DeleteFunc(allRows(o.quick, o.huge), func(r *row) bool {
		return !wanted.MatchString(r.name) || o.quick && !r.quick
	})
	dir, err := os.MkdirTemp("", "pureboot-bench-*")
	if err != nil {
		return err
	}
	watcher, err := newGuard(dir)
	if err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	defer func() { err = errors.Join(err, watcher.close()) }()
	if err := os.Chmod(dir, 0o755); err != nil { // some peers work as a user of their own
		return err
	}
	b := &bench{agent: o.agent, dir: dir, guard: watcher, quick: o.quick, reps: o.reps, trace: o.trace, profiles: o.profiles, out: os.Stderr}
	versions, err := b.choose(ctx, o.peers)
	if err != nil {
		return err
	}
	if err := b.run(ctx, rows); err != nil {
		return err
	}
	command := strings.Join(os.Args, " ")
	if err := b.report(os.Stdout, command, versions); err != nil {
		return err
	}
	if o.out != "" {
		if err := writeFile(o.out, func(w io.Writer) error { return b.report(w, command, versions) }); err != nil {
			return err
		}
	}
	return b.check()
}

// choose keeps the peers that are wanted and can be run, and returns their versions.
func (b *bench) choose(ctx context.Context, wanted string) (map[string]string, error) {
	versions := map[string]string{}
	for _, p := range slices.Concat(agentPeers(), nginxPeers(), []*peer{varnishPeer(), squidPeer()}) {
		if !slices.ContainsFunc(strings.Split(wanted, ","), func(s string) bool { return strings.HasPrefix(p.name, s) }) {
			continue
		}
		version, err := p.version(ctx, b)
		if err != nil {
			text := p.name + ": " + strings.Join(strings.Fields(err.Error()), " ")
			b.skipped = append(b.skipped, text)
			fmt.Fprintln(b.out, "left out:", text)
			continue
		}
		versions[p.name] = version
		b.peers = append(b.peers, p)
	}
	if len(versions) == 0 {
		return nil, fmt.Errorf("nothing to measure: %s", strings.Join(b.skipped, "; "))
	}
	fmt.Fprintln(b.out, "peers:", strings.Join(slices.Sorted(maps.Keys(versions)), ", "))
	return versions, nil
}

// check returns what our agent did wrong in the quick rows.
func (b *bench) check() error {
	if !b.quick {
		return nil
	}
	var all []error
	for _, res := range b.results {
		for _, p := range res.broken(b.peers) {
			if !p.timing {
				all = append(all, errors.New(p.String()))
			}
		}
	}
	return errors.Join(all...)
}

func writeFile(name string, write func(io.Writer) error) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}
