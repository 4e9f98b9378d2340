package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pureboot/pureboot/agent/admin"
	"github.com/pureboot/pureboot/central/wire"
)

// manyRows: how much is in the cache hardly matters to a start, and to who has some of it forgotten.
func manyRows(quick bool) []*row {
	n := 100_000
	if quick {
		n = 2000
	}
	r := &row{
		name: "many", title: fmt.Sprintf("%d objects of 4 KiB: starts and purges", n), size: 4 << 10, quick: true, reps: 1, admin: true,
		skip: oursAlone, limit: 20 * time.Minute,
		run: func(t *trial, ctx context.Context) error { return t.runMany(ctx, n) },
		promises: []promise{
			allRight(served),
			atLeast(startedWith, float64(n), number),
			atLeast(rebuiltWith, float64(n), number),
			atMost("upstream GETs of what was there", 0, number),
			atMost("start", 2, seconds).timed(),
			atMost("purges that took something else", 0, number),
			atLeast("purged ones fetched again", 3, number),
		},
	}
	for _, p := range purges {
		for _, soft := range []string{"", "soft "} {
			r.promises = append(r.promises, atMost(soft+p, 0.100, seconds).timed())
		}
	}
	return []*row{r}
}

const (
	startedWith = "objects after a start"
	rebuiltWith = "objects after a start without the index"
)

// indexFile is where our agent keeps the index of its cache.
const indexFile = ".index"

// purges are the labels of their times, in the order in which they are made: the last one takes all there is.
var purges = []string{"purge by key", "purge by tag", "purge by prefix", "purge by category"}

// manyFamily is how many objects have the beginning of their names, and their tag, in common.
const manyFamily = 200

func (t *trial) runMany(ctx context.Context, n int) error {
	objects := make([]*object, n)
	for i := range objects {
		family := fmt.Sprintf("%s-%04d", t.server.peer.name, i/manyFamily)
		objects[i] = t.add(spec{name: fmt.Sprintf("many/%s/%d", family, i), tag: "all, " + family})
	}
	beside, err := t.server.entries(ctx) // that something is not there may be worth keeping, too
	if err != nil {
		return err
	}
	if err := errors.Join(t.announce(ctx, objects[0]), t.fill(ctx, objects)); err != nil {
		return fmt.Errorf("fill the cache: %w", err)
	}
	if err := errors.Join(t.runStarts(ctx), t.server.forgetIndex(ctx)); err != nil {
		return err
	}
	t.took("start without the index", t.server.start)
	entries, err := t.server.entries(ctx)
	if err != nil {
		return err
	}
	t.set(rebuiltWith, number, float64(entries))

	before := requests(objects)
	var replies []reply
	for i := range 50 {
		replies = append(replies, t.ask(ctx, request{obj: objects[i*n/50]}))
	}
	t.set("upstream GETs of what was there", number, float64(requests(objects)-before))
	again, err := t.runPurges(ctx, objects, beside)
	t.tally(served, append(replies, again...)...)
	return err
}

// runStarts takes the longest of three starts.
func (t *trial) runStarts(ctx context.Context) error {
	var longest time.Duration
	fewest := 0
	for i := range 3 {
		t.server.stop()
		if err := t.server.restart(ctx); err != nil {
			return err
		}
		longest = max(longest, t.server.start)
		entries, err := t.server.entries(ctx)
		if err != nil {
			return err
		}
		if i == 0 || entries < fewest {
			fewest = entries
		}
	}
	t.took("start", longest)
	t.set(startedWith, number, float64(fewest))
	return nil
}

