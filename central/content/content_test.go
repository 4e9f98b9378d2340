package content

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"

	"go.uber.org/goleak"

	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/ent"
	"github.com/pureboot/pureboot/ent/migrate/scratch"
)

// databases are those of all tests.
var databases scratch.Migrated

func TestMain(m *testing.M) { goleak.VerifyTestMain(databases.Around(m)) }

func open(t testing.TB, dir string) *Repository {
	t.Helper()
	return openOver(t, dir, "")
}

// onBoth runs a test over SQLite, and over PostgreSQL where it is installed.
func onBoth(t *testing.T, test func(t *testing.T, r *Repository)) {
	t.Run("sqlite", func(t *testing.T) { test(t, open(t, t.TempDir())) })
	t.Run("postgres", func(t *testing.T) {
		url, err := databases.Postgres(t.Context())
		if errors.Is(err, scratch.ErrMissing) {
			t.Skip(err)
		} else if err != nil {
			t.Fatal(err)
		}
		test(t, openOver(t, t.TempDir(), url))
	})
}

func openOver(t testing.TB, dir, dsn string) *Repository {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	data := t.TempDir()
	if dsn == "" {
		if err := databases.SQLite(t.Context(), filepath.Join(data, "pureboot.db")); err != nil {
			t.Fatal(err)
		}
	}
	st, err := store.Open(t.Context(), store.Options{DSN: dsn, Dir: data, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	r, err := Open(dir, st, quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(r.Close(), st.Close()); err != nil {
			t.Error(err)
		}
	})
	return r
}

func put(t *testing.T, r *Repository, category, path, text string) (wire.File, Change) {
	t.Helper()
	f, c, err := r.Put(t.Context(), Upload{Category: category, Path: path, Body: strings.NewReader(text)})
	if err != nil {
		t.Fatal(err)
	}
	return f, c
}

func epochOf(t *testing.T, r *Repository) int64 {
	t.Helper()
	e, err := r.Epoch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return e.N
}

// files lists what is on the disk under dir.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var list []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && d.Name() != lockName {
			list = append(list, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestWhatIsPutIsServed(t *testing.T) {
	r := open(t, t.TempDir())
	for _, size := range []int{0, 1, wire.ChunkSize - 1, wire.ChunkSize, wire.ChunkSize + 1, 3*wire.ChunkSize + 7} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			data := make([]byte, size)
			rand.NewChaCha8([32]byte{byte(size)}).Read(data)
			sum := sha256.Sum256(data)
			path := fmt.Sprintf("dir/%d", size)
			f, change, err := r.Put(t.Context(), Upload{
				Category: wire.Images, Path: path, Body: iotest.HalfReader(bytes.NewReader(data)), SHA256: &sum,
			})
			if err != nil || change != Created {
				t.Fatal(change, err)
			}
			if f.Size != int64(size) || f.SHA256 != hex.EncodeToString(sum[:]) || f.Modified.IsZero() {
				t.Errorf("Put says %+v", f)
			}
			body, opened, err := r.Open(t.Context(), wire.Images, path)
			if err != nil {
				t.Fatal(err)
			}
			defer body.Close()
			if got, err := io.ReadAll(body); err != nil || !bytes.Equal(got, data) || !opened.Modified.Equal(f.Modified) {
				t.Errorf("%d other bytes, %v, %+v", len(got), err, opened)
			}
			c, err := r.Chunks(t.Context(), wire.Images, path)
			if err != nil || c.ChunkSize != wire.ChunkSize || c.Epoch.N != epochOf(t, r) || c.SHA256 != f.SHA256 {
				t.Errorf("%+v, %v", c, err)
			}
			if want := (size + wire.ChunkSize - 1) / wire.ChunkSize; len(c.Chunks) != want {
				t.Fatalf("%d chunks, want %d", len(c.Chunks), want)
			}
			for i, digest := range c.Chunks {
				want := sha256.Sum256(data[i*wire.ChunkSize : min(size, (i+1)*wire.ChunkSize)])
				if digest != hex.EncodeToString(want[:]) {
					t.Errorf("chunk %d has another digest", i)
				}
			}
		})
	}
}

