package content

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/ent"
)

func announce(path string, data []byte) Announcement {
	sum := sha256.Sum256(data)
	return Announcement{Category: wire.Images, Path: path, Size: int64(len(data)), SHA256: hex.EncodeToString(sum[:]), By: "me"}
}

func begin(t *testing.T, r *Repository, a Announcement) Session {
	t.Helper()
	s, stored, err := r.Begin(t.Context(), a)
	if err != nil || stored != nil {
		t.Fatalf("begin: %v, %v", stored, err)
	}
	return s
}

func TestAnUploadInPieces(t *testing.T) { onBoth(t, testAnUploadInPieces) }

func testAnUploadInPieces(t *testing.T, r *Repository) {
	ctx := t.Context()
	data := make([]byte, 3*wire.ChunkSize+5)
	rand.NewChaCha8([32]byte{1}).Read(data)
	s := begin(t, r, announce("a", data))
	if list, err := r.Sessions(ctx); err != nil || len(list) != 1 || list[0].ID != s.ID || list[0].CreatedBy != "me" {
		t.Errorf("sessions %+v, %v", list, err)
	}
	broken := errors.New("broken")
	piece := io.MultiReader(bytes.NewReader(data[:wire.ChunkSize+7]), iotest.ErrReader(broken))
	if _, _, err := r.Append(ctx, Piece{ID: s.ID, Body: piece}); !errors.Is(err, broken) {
		t.Errorf("a piece that breaks: %v", err)
	}
	if s, err := r.Session(ctx, s.ID); err != nil || s.Offset != wire.ChunkSize+7 {
		t.Errorf("after it %+v, %v", s, err)
	}
	if _, err := r.Stat(ctx, wire.Images, "a"); !errors.Is(err, ErrNotFound) {
		t.Errorf("half of it is visible: %v", err)
	}
	_, _, err := r.Append(ctx, Piece{ID: s.ID, Offset: 5, Body: bytes.NewReader(data[5:])})
	if wrong, ok := errors.AsType[*OffsetError](err); !ok || wrong.Have != wire.ChunkSize+7 {
		t.Errorf("a piece from elsewhere: %v", err)
	}
	_, _, err = r.Append(ctx, Piece{ID: s.ID, Offset: wire.ChunkSize + 7, Body: bytes.NewReader(append(data[wire.ChunkSize+7:len(data):len(data)], 0))})
	if now, _ := r.Session(ctx, s.ID); !errors.Is(err, ErrLength) || now.Offset != wire.ChunkSize+7 {
		t.Errorf("a piece too long: %v, then at %d", err, now.Offset)
	}
	if c := collect(t, r); c.Uploads != 0 {
		t.Error("a session that is open was swept")
	}
	_, stored, err := r.Append(ctx, Piece{ID: s.ID, Offset: wire.ChunkSize + 7, Body: bytes.NewReader(data[wire.ChunkSize+7:])})
	if err != nil || stored == nil || stored.Change != Created || stored.File.Size != int64(len(data)) {
		t.Fatalf("the last piece: %+v, %v", stored, err)
	}
	body, _, err := r.Open(ctx, wire.Images, "a")
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if got, err := io.ReadAll(body); err != nil || !bytes.Equal(got, data) {
		t.Errorf("it holds other bytes: %v", err)
	}
	if _, err := r.Session(ctx, s.ID); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the session goes on: %v", err)
	}
	if list := files(t, r.root.Name()); len(list) != 1 {
		t.Errorf("the disk holds %v", list)
	}
	if v, err := r.Verify(ctx, wire.Images, "a"); err != nil || !v.Whole {
		t.Errorf("%+v, %v", v, err)
	}

	// What is here need not come again, also under another name, but may.
	if _, stored, err := r.Begin(ctx, announce("a", data)); err != nil || stored == nil || stored.Change != Unchanged {
		t.Errorf("the same: %+v, %v", stored, err)
	}
	if _, stored, err := r.Begin(ctx, announce("b", data)); err != nil || stored == nil || stored.Change != Created {
		t.Errorf("the same by another name: %+v, %v", stored, err)
	}
	if _, stored, err := r.Begin(ctx, announce("empty", nil)); err != nil || stored == nil || stored.File.Size != 0 {
		t.Errorf("nothing at all: %+v, %v", stored, err)
	}
	again := announce("a", data)
	again.Again = true
	if s := begin(t, r, again); r.Cancel(ctx, s.ID) != nil {
		t.Error("not canceled")
	}
	if err := r.root.Remove(blobFile(stored.File.SHA256)); err != nil {
		t.Fatal(err)
	}
	begin(t, r, announce("a", data)) // the row alone is not enough
}

