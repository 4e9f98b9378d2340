package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// TestStoreAgainstModel lets the store do what it likes with a few keys and versions, and compares it
// with a map of what must be here. A second passes between steps, so that the order of use is known.
func TestStoreAgainstModel(t *testing.T) {
	origins := map[Key][]*origin{}
	for i, key := range []Key{"a", "a/b", "a/b/c", "pinned", "d"} {
		for version := range 2 {
			origins[key] = append(origins[key], newOrigin(uint64(10*i+version), 500*(i+1)))
		}
	}
	origins["large"] = []*origin{newOrigin(90, 3*ChunkSize), newOrigin(91, 2*ChunkSize+1)}
	keys := slices.Sorted(maps.Keys(origins))
	base := memoryDir(t)

	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(base, "")
		if err != nil {
			rt.Fatal(err)
		}
		defer os.RemoveAll(dir)
		opts := Options{
			Dir: dir, HotBytes: mib, HotMaxObject: 2000, Log: slog.New(slog.DiscardHandler),
			MaxBytes: rapid.SampledFrom([]int64{0, 6000, 3*ChunkSize + 2000}).Draw(rt, "cap"),
			Rank: func(key Key) int {
				if key == "pinned" {
					return Pinned
				}
				return len(key) % 2
			},
		}
		key, version := rapid.SampledFrom(keys), rapid.IntRange(0, 1)
		steps := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) step {
			return step{
				op: rapid.SampledFrom([]string{
					"fetch", "get", "part", "finish", "remove", "reopen", "purge", "purge a fill", "disk full", "disk broken", "disk well",
				}).Draw(t, "op"),
				key: key.Draw(t, "key"), version: version.Draw(t, "version"),
			}
		}), 1, 40).Draw(rt, "steps")
		synctest.Test(t, func(*testing.T) { err = runModel(opts, origins, steps) })
		if err != nil { // rapid's own Fatal would panic through the bubble
			rt.Fatal(err)
		}
	})
}

type step struct {
	op      string
	key     Key
	version int
}

// model is what the store ought to hold.
type model struct {
	opts Options
	held map[Key]modelEntry
	tick int

	fault  error // that the disk gives; nil: none
	faults int64 // that it has given
}

type modelEntry struct {
	o    *origin
	used int
}

func (m *model) bytes(only func(Key) bool) (n int64) {
	for key, e := range m.held {
		if only(key) {
			n += e.o.obj.Size
		}
	}
	return n
}

// put reports whether o is stored, and evicts for it as the store should.
func (m *model) put(key Key, o *origin) bool {
	if limit := m.opts.MaxBytes; limit > 0 {
		pinned := func(key Key) bool { return m.opts.Rank(key) == Pinned }
		if m.bytes(pinned)+o.obj.Size > limit {
			return false
		}
		for m.bytes(func(Key) bool { return true })+o.obj.Size > limit {
			var victim Key
			for key, e := range m.held {
				if pinned(key) {
					continue
				}
				v, rank := m.held[victim], m.opts.Rank(key)
				if victim == "" || rank < m.opts.Rank(victim) || rank == m.opts.Rank(victim) && e.used < v.used {
					victim = key
				}
			}
			delete(m.held, victim)
		}
	}
	if m.fault != nil {
		return false
	}
	m.held[key] = modelEntry{o, m.tick}
	return true
}

