package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// bench runs rows against peers.
type bench struct {
	agent string // the agent's program
	dir   string // of all that is made
	guard *guard
	quick bool
	reps  int
	trace bool      // tell what the origin was asked
	out   io.Writer // of the progress

	profiles string // folder for profiles of our agent; empty: none

	peers   []*peer
	skipped []string // peers that cannot be run, and why
	results []*result
}

// row is one thing that is measured.
type row struct {
	name  string // to be selected by
	title string
	link  link
	reps  int    // 0: as many as asked for
	turns int    // in one repetition, by each peer; 0: 1
	quick bool   // part of the check of behaviour
	root  bool   // needs root
	disk  int64  // size in bytes of the disk for the cache; 0: the machine's
	agent string // more of our agent's configuration
	admin bool   // our agent is operated

	size  int64                    // of the objects, in bytes
	bases []string                 // what else it is compared with
	skip  func(*peer) (why string) // nil: none
	run   func(*trial, context.Context) error
	limit time.Duration // of one run; 0: 2 minutes

	promises []promise
	compare  []comparison
}

// comparison makes a figure of what one peer has to what another one has in the same repetition.
type comparison struct{ label, figure, to string }

// result is what a row found out.
type result struct {
	row    *row
	labels []string                       // in order
	cells  map[string]map[string][]figure // by label and peer, one per repetition
	failed map[string]string              // peers that could not be measured, and why
}

// trial is one run of a row against one peer.
type trial struct {
	*bench
	row     *row
	rep     int
	server  *server
	origin  *origin
	figures []figure
	objects []*object
}

// run runs the rows, and stops at the end of ctx.
func (b *bench) run(ctx context.Context, rows []*row) error {
	for _, r := range rows {
		if r.root && os.Getuid() != 0 {
			b.skipped = append(b.skipped, r.name+": needs root")
			continue
		}
		res, err := b.runRow(ctx, r)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
		b.results = append(b.results, res)
	}
	return nil
}

// runRow runs a row as often as it should be against each peer in turn.
func (b *bench) runRow(ctx context.Context, r *row) (res *result, err error) {
	res = &result{row: r, cells: map[string]map[string][]figure{}, failed: map[string]string{}}
	o, err := newOrigin(r.link)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, o.close()) }()
	dir := filepath.Join(b.dir, r.name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	var servers []*server
	defer func() {
		for _, s := range servers {
			s.stop()
		}
	}()
	for _, p := range b.peers {
		if r.skip != nil && r.skip(p) != "" {
			res.failed[p.name] = r.skip(p)
			continue
		}
		s, err := b.start(ctx, p, r, o, dir)
		if err != nil {
			res.failed[p.name] = err.Error()
			continue
		}
		servers = append(servers, s)
	}
	for _, p := range barePeers() {
		if !slices.Contains(r.bases, p.name) {
			continue
		}
		s, err := b.start(ctx, p, r, o, dir)
		if err != nil {
			return nil, err
		}
		servers = append(servers, s)
	}
	reps := b.reps
	if r.reps > 0 {
		reps = min(reps, r.reps)
	}
	for rep := range reps * max(1, r.turns) {
		for _, s := range servers {
			if res.failed[s.peer.name] == "" {
				b.try(ctx, res, &trial{bench: b, row: r, rep: rep, server: s, origin: o})
			}
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
		}
		res.comparePeers(rep)
	}
	return res, nil
}

func (b *bench) start(ctx context.Context, p *peer, r *row, o *origin, dir string) (*server, error) {
	at := place{bench: b, origin: o, dir: dir, config: r.agent, admin: r.admin, size: r.size, name: r.name}
	if r.disk > 0 {
		at.disk = &tmpfs{bytes: r.disk}
	}
	return startPeer(ctx, p, at)
}

// try runs one trial and takes over what it found.
func (b *bench) try(ctx context.Context, res *result, t *trial) {
	limit := t.row.limit
	if limit == 0 {
		limit = 2 * time.Minute
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	began := time.Now()
	err := t.row.run(t, ctx)
	if err == nil && !t.server.alive() {
		err = errors.New("the server ended")
	}
	name := t.server.peer.name
	if err != nil {
		res.failed[name] = err.Error()
		fmt.Fprintf(b.out, "%s: %s: %v\n%s\n", t.row.name, name, err, t.server.tail())
	}
	var line []string
	for _, f := range t.figures {
		res.add(name, f)
		line = append(line, f.label+" "+f.String())
		if f.unit == outcome && f.tally.why != nil {
			line = append(line, "("+f.tally.why.Error()+")")
		}
	}
	fmt.Fprintf(b.out, "%s: %s: %s [%.1f s]\n", t.row.name, name, strings.Join(line, ", "), time.Since(began).Seconds())
	for _, obj := range t.objects {
		if b.trace && t.server.peer.ours {
			obj.mu.Lock()
			fmt.Fprintf(b.out, "  %s: %d bytes sent\n    %s\n", obj.name, obj.sent.Load(), strings.Join(obj.log, "\n    "))
			obj.mu.Unlock()
		}
	}
}

func (r *result) add(peer string, f figure) {
	if !slices.Contains(r.labels, f.label) {
		r.labels = append(r.labels, f.label)
	}
	if r.cells[f.label] == nil {
		r.cells[f.label] = map[string][]figure{}
	}
	r.cells[f.label][peer] = append(r.cells[f.label][peer], f)
}

// comparePeers adds the row's comparisons of one repetition.
func (r *result) comparePeers(rep int) {
	for _, c := range r.row.compare {
		base := r.cells[c.figure][c.to]
		if len(base) <= rep || base[rep].value == 0 {
			continue
		}
		for _, peer := range slices.Sorted(maps.Keys(r.cells[c.figure])) {
			if reps := r.cells[c.figure][peer]; len(reps) > rep {
				r.add(peer, figure{label: c.label, unit: times, value: reps[rep].value / base[rep].value})
			}
		}
	}
}

// broken is a promise that was not kept.
type broken struct {
	row, peer, text string
	timing          bool
}

func (b broken) String() string { return fmt.Sprintf("%s, %s: %s", b.row, b.peer, b.text) }

// broken returns the promises that our agent did not keep.
func (r *result) broken(peers []*peer) (all []broken) {
	for _, who := range peers {
		if why := r.failed[who.name]; why != "" && who.ours {
			all = append(all, broken{r.row.name, who.name, why, false})
		}
		for _, p := range r.row.promises {
			if reps := r.cells[p.figure][who.name]; p.broken(who, reps) {
				text := fmt.Sprintf("%s: %s, promised %s", p.figure, overall(reps), p.says)
				all = append(all, broken{r.row.name, who.name, text, p.timing})
			}
		}
	}
	return all
}

// broken says whether a peer did not keep the promise. Of times the median counts, of bytes and counts each
// repetition.
func (p promise) broken(who *peer, reps []figure) bool {
	if !p.binds(who) || len(reps) == 0 {
		return false
	}
	if p.timing {
		return !p.kept(overall(reps))
	}
	return slices.ContainsFunc(reps, func(f figure) bool { return !p.kept(f) })
}