func TestASessionThatFailsLeavesNothing(t *testing.T) {
	r, ctx := open(t, t.TempDir()), t.Context()
	s := begin(t, r, announce("a", []byte("data")))
	if _, _, err := r.Append(ctx, Piece{ID: s.ID, Body: strings.NewReader("dada")}); !errors.Is(err, ErrDigest) {
		t.Errorf("other bytes: %v", err)
	}
	if _, err := r.Session(ctx, s.ID); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("it goes on: %v", err)
	}
	s = begin(t, r, announce("b", []byte("data")))
	if _, _, err := r.Append(ctx, Piece{ID: s.ID, Body: strings.NewReader("da")}); err != nil {
		t.Error(err)
	}
	if err := r.Cancel(ctx, s.ID); err != nil {
		t.Error(err)
	}
	s = begin(t, r, announce("c", []byte("data")))
	if _, _, err := r.Append(ctx, Piece{ID: s.ID, Body: strings.NewReader("da")}); err != nil {
		t.Error(err)
	}
	err := r.st.Write(ctx, func(tx *ent.Tx) error { return tx.UploadSession.Update().SetExpiresAt(now()).Exec(ctx) })
	if err != nil {
		t.Fatal(err)
	}
	if c := collect(t, r); c.Uploads != 1 {
		t.Errorf("collected %+v", c)
	}
	if list := files(t, r.root.Name()); len(list) != 0 || epochOf(t, r) != 0 {
		t.Errorf("the disk holds %v", list)
	}
	for _, err := range []error{
		r.Cancel(ctx, s.ID),
		func() error { _, _, err := r.Append(ctx, Piece{ID: s.ID, Body: strings.NewReader("")}); return err }(),
		func() error { _, err := r.Session(ctx, uuid.New()); return err }(),
	} {
		if !errors.Is(err, store.ErrNotFound) {
			t.Errorf("one that is gone: %v", err)
		}
	}
	if list := files(t, r.root.Name()); len(list) != 0 {
		t.Errorf("the disk holds %v", list)
	}
}

// An end between the blob's place and its name leaves the session able to go on.
func TestASessionWhoseNamingFails(t *testing.T) {
	r, ctx := open(t, t.TempDir()), t.Context()
	s := begin(t, r, announce("a", []byte("data")))
	bad := errors.New("bad")
	_, _, err := r.Append(ctx, Piece{
		ID: s.ID, Body: strings.NewReader("data"),
		Also: func(context.Context, *ent.Tx, Edit) error { return bad },
	})
	if !errors.Is(err, bad) {
		t.Fatal(err)
	}
	collect(t, r) // the blob that nobody names goes, and not the session's bytes
	if _, stored, err := r.Append(ctx, Piece{ID: s.ID, Offset: 4, Body: strings.NewReader("")}); err != nil || stored == nil {
		t.Fatalf("%+v, %v", stored, err)
	}
	if got := text(t, r, wire.Images, "a"); got != "data" {
		t.Errorf("it holds %q", got)
	}
	collect(t, r)
	if list := files(t, r.root.Name()); len(list) != 1 {
		t.Errorf("the disk holds %v", list)
	}
}

// A crash may lose what had not reached the disk, or leave more there than the row knows of.
func TestASessionAfterACrash(t *testing.T) {
	r, ctx := open(t, t.TempDir()), t.Context()
	s := begin(t, r, announce("a", []byte("data")))
	if _, _, err := r.Append(ctx, Piece{ID: s.ID, Body: strings.NewReader("da")}); err != nil {
		t.Fatal(err)
	}
	part := filepath.Join(r.root.Name(), partFile(s.ID))
	if err := os.WriteFile(part, []byte("daXXXXXX"), 0o640); err != nil {
		t.Fatal(err)
	}
	if _, stored, err := r.Append(ctx, Piece{ID: s.ID, Offset: 2, Body: strings.NewReader("ta")}); err != nil || stored == nil {
		t.Errorf("more than known: %+v, %v", stored, err)
	}
	s = begin(t, r, announce("b", []byte("more")))
	if _, _, err := r.Append(ctx, Piece{ID: s.ID, Body: strings.NewReader("mo")}); err != nil {
		t.Fatal(err)
	}
	if err := r.root.Remove(partFile(s.ID)); err != nil {
		t.Fatal(err)
	}
	if s, err := r.Session(ctx, s.ID); err != nil || s.Offset != 0 {
		t.Errorf("lost: %+v, %v", s, err)
	}
	if _, stored, err := r.Append(ctx, Piece{ID: s.ID, Body: strings.NewReader("more")}); err != nil || stored == nil {
		t.Errorf("begun anew: %+v, %v", stored, err)
	}
}