func runModel(opts Options, origins map[Key][]*origin, steps []step) (err error) {
	s, err := Open(opts)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	m := &model{opts: opts, held: map[Key]modelEntry{}}
	failing := func(s *Store) {
		create := s.createPart
		s.createPart = func(name string, keep bool) (part, error) {
			if m.fault != nil {
				m.faults++
				return nil, m.fault
			}
			return create(name, keep)
		}
	}
	failing(s)
	type half struct {
		r *Reader
		o *origin
	}
	var open []half
	defer func() {
		for _, h := range open {
			h.r.Close()
		}
	}()
	for _, st := range steps {
		time.Sleep(time.Second)
		m.tick++
		o := origins[st.key][st.version]
		here := m.held[st.key].o == o
		switch st.op {
		case "fetch", "part":
			refused := s.refusing() // then nothing is evicted in vain
			r, err := s.Fetch(context.Background(), st.key, o.obj, o.open)
			if err != nil {
				return fmt.Errorf("%+v: %v", st, err)
			}
			stored := r.Stored() == nil
			want := true
			if here {
				m.held[st.key] = modelEntry{o, m.tick}
			} else if refused {
				want = false
			} else {
				want = m.put(st.key, o)
			}
			if stored != want {
				return fmt.Errorf("%+v: stored %v, want %v", st, stored, want)
			}
			if st.op == "part" {
				open = append(open, half{r, o})
				break
			}
			got, err := io.ReadAll(r)
			r.Close()
			if err != nil || !bytes.Equal(got, o.data) {
				return fmt.Errorf("%+v: read %d bytes, %v", st, len(got), err)
			}
		case "finish": // whatever became of the object since
			if len(open) == 0 {
				break
			}
			h := open[0]
			open = open[1:]
			got, err := io.ReadAll(h.r)
			h.r.Close()
			if err != nil || !bytes.Equal(got, h.o.data) {
				return fmt.Errorf("%+v: read %d bytes, %v", st, len(got), err)
			}
		case "get":
			r, ok := s.Get(st.key, o.obj.SHA256)
			if ok != here {
				return fmt.Errorf("%+v: here %v, want %v", st, ok, here)
			}
			if ok {
				m.held[st.key] = modelEntry{o, m.tick}
				got, err := io.ReadAll(r)
				r.Close()
				if err != nil || !bytes.Equal(got, o.data) {
					return fmt.Errorf("%+v: read %d bytes, %v", st, len(got), err)
				}
			}
		case "remove":
			if err := s.Remove(st.key); err != nil {
				return fmt.Errorf("%+v: %v", st, err)
			}
			delete(m.held, st.key)
		case "reopen":
			if err := s.Close(); err != nil {
				return fmt.Errorf("%+v: %v", st, err)
			}
			if s, err = Open(opts); err != nil {
				return fmt.Errorf("%+v: %v", st, err)
			}
			failing(s)
			m.faults = 0
		case "purge":
			if _, err := s.Purge(func(e Entry) bool { return e.Key <= st.key }); err != nil {
				return fmt.Errorf("%+v: %v", st, err)
			}
			maps.DeleteFunc(m.held, func(key Key, _ modelEntry) bool { return key <= st.key })
		case "purge a fill":
			if err := m.purgeFill(s, st, o); err != nil {
				return fmt.Errorf("%+v: %v", st, err)
			}
		case "disk full", "disk broken", "disk well":
			m.fault = map[string]error{"disk full": syscall.ENOSPC, "disk broken": syscall.EIO}[st.op]
			time.Sleep(2 * probeEvery) // until it has been found to be well
		}
		if err := compare(s, m); err != nil {
			return fmt.Errorf("after %+v: %w", st, err)
		}
	}
	return nil
}

// purgeFill purges a key while it is fetched: who reads gets it all, and nobody else.
func (m *model) purgeFill(s *Store, st step, o *origin) error {
	if m.held[st.key].o == o || m.fault != nil || s.refusing() {
		return nil
	}
	gated := &origin{data: o.data, obj: o.obj, gate: make(chan struct{}), gateAt: 100}
	r, err := s.Fetch(context.Background(), st.key, o.obj, gated.open)
	if err != nil {
		return err
	}
	defer r.Close()
	synctest.Wait() // it is at the gate, or passes by
	if m.put(st.key, o) {
		delete(m.held, st.key)
	}
	if _, err := s.Purge(func(e Entry) bool { return e.Key == st.key }); err != nil {
		return err
	}
	delete(m.held, st.key)
	close(gated.gate)
	got, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(got, o.data) || !errors.Is(r.Stored(), ErrNotStored) {
		return fmt.Errorf("read %d bytes, %v; stored %v", len(got), err, r.Stored())
	}
	return nil
}

func compare(s *Store, m *model) error {
	entries := int64(0)
	for e := range s.All() {
		entries++
		if want := m.held[e.Key].o; want == nil || want.obj.SHA256 != e.Object.SHA256 {
			return fmt.Errorf("%s is here in a version it should not be", e.Key)
		}
	}
	total := m.bytes(func(Key) bool { return true })
	if st := s.Stats(); entries != int64(len(m.held)) || st.Entries != entries || st.Bytes != total || st.DiskErrors != m.faults || st.Corruptions != 0 {
		return fmt.Errorf("%d entries, want %d of %d bytes: %+v", entries, len(m.held), total, st)
	}
	return nil
}

// memoryDir is a directory where syncing costs nothing, if there is one.
func memoryDir(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "cache")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