func TestBytesAreKeptOnce(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	put(t, r, wire.Scripts, "a", "same")
	put(t, r, wire.Images, "b", "same")
	if list := files(t, dir); len(list) != 1 {
		t.Errorf("the disk holds %v", list)
	}
	before := epochOf(t, r)
	first, _ := put(t, r, wire.Scripts, "a", "same")
	if again, change := put(t, r, wire.Scripts, "a", "same"); change != Unchanged || !again.Modified.Equal(first.Modified) {
		t.Errorf("the same bytes again are %s, %v", change, again)
	}
	if epochOf(t, r) != before {
		t.Error("the same bytes again are a new epoch")
	}
}

func TestAReaderKeepsItsVersion(t *testing.T) {
	r := open(t, t.TempDir())
	put(t, r, wire.Scripts, "a", "old")
	body, f, err := r.Open(t.Context(), wire.Scripts, "a")
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if _, change := put(t, r, wire.Scripts, "a", "new"); change != Replaced {
		t.Errorf("other bytes are %s", change)
	}
	if err := r.Remove(t.Context(), Removal{Category: wire.Scripts, Path: "a"}); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(body); err != nil || string(got) != "old" || f.Size != 3 {
		t.Errorf("it reads %q, %v, %+v", got, err, f)
	}
}

func TestTheVersionBeforeIsKept(t *testing.T) {
	r := open(t, t.TempDir())
	put(t, r, wire.Scripts, "a", "old")
	put(t, r, wire.Scripts, "a", "new")
	previous := func() string {
		row := r.st.Read().Content.Query().WithPreviousBlob().OnlyX(t.Context())
		text, err := os.ReadFile(filepath.Join(r.root.Name(), blobFile(row.Edges.PreviousBlob.Sha256)))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if got := previous(); got != "old" {
		t.Errorf("after a replacement it is %q", got)
	}
	if err := r.Remove(t.Context(), Removal{Category: wire.Scripts, Path: "a"}); err != nil {
		t.Fatal(err)
	}
	if got := previous(); got != "new" {
		t.Errorf("after a removal it is %q", got)
	}
	if _, change := put(t, r, wire.Scripts, "a", "newer"); change != Created || previous() != "new" {
		t.Errorf("after it came back (%s) it is %q", change, previous())
	}
}

func TestRemovedIsGone(t *testing.T) {
	r := open(t, t.TempDir())
	put(t, r, wire.Scripts, "a", "x")
	before := epochOf(t, r)
	if err := r.Remove(t.Context(), Removal{Category: wire.Scripts, Path: "a"}); err != nil {
		t.Fatal(err)
	}
	if epochOf(t, r) != before+1 {
		t.Error("a removal is no new epoch")
	}
	_, statErr := r.Stat(t.Context(), wire.Scripts, "a")
	_, _, openErr := r.Open(t.Context(), wire.Scripts, "a")
	_, chunksErr := r.Chunks(t.Context(), wire.Scripts, "a")
	for _, err := range []error{statErr, openErr, chunksErr, r.Remove(t.Context(), Removal{Category: wire.Scripts, Path: "a"})} {
		if !errors.Is(err, ErrNotFound) {
			t.Errorf("the error is %v", err)
		}
	}
}

func TestAFailedUploadLeavesNothing(t *testing.T) {
	bad := errors.New("bad")
	wrong := sha256.Sum256([]byte("something else"))
	half := strings.NewReader(strings.Repeat("x", wire.ChunkSize*3/2))
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		ctx  context.Context
		u    Upload
		want error
	}{
		"path":   {t.Context(), Upload{Path: "../a", Body: strings.NewReader("x")}, ErrPath},
		"digest": {t.Context(), Upload{Path: "a", Body: strings.NewReader("x"), SHA256: &wrong}, ErrDigest},
		// As net/http ends the body of a request that broke off.
		"torn":     {t.Context(), Upload{Path: "a", Body: io.MultiReader(half, iotest.ErrReader(io.ErrUnexpectedEOF))}, io.ErrUnexpectedEOF},
		"body":     {t.Context(), Upload{Path: "a", Body: iotest.ErrReader(bad)}, bad},
		"canceled": {canceled, Upload{Path: "a", Body: iotest.ErrReader(context.Canceled)}, context.Canceled},
		"also": {t.Context(), Upload{
			Path: "a", Body: strings.NewReader("y"),
			Also: func(context.Context, *ent.Tx, Edit) error { return bad },
		}, bad},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			r := open(t, dir)
			c.u.Category = wire.Scripts
			if _, _, err := r.Put(c.ctx, c.u); !errors.Is(err, c.want) {
				t.Errorf("the error is %v", err)
			}
			page, err := r.List(t.Context(), Query{})
			if err != nil || len(page.Items) != 0 || epochOf(t, r) != 0 {
				t.Errorf("there is %v, %v", page, err)
			}
			if list := files(t, filepath.Join(dir, "tmp")); len(list) != 0 {
				t.Errorf("the disk holds %v", list)
			}
			if list := files(t, dir); name != "also" && len(list) != 0 {
				t.Errorf("the disk holds %v", list)
			}
		})
	}
}

