package content

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/ent"
)

func collect(t *testing.T, r *Repository) Collection {
	t.Helper()
	c, err := r.Collect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestWhatNobodyNamesIsCollected(t *testing.T) { onBoth(t, testWhatNobodyNamesIsCollected) }

func testWhatNobodyNamesIsCollected(t *testing.T, r *Repository) {
	put(t, r, wire.Scripts, "a", "one")
	put(t, r, wire.Scripts, "b", "one")
	body, _, err := r.Open(t.Context(), wire.Scripts, "a")
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	put(t, r, wire.Scripts, "a", "two")
	put(t, r, wire.Scripts, "b", "two")
	if c := collect(t, r); c.Blobs != 0 {
		t.Fatalf("the version before was collected: %+v", c)
	}
	put(t, r, wire.Scripts, "a", "three")
	if c := collect(t, r); c.Blobs != 0 {
		t.Fatalf("the version before of another name was collected: %+v", c)
	}
	put(t, r, wire.Scripts, "b", "three")
	if c := collect(t, r); c.Blobs != 0 {
		t.Fatalf("what a copy of the database may name was collected: %+v", c)
	}
	letAge(t, r)
	if c := collect(t, r); c.Blobs != 1 || c.Bytes != 3 || len(files(t, r.root.Name())) != 2 {
		t.Errorf("collected %+v, left are %v", c, files(t, r.root.Name()))
	}
	if got, err := io.ReadAll(body); err != nil || string(got) != "one" {
		t.Errorf("a download that was under way reads %q, %v", got, err)
	}

	// Bytes that were collected may come back.
	put(t, r, wire.Scripts, "c", "one")
	s, err := r.Status(t.Context())
	if err != nil || s.Files != 3 || s.Blobs != 3 || s.Bytes != 3+3+5 || s.FreeBytes == 0 || s.Collection == nil || s.Collection.Blobs != 1 {
		t.Errorf("status %+v, %v", s, err)
	}

	// A purged one leaves nothing; one that was removed long ago neither.
	for _, name := range []string{"a", "b", "c"} {
		if err := r.Remove(t.Context(), Removal{Category: wire.Scripts, Path: name, Purge: name != "c"}); err != nil {
			t.Fatal(err)
		}
	}
	if c := collect(t, r); c.Blobs != 2 {
		t.Errorf("collected %+v", c)
	}
	err = r.st.Write(t.Context(), func(tx *ent.Tx) error {
		return tx.Content.Update().SetModified(now().Add(-keepRemoved - time.Hour)).Exec(t.Context())
	})
	if err != nil {
		t.Fatal(err)
	}
	letAge(t, r)
	if c := collect(t, r); c.Blobs != 1 || len(files(t, r.root.Name())) != 0 {
		t.Errorf("collected %+v, left are %v", c, files(t, r.root.Name()))
	}
}

// letAge makes it long ago that any blob was named.
func letAge(t *testing.T, r *Repository) {
	t.Helper()
	err := r.st.Write(t.Context(), func(tx *ent.Tx) error {
		return tx.Blob.Update().SetUsedAt(now().Add(-keepUnnamed - time.Hour)).Exec(t.Context())
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestAPurgeWakesTheCollection(t *testing.T) {
	r := open(t, t.TempDir())
	put(t, r, wire.Scripts, "a", "x")
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := r.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	defer wg.Wait()
	defer cancel()
	if err := r.Remove(t.Context(), Removal{Category: wire.Scripts, Path: "a", Purge: true}); err != nil {
		t.Fatal(err)
	}
	for began := time.Now(); len(files(t, r.root.Name())) > 0; time.Sleep(time.Millisecond) {
		if time.Since(began) > time.Minute {
			t.Fatal("nothing was collected")
		}
	}
}

func TestStraysArePutAside(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	kept, _ := put(t, r, wire.Scripts, "a", "kept")
	digest := strings.Repeat("ab", 32)
	for name, text := range map[string]string{blobFile(digest): "stray", "blobs/ab/README": "not ours"} {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	if c := collect(t, r); c.Strays != 1 || c.Blobs != 0 {
		t.Errorf("collected %+v", c)
	}
	left := strings.Join(files(t, dir), " ")
	if !strings.Contains(left, kept.SHA256) || !strings.Contains(left, "README") || !strings.Contains(left, lostFile(digest)) || strings.Contains(left, blobFile(digest)) {
		t.Errorf("left is %s", left)
	}
	if c := collect(t, r); c.Strays != 0 || c.Blobs != 0 {
		t.Errorf("then collected %+v", c)
	}
	old := time.Now().Add(-keepStrays - time.Hour)
	if err := os.Chtimes(filepath.Join(dir, lostFile(digest)), old, old); err != nil {
		t.Fatal(err)
	}
	if c := collect(t, r); c.Blobs != 1 || c.Bytes != 5 || len(files(t, dir)) != 2 {
		t.Errorf("a week later collected %+v", c)
	}
}

// A central that was started over another database finds that nobody names anything, and spoils nothing.
func TestAnotherDatabaseLosesNothing(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	put(t, r, wire.Scripts, "a", "kept")
	other := open(t, dir)
	if c := collect(t, other); c.Strays != 1 {
		t.Errorf("collected %+v", c)
	}
	if got := files(t, dir); len(got) != 1 || !strings.Contains(got[0], "/lost/") {
		t.Errorf("the disk holds %v", got)
	}
	body, _, err := r.Open(t.Context(), wire.Scripts, "a")
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if got, err := io.ReadAll(body); err != nil || string(got) != "kept" {
		t.Errorf("it reads %q, %v", got, err)
	}

	// What nobody asks for comes back with the next collection.
	collect(t, other)
	collect(t, r)
	if got := files(t, dir); len(got) != 1 || !strings.Contains(got[0], "/blobs/") {
		t.Errorf("the disk holds %v", got)
	}
}

// An upload under way in another process keeps its file, whoever sweeps.
func TestTheFileOfAnUploadIsNotSwept(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	other, err := Open(dir, r.st, r.log)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	body, sender := io.Pipe()
	done := make(chan error)
	go func() {
		_, _, err := r.Put(t.Context(), Upload{Category: wire.Scripts, Path: "a", Body: body})
		done <- err
	}()
	if _, err := sender.Write([]byte("half")); err != nil {
		t.Fatal(err)
	}
	if c := collect(t, other); c.Uploads != 0 {
		t.Errorf("swept %d", c.Uploads)
	}
	if _, err := sender.Write([]byte(" and half")); err != nil {
		t.Fatal(err)
	}
	sender.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// Names come and go, with few different contents, so that each blob is let go of and asked for again all the time,
// while two repositories over one folder collect what they can. Whatever is named is there.
func TestCollectionBesideUploads(t *testing.T) {
	onBoth(t, func(t *testing.T, r *Repository) {
		other, err := Open(r.root.Name(), r.st, r.log)
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		const rounds = 40
		var writers, collectors sync.WaitGroup
		var collected atomic.Int64
		stop := make(chan struct{})
		for _, one := range []*Repository{r, other} {
			collectors.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					c, err := one.Collect(t.Context())
					if err != nil {
						t.Error(err)
						return
					}
					collected.Add(int64(c.Blobs))
				}
			})
		}
		for w := range 4 {
			one := []*Repository{r, other}[w%2]
			writers.Go(func() {
				path := fmt.Sprint("p", w)
				for i := range rounds {
					text := fmt.Sprint((w + i) % 3)
					if _, _, err := one.Put(t.Context(), Upload{Category: wire.Scripts, Path: path, Body: strings.NewReader(text)}); err != nil {
						t.Error(err)
						return
					}
					body, _, err := one.Open(t.Context(), wire.Scripts, path)
					if err != nil {
						t.Error(err)
						return
					}
					if got, err := io.ReadAll(body); err != nil || string(got) != text {
						t.Errorf("%s holds %q, %v, want %q", path, got, err, text)
					}
					body.Close()
					if err := one.Remove(t.Context(), Removal{Category: wire.Scripts, Path: path, Purge: true}); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		writers.Wait()
		close(stop)
		collectors.Wait()
		collected.Add(int64(collect(t, r).Blobs))
		if left := files(t, r.root.Name()); len(left) != 0 || collected.Load() == 0 {
			t.Errorf("%d were collected, left is %v", collected.Load(), left)
		}
	})
}