func TestTheLatestRequestHasTheTurn(t *testing.T) {
	r, ctx := open(t, t.TempDir()), t.Context()
	s := begin(t, r, announce("a", []byte("data")))
	body, sender := io.Pipe()
	var interrupted atomic.Bool
	first := make(chan error)
	go func() {
		_, _, err := r.Append(ctx, Piece{ID: s.ID, Body: body, Interrupt: func() {
			interrupted.Store(true)
			sender.CloseWithError(io.ErrUnexpectedEOF)
		}})
		first <- err
	}()
	if _, err := sender.Write([]byte("da")); err != nil {
		t.Fatal(err)
	}
	if s, err := r.Session(ctx, s.ID); err != nil || s.Offset != 2 {
		t.Errorf("%+v, %v", s, err)
	}
	if err := <-first; !errors.Is(err, io.ErrUnexpectedEOF) || !interrupted.Load() {
		t.Errorf("the request before: %v", err)
	}
	if _, stored, err := r.Append(ctx, Piece{ID: s.ID, Offset: 2, Body: strings.NewReader("ta")}); err != nil || stored == nil {
		t.Errorf("%+v, %v", stored, err)
	}
}

func TestSessionsAreBounded(t *testing.T) {
	r, ctx := open(t, t.TempDir()), t.Context()
	for i := range maxSessions {
		begin(t, r, announce("a", fmt.Append(nil, i)))
	}
	if _, _, err := r.Begin(ctx, announce("a", []byte("more"))); !errors.Is(err, ErrBusy) {
		t.Errorf("one too many: %v", err)
	}
	list, err := r.Sessions(ctx)
	if err != nil || r.Cancel(ctx, list[0].ID) != nil {
		t.Fatal(err)
	}
	huge := announce("a", []byte("huge"))
	const left = 1 << 30
	r.free = func() (int64, error) { return left, nil }
	huge.Size = left
	if _, _, err := r.Begin(ctx, huge); !errors.Is(err, ErrNoSpace) {
		t.Errorf("more than fits beside the others: %v", err)
	}
	_, _, err = r.Put(ctx, Upload{Category: wire.Images, Path: "a", Size: 1 << 50, Body: strings.NewReader("never read")})
	if !errors.Is(err, ErrNoSpace) {
		t.Errorf("an upload at once that will not fit: %v", err)
	}
	_, _, err = r.Begin(ctx, Announcement{Category: "disks", Path: "../x", Size: -1, SHA256: "X"})
	invalid, ok := errors.AsType[*store.Invalid](err)
	if !ok || len(invalid.Fields) != 4 {
		t.Errorf("all that is wrong: %v", err)
	}
}

// However an upload is cut into pieces, and wherever they break off, the file is what was announced.
func TestUploadsCutAnywhere(t *testing.T) {
	r := open(t, t.TempDir())
	var runs int
	rapid.Check(t, func(rt *rapid.T) {
		runs++
		data := make([]byte, rapid.IntRange(1, 2*wire.ChunkSize+100).Draw(rt, "size"))
		rand.NewChaCha8([32]byte{byte(runs)}).Read(data)
		path := fmt.Sprint(runs)
		s, stored, err := r.Begin(t.Context(), announce(path, data))
		for err == nil && stored == nil {
			if s, err = r.Session(t.Context(), s.ID); err != nil {
				break
			}
			rest := data[s.Offset:]
			n := rapid.IntRange(0, len(rest)).Draw(rt, "piece")
			body := io.Reader(bytes.NewReader(rest[:n]))
			breaks := rapid.Bool().Draw(rt, "breaks")
			if breaks {
				body = io.MultiReader(body, iotest.ErrReader(io.ErrUnexpectedEOF))
			}
			_, stored, err = r.Append(t.Context(), Piece{ID: s.ID, Offset: s.Offset, Body: body})
			if breaks && errors.Is(err, io.ErrUnexpectedEOF) {
				err = nil
			}
		}
		if err != nil {
			rt.Fatal(err)
		}
		v, err := r.Verify(t.Context(), wire.Images, path)
		if err != nil || !v.Whole || v.Size != int64(len(data)) {
			rt.Fatalf("%+v, %v", v, err)
		}
	})
}

func TestManySessionsAtOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, r *Repository) {
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				data := fmt.Append(nil, "same", i/2)
				s, stored, err := r.Begin(t.Context(), announce(fmt.Sprint(i), data))
				if err == nil && stored == nil {
					_, stored, err = r.Append(t.Context(), Piece{ID: s.ID, Body: bytes.NewReader(data)})
				}
				if err != nil || stored == nil {
					t.Error(stored, err)
				}
			})
		}
		wg.Wait()
		if list := files(t, r.root.Name()); len(list) != 4 || epochOf(t, r) != 8 {
			t.Errorf("the disk holds %v, the epoch is %d", list, epochOf(t, r))
		}
	})
}
