package content

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/ent"
)

// What has come reaches the disk, and then the session's row, after so many bytes or so much time.
const (
	syncBytes = 32 << 20
	syncTime  = 10 * time.Second
)

// Piece continues a session.
type Piece struct {
	ID        uuid.UUID
	Offset    int64 // of its first byte
	Body      io.Reader
	Interrupt func() // makes a Read of Body that waits return; nil if none waits for long
	Also      Also   // when the last byte is here, and the file is stored
}

// Append receives a piece, and stores the file when its last byte is here and all have the digest that was announced.
// What came of a piece that breaks off is kept. After ErrDigest and ErrNoSpace the session is gone, and the room on
// the disk that it took. Another error leaves it to be continued from the offset that Session returns.
func (r *Repository) Append(ctx context.Context, p Piece) (Session, *Stored, error) {
	release, err := r.turns.take(ctx, p.ID, p.Interrupt)
	if err != nil {
		return Session{}, nil, err
	}
	defer release()
	s, err := r.session(ctx, p.ID)
	if err != nil {
		return Session{}, nil, err
	}
	if s.Offset != p.Offset {
		return s, nil, &OffsetError{Have: s.Offset, Sent: p.Offset}
	}
	stored, err := r.append(ctx, &s, p)
	if errors.Is(err, ErrDigest) || errors.Is(err, ErrNoSpace) || errors.Is(err, errDisk) {
		if gone := r.giveUp(context.WithoutCancel(ctx), p.ID); gone != nil && !errors.Is(gone, store.ErrNotFound) {
			r.log.Error("an upload that failed is left until it expires", "session", p.ID, "err", gone)
		}
	}
	if err != nil {
		return s, nil, fmt.Errorf("continue the upload of %s/%s: %w", s.Category, s.Path, err)
	}
	return s, stored, nil
}

// errDisk says that the bytes on the disk can no longer be relied on.
var errDisk = errors.New("the disk failed")

func (r *Repository) append(ctx context.Context, s *Session, p Piece) (*Stored, error) {
	f, err := r.root.OpenFile(partFile(s.ID), os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, noSpace(err)
	}
	defer f.Close()
	switch err := flock(f, syscall.LOCK_EX); {
	case errors.Is(err, errLocked):
		return nil, ErrBusy
	case err != nil:
		return nil, err
	}
	// Behind the offset may be what came before a crash, of which nobody knows whether it is what was sent.
	if err := f.Truncate(s.Offset); err != nil {
		return nil, noSpace(err)
	}
	if _, err := f.Seek(s.Offset, io.SeekStart); err != nil {
		return nil, err
	}
	if err := r.receivePiece(ctx, s, f, p.Body); err != nil || s.Offset < s.Size {
		return nil, err
	}
	return r.complete(ctx, s, f, p.Also)
}

// receivePiece writes a body behind what is there, and notes how far that has reached the disk, in the end too.
func (r *Repository) receivePiece(ctx context.Context, s *Session, f *os.File, body io.Reader) error {
	began, at := s.Offset, s.Offset
	buf, synced := make([]byte, wire.ChunkSize), time.Now()
	for {
		n, readErr := fill(body, buf)
		if at+int64(n) > s.Size {
			return errors.Join(ErrLength, r.note(ctx, s, f, began))
		}
		if _, err := f.Write(buf[:n]); err != nil {
			return noSpace(err)
		}
		at += int64(n)
		if ends := readErr != nil || ctx.Err() != nil; ends || at-s.Offset >= syncBytes || time.Since(synced) >= syncTime {
			// Also when the client is gone: what it has sent it need not send again.
			if err := r.note(context.WithoutCancel(ctx), s, f, at); err != nil {
				return err
			}
			synced = time.Now()
		}
		switch {
		case readErr == io.EOF:
			return nil
		case readErr != nil:
			return fmt.Errorf("receive: %w", readErr)
		case ctx.Err() != nil:
			return fmt.Errorf("receive: %w", context.Cause(ctx))
		}
	}
}

// note makes sure that the first bytes of a session are on the disk, and then says so in its row.
func (r *Repository) note(ctx context.Context, s *Session, f *os.File, offset int64) error {
	if err := f.Sync(); err != nil {
		return errors.Join(errDisk, noSpace(err))
	}
	expires := now().Add(sessionTime)
	err := r.st.Write(ctx, func(tx *ent.Tx) error {
		return tx.UploadSession.UpdateOneID(s.ID).SetOffset(offset).SetExpiresAt(expires).Exec(ctx)
	})
	if ent.IsNotFound(err) {
		return store.ErrNotFound // given up by another process; the file is swept
	} else if err != nil {
		return err
	}
	s.Offset, s.ExpiresAt = offset, expires
	return nil
}

// complete digests all that is on the disk and stores it under the session's name.
func (r *Repository) complete(ctx context.Context, s *Session, f *os.File, also Also) (*Stored, error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	b, err := digestTo(ctx, io.Discard, f)
	if err != nil {
		return nil, err
	}
	if b.digest() != s.SHA256 || b.size != s.Size {
		return nil, fmt.Errorf("%w: %d bytes with SHA-256 %s are here", ErrDigest, b.size, b.digest())
	}
	if err := r.syncDir("uploads"); err != nil {
		return nil, err
	}
	// A second name, so that the bytes are still the session's if it cannot be stored now. Both are locked with f.
	file := "tmp/" + rand.Text()
	if err := r.root.Link(partFile(s.ID), file); err != nil {
		file = partFile(s.ID) // a filesystem without links
	}
	stored, change, err := r.publish(ctx, file, b, naming{
		category: s.Category, path: s.Path,
		also: func(ctx context.Context, tx *ent.Tx, e Edit) error {
			if err := tx.UploadSession.DeleteOneID(s.ID).Exec(ctx); ent.IsNotFound(err) {
				return store.ErrNotFound
			} else if err != nil {
				return err
			}
			return also.run(ctx, tx, e)
		},
	})
	if err != nil {
		return nil, err
	}
	if err := r.root.Remove(partFile(s.ID)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.log.Warn("an upload's file is left over until the next collection", "file", partFile(s.ID), "err", err)
	}
	return &Stored{stored, change}, nil
}
