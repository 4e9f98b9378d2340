package content

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/ent"
)

// follower keeps a copy of the repository as an agent does.
type follower struct {
	seen   wire.Epoch
	has    map[string]string // name to digest
	listed map[string]bool   // by the pages of a full manifest so far
	cursor string
}

// page reads one page and says whether it was the last.
func (f *follower) page(r *Repository, t testing.TB, limit int) bool {
	first := f.cursor == ""
	m, err := r.Manifest(t.Context(), uuid.Nil, f.seen, f.cursor, limit)
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Items) > limit {
		t.Fatalf("%d items, want at most %d", len(m.Items), limit)
	}
	if first {
		f.listed = map[string]bool{}
	}
	for _, item := range m.Items {
		name := item.Category + "/" + item.Path
		f.listed[name] = true
		if item.Removed {
			delete(f.has, name)
		} else {
			f.has[name] = item.SHA256
		}
	}
	if f.cursor = m.Next; f.cursor != "" {
		return false
	}
	if m.Full {
		maps.DeleteFunc(f.has, func(name, _ string) bool { return !f.listed[name] })
	}
	f.seen = m.Epoch
	return true
}

// Whoever has read to the last page has the repository as it was at the epoch he was told, whatever was written
// between the pages.
func TestManifestTellsTheTruth(t *testing.T) {
	var runs int
	rapid.Check(t, func(rt *rapid.T) {
		runs++
		r := open(t, fmt.Sprintf("%s/%d", t.TempDir(), runs))
		now := map[string]string{}
		history := map[int64]map[string]string{0: {}}
		f := &follower{has: map[string]string{}}
		change := func(rt *rapid.T) {
			path := rapid.StringMatching("[a-d]").Draw(rt, "path")
			name := wire.Scripts + "/" + path
			if rapid.Bool().Draw(rt, "remove") {
				if err := r.Remove(t.Context(), Removal{Category: wire.Scripts, Path: path}); err == nil {
					delete(now, name)
				} else if !errors.Is(err, ErrNotFound) {
					rt.Fatal(err)
				}
			} else {
				text := rapid.StringMatching("[xyz]").Draw(rt, "text")
				file, _, err := r.Put(t.Context(), Upload{Category: wire.Scripts, Path: path, Body: strings.NewReader(text)})
				if err != nil {
					rt.Fatal(err)
				}
				now[name] = file.SHA256
			}
			history[epochOf(t, r)] = maps.Clone(now)
		}
		rt.Repeat(map[string]func(*rapid.T){
			"change": change,
			"page": func(rt *rapid.T) {
				if f.page(r, t, rapid.IntRange(1, 3).Draw(rt, "limit")) && !maps.Equal(f.has, history[f.seen.N]) {
					rt.Fatalf("at %d: has %v, want %v", f.seen.N, f.has, history[f.seen.N])
				}
			},
			"restore": func(rt *rapid.T) {
				if f.cursor == "" {
					f.seen.Stream = "of an earlier life"
				}
			},
		})
	})
}

func TestManifestWhileOthersWrite(t *testing.T) { onBoth(t, testManifestWhileOthersWrite) }

func testManifestWhileOthersWrite(t *testing.T, r *Repository) {
	var wg sync.WaitGroup
	for w := range 2 {
		wg.Go(func() {
			for i := range 25 {
				path := fmt.Sprintf("%d/%d", w, i%5)
				if _, _, err := r.Put(t.Context(), Upload{
					Category: wire.Scripts, Path: path, Body: strings.NewReader(fmt.Sprint(i)),
				}); err != nil {
					t.Error(err)
				}
				if i%3 == 0 {
					if err := r.Remove(t.Context(), Removal{Category: wire.Scripts, Path: path}); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	f := &follower{has: map[string]string{}}
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		for !f.page(r, t, 3) {
		}
	}
	all, err := r.List(t.Context(), Query{})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for _, file := range all.Items {
		want[file.Category+"/"+file.Path] = file.SHA256
	}
	if !maps.Equal(f.has, want) || f.seen.N != epochOf(t, r) {
		t.Errorf("at %d: has %v, want %v", f.seen.N, f.has, want)
	}
}

func TestManifestStartsOver(t *testing.T) {
	r := open(t, t.TempDir())
	put(t, r, wire.Scripts, "a", "x")
	put(t, r, wire.Scripts, "b", "x")
	if err := r.Remove(t.Context(), Removal{Category: wire.Scripts, Path: "a"}); err != nil {
		t.Fatal(err)
	}
	now, err := r.Epoch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		since wire.Epoch
		full  bool
		items int
	}{
		{wire.Epoch{}, true, 1},
		{wire.Epoch{Stream: now.Stream}, true, 1},
		{wire.Epoch{Stream: "other", N: now.N}, true, 1},
		{wire.Epoch{Stream: now.Stream, N: now.N + 1}, true, 1},
		{wire.Epoch{Stream: now.Stream, N: 1}, false, 2},
		{now, false, 0},
	} {
		m, err := r.Manifest(t.Context(), uuid.Nil, c.since, "", 0)
		if err != nil || m.Full != c.full || len(m.Items) != c.items || m.Epoch != now || m.Next != "" {
			t.Errorf("since %v: %+v, %v", c.since, m, err)
		}
	}
}

func TestManifestMarksWhatIsAssigned(t *testing.T) {
	r, ctx := open(t, t.TempDir()), t.Context()
	put(t, r, wire.Images, "a", "x")
	put(t, r, wire.Images, "b", "y")
	var site uuid.UUID
	err := r.st.Write(ctx, func(tx *ent.Tx) error {
		a := tx.Content.Query().Where(named(wire.Images, "a")).OnlyX(ctx)
		site = tx.DeviceGroup.Create().SetName("site").SetPath("site").SetIsSite(true).AddAssignedContent(a).SaveX(ctx).ID
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, who := range []uuid.UUID{site, uuid.New(), uuid.Nil} {
		m, err := r.Manifest(ctx, who, wire.Epoch{}, "", 0)
		if err != nil || len(m.Items) != 2 || m.Items[0].Assigned != (who == site) || m.Items[1].Assigned {
			t.Errorf("for %v: %+v, %v", who, m.Items, err)
		}
	}
}

func FuzzManifestCursor(f *testing.F) {
	r := open(f, f.TempDir())
	now, err := r.Epoch(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	for _, cursor := range []string{"x", ":", "~", now.String(), now.String() + "~0", now.String() + "~", now.Stream + ":99"} {
		f.Add(cursor)
	}
	f.Fuzz(func(t *testing.T, cursor string) {
		_, err := r.Manifest(t.Context(), uuid.Nil, wire.Epoch{}, cursor, 1)
		if err != nil && !errors.Is(err, ErrCursor) {
			t.Errorf("%q: %v", cursor, err)
		}
	})
}