// runPurges purges in each way, hard and soft, three times, and takes the longest of each. It asks for some of what was
// purged. Beside the objects there are a few more. A tag is an upstream's, and so is what can be purged softly.
func (t *trial) runPurges(ctx context.Context, objects []*object, beside int) ([]reply, error) {
	longest := map[string]time.Duration{}
	other, left := 0, len(objects)+beside
	purge := func(label string, p admin.Purge, want int) error {
		if t.server.peer.central && (p.Soft || p.Tag != "") {
			want = 0
		}
		if !p.Soft {
			left -= want
		}
		began := time.Now()
		gone, err := t.server.purge(ctx, p)
		longest[label] = max(longest[label], time.Since(began))
		if gone.Objects != want {
			other++
			fmt.Fprintf(t.out, "%s took %d objects, not %d\n", label, gone.Objects, want)
		}
		return err
	}
	if err := rest(ctx, t.server.place.cache); err != nil {
		return nil, err
	}
	var asked []*object
	for i := range 3 {
		// Each time a family of its own, of which one object is purged by its name, so that the rest is one fewer.
		one := objects[(3*i)*manyFamily]
		tagged, named := objects[(3*i+1)*manyFamily], objects[(3*i+2)*manyFamily]
		_, tag, _ := strings.Cut(tagged.tag, ", ")
		for _, soft := range []bool{true, false} {
			word := map[bool]string{true: "soft "}[soft]
			if err := errors.Join(
				purge(word+purges[0], admin.Purge{Key: t.server.name(one), Soft: soft}, 1),
				purge(word+purges[1], admin.Purge{Tag: tag, Soft: soft}, manyFamily),
				purge(word+purges[2], admin.Purge{Prefix: t.server.name(named)[:strings.LastIndex(t.server.name(named), "/")+1], Soft: soft}, manyFamily),
			); err != nil {
				return nil, err
			}
		}
		asked = append(asked, one)
	}
	before := requests(asked)
	var replies []reply
	for _, obj := range asked {
		replies = append(replies, t.ask(ctx, request{obj: obj}))
	}
	left += len(asked)
	t.set("purged ones fetched again", number, float64(requests(asked)-before))

	all := admin.Purge{Category: wire.Images}
	if !t.server.peer.central {
		all.Category = admin.CategoryUpstream
	}
	softly := all
	softly.Soft = true
	if err := errors.Join(purge("soft "+purges[3], softly, left), purge(purges[3], all, left)); err != nil {
		return nil, err
	}
	for _, label := range purges {
		t.took("soft "+label, longest["soft "+label])
		t.took(label, longest[label])
	}
	t.set("purges that took something else", number, float64(other))
	return replies, nil
}

// rest waits until our agent has written its index and all that was written to the disk is there. A purge is on the disk
// before it is answered, and is not to wait behind a start without an index, and the hundred thousand files before it.
func rest(ctx context.Context, folder string) (err error) {
	dir, err := os.OpenRoot(folder)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	for {
		index, err := dir.Open(indexFile)
		if err == nil {
			return errors.Join(unix.Syncfs(int(index.Fd())), index.Close())
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}

// requests is how often the bytes of the objects were asked of the origin.
func requests(objects []*object) (n int64) {
	for _, obj := range objects {
		n += obj.gets.Load()
	}
	return n
}

// name is the agent's key of an object of central's, and the URL of an upstream's.
func (s *server) name(obj *object) string {
	if obj.central {
		return wire.Images + "/" + obj.name
	}
	return "http://" + s.place.origin.http.addr + originPrefix + obj.name
}

func (s *server) operator() *admin.Client {
	return admin.NewClient(filepath.Join(s.place.dir, adminSocket))
}

func (s *server) purge(ctx context.Context, p admin.Purge) (gone admin.Gone, err error) {
	return gone, s.operator().Call(ctx, http.MethodPost, admin.PathPurge, nil, p, &gone)
}

// entries is how many objects our agent has.
func (s *server) entries(ctx context.Context) (int, error) {
	status, err := s.status(ctx)
	return status.CacheEntries, err
}

func (s *server) status(ctx context.Context) (status admin.Status, err error) {
	return status, s.operator().Call(ctx, http.MethodGet, admin.PathStatus, nil, nil, &status)
}

// announce has an agent of a central know what there is: of what is in no manifest it asks only now and then. obj is
// what it hears of first.
func (t *trial) announce(ctx context.Context, obj *object) error {
	if !obj.central {
		return nil
	}
	if r := t.ask(ctx, request{obj: obj}); r.err != nil {
		return r.err
	}
	for {
		status, err := t.server.status(ctx)
		if err != nil || status.ContentEpoch == t.origin.epoch() {
			return err
		}
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}

// forgetIndex restarts our agent without the index of its cache.
func (s *server) forgetIndex(ctx context.Context) error {
	s.stop()
	if err := os.Remove(filepath.Join(s.place.cache, indexFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return s.restart(ctx)
}