func TestAlsoIsPartOfTheTransaction(t *testing.T) {
	r, ctx := open(t, t.TempDir()), t.Context()
	also := func(ctx context.Context, tx *ent.Tx, e Edit) error {
		return tx.AuditEntry.Create().SetWho("me").SetAction("content." + string(e.Change)).SetSubject(e.After.Path).Exec(ctx)
	}
	for _, text := range []string{"1", "2", "2"} {
		u := Upload{Category: wire.Scripts, Path: "a", Body: strings.NewReader(text), Also: also}
		if _, _, err := r.Put(ctx, u); err != nil {
			t.Fatal(err)
		}
	}
	bad := errors.New("bad")
	err := r.Remove(ctx, Removal{
		Category: wire.Scripts, Path: "a",
		Also: func(context.Context, *ent.Tx, Edit) error { return bad },
	})
	if _, stat := r.Stat(ctx, wire.Scripts, "a"); !errors.Is(err, bad) || stat != nil {
		t.Errorf("a removal that could not be noted: %v, %v", err, stat)
	}
	var acts []string
	for _, row := range r.st.Read().AuditEntry.Query().Order(ent.Asc("id")).AllX(ctx) {
		acts = append(acts, row.Action)
	}
	if got := strings.Join(acts, " "); got != "content.created content.replaced content.unchanged" {
		t.Errorf("noted was %s", got)
	}
}

func TestUnfinishedUploadsAreSwept(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "tmp"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "tmp", "HALF"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	r := open(t, dir)
	c, err := r.Collect(t.Context())
	if list := files(t, dir); len(list) != 0 || c.Uploads != 1 || err != nil {
		t.Errorf("the disk holds %v, %+v, %v", list, c, err)
	}
}

func TestUploadingAgainRepairsABlob(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	f, _ := put(t, r, wire.Scripts, "a", "whole")
	if err := os.WriteFile(filepath.Join(dir, blobFile(f.SHA256)), []byte("h"), 0o644); err != nil {
		t.Fatal(err)
	}
	put(t, r, wire.Scripts, "a", "whole")
	if got, err := os.ReadFile(filepath.Join(dir, blobFile(f.SHA256))); err != nil || string(got) != "whole" {
		t.Errorf("it holds %q, %v", got, err)
	}
}

func TestALostBlobIsNotNotFound(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	f, _ := put(t, r, wire.Scripts, "a", "x")
	if err := os.Remove(filepath.Join(dir, blobFile(f.SHA256))); err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Open(t.Context(), wire.Scripts, "a"); err == nil || errors.Is(err, ErrNotFound) {
		t.Errorf("the error is %v", err)
	}
}

func TestUploadsAtOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, r *Repository) {
		var wg sync.WaitGroup
		for i := range 16 {
			wg.Go(func() {
				text := fmt.Sprint(i % 2)
				u := Upload{Category: wire.Scripts, Path: "p" + fmt.Sprint(i%4), Body: strings.NewReader(text)}
				if _, _, err := r.Put(t.Context(), u); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if list := files(t, r.root.Name()); len(list) != 2 || epochOf(t, r) != 4 {
			t.Errorf("the disk holds %v, the epoch is %d", list, epochOf(t, r))
		}
	})
}

func TestMemoryDoesNotGrowWithTheFile(t *testing.T) {
	const size = 64 << 20
	for name, upload := range map[string]func(*Repository, io.Reader) error{
		"at once": func(r *Repository, body io.Reader) error {
			_, _, err := r.Put(t.Context(), Upload{Category: wire.Images, Path: "big", Body: body})
			return err
		},
		"in pieces": func(r *Repository, body io.Reader) error {
			sum := sha256.New()
			if _, err := io.Copy(sum, io.LimitReader(rand.NewChaCha8([32]byte{}), size)); err != nil {
				return err
			}
			s, _, err := r.Begin(t.Context(), Announcement{Category: wire.Images, Path: "big", Size: size, SHA256: hex.EncodeToString(sum.Sum(nil))})
			for err == nil && s.Offset < size {
				s, _, err = r.Append(t.Context(), Piece{ID: s.ID, Offset: s.Offset, Body: io.LimitReader(body, size/4)})
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := open(t, t.TempDir())
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			if err := upload(r, io.LimitReader(rand.NewChaCha8([32]byte{}), size)); err != nil {
				t.Fatal(err)
			}
			runtime.ReadMemStats(&after)
			if n := after.TotalAlloc - before.TotalAlloc; n > 6<<20 {
				t.Errorf("%d bytes were allocated for %d", n, size)
			}
		})
	}
}

func TestAFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("pureboot-test", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("a small disk needs the right to mount one: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	r := open(t, dir)
	put(t, r, wire.Scripts, "a", "small")
	body := strings.NewReader(strings.Repeat("x", 2<<20))
	if _, _, err := r.Put(t.Context(), Upload{Category: wire.Scripts, Path: "a", Body: body}); !errors.Is(err, ErrNoSpace) {
		t.Errorf("the error is %v", err)
	}
	if list := files(t, dir); len(list) != 1 {
		t.Errorf("the disk holds %v", list)
	}
	if f, err := r.Stat(t.Context(), wire.Scripts, "a"); err != nil || f.Size != 5 {
		t.Errorf("the version before is %+v, %v", f, err)
	}
	put(t, r, wire.Scripts, "b", "small again")
}

func TestListPages(t *testing.T) { onBoth(t, testListPages) }

func testListPages(t *testing.T, r *Repository) {
	for _, path := range []string{"a", "a/b", "a_b", "A/b", "a%b", "axb", "é/1", "é/2"} {
		put(t, r, wire.Images, path, path)
	}
	put(t, r, wire.Scripts, "a", "")
	put(t, r, wire.Bootloaders, "a/b", "")
	put(t, r, wire.Images, "gone", "")
	if err := r.Remove(t.Context(), Removal{Category: wire.Images, Path: "gone"}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		q    Query
		want string
	}{
		{Query{}, "bootloaders/a/b images/A/b images/a images/a%b images/a/b images/a_b images/axb images/é/1 images/é/2 scripts/a"},
		{Query{Category: wire.Scripts}, "scripts/a"},
		{Query{Category: "disks"}, ""},
		{Query{Category: wire.Images, Prefix: "a/"}, "images/a/b"},
		{Query{Prefix: "a_"}, "images/a_b"},
		{Query{Prefix: "a%"}, "images/a%b"},
		{Query{Prefix: "é/"}, "images/é/1 images/é/2"},
		{Query{Prefix: "a/"}, "bootloaders/a/b images/a/b"},
		{Query{Glob: "**/b"}, "bootloaders/a/b images/A/b images/a/b"},
		{Query{Glob: "images/{a,é}*"}, "images/a images/a%b images/a_b images/axb"},
		{Query{Glob: "images/{a,é}/**", Category: wire.Images}, "images/a images/a/b images/é/1 images/é/2"},
		{Query{Glob: "*/a", Category: wire.Scripts}, "scripts/a"},
		{Query{Glob: "disks/**"}, ""},
	} {
		for _, limit := range []int{0, 1, 3} {
			q, got, pages := c.q, []string{}, 0
			q.Limit = limit
			for {
				p, err := r.List(t.Context(), q)
				if err != nil {
					t.Fatal(err)
				}
				if want := len(strings.Fields(c.want)); pages == 0 && p.Total != want {
					t.Errorf("%+v: the total is %d, want %d", q, p.Total, want)
				}
				for _, f := range p.Items {
					got = append(got, f.Category+"/"+f.Path)
				}
				if q.Cursor = p.Next; q.Cursor == "" || pages > 20 {
					break
				}
				// What comes in behind the reader does not disturb.
				put(t, r, wire.Bootloaders, "A", fmt.Sprint(pages))
				pages++
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("%+v: %v, want %s", c.q, got, c.want)
			}
			if err := r.Remove(t.Context(), Removal{Category: wire.Bootloaders, Path: "A"}); err != nil && !errors.Is(err, ErrNotFound) {
				t.Fatal(err)
			}
		}
	}
	if _, err := r.List(t.Context(), Query{Glob: "["}); !errors.Is(err, ErrGlob) {
		t.Errorf("the error is %v", err)
	}
	if _, err := r.List(t.Context(), Query{Cursor: "x"}); !errors.Is(err, ErrCursor) {
		t.Errorf("the error is %v", err)
	}
}
