package content

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/ent"
	"github.com/pureboot/pureboot/ent/uploadsession"
)

const (
	sessionTime = 24 * time.Hour // without a byte, until it is given up
	maxSessions = 100
)

var (
	// ErrBusy says that there are too many upload sessions, or that another process receives for this one.
	ErrBusy = errors.New("busy with other uploads")

	// ErrLength says that a piece goes on beyond the size that was announced. Nothing of it was kept.
	ErrLength = errors.New("the upload is longer than was announced")
)

// OffsetError says that a piece does not begin where the one before it ended.
type OffsetError struct{ Have, Sent int64 }

func (e *OffsetError) Error() string {
	return fmt.Sprintf("the piece begins at byte %d, and %d bytes are here", e.Sent, e.Have)
}

// Session is an upload that may be continued after its connection broke, or central ended.
type Session struct {
	ID        uuid.UUID `json:"id"`
	Category  string    `json:"category"`
	Path      string    `json:"path"`
	Size      int64     `json:"size" doc:"Bytes of the whole"`
	SHA256    string    `json:"sha256" doc:"Of the whole, in hexadecimal"`
	Offset    int64     `json:"offset" doc:"Bytes that are safely here: where the next piece begins"`
	ExpiresAt time.Time `json:"expires_at" doc:"Moves on with each piece"`
	CreatedBy string    `json:"created_by"`
}

// Announcement begins a session.
type Announcement struct {
	Category, Path string
	Size           int64
	SHA256         string // hexadecimal
	By             string // who
	Again          bool   // receive the bytes although a blob with the digest is here, which repairs it
	Also           Also   // if the file is stored at once
}

// Stored is a file that was stored, and how.
type Stored struct {
	File   wire.File
	Change Change
}

// Begin opens a session for a file. If its bytes are here, under whatever name, there is nothing to receive: the file
// is stored at once. Errors are *store.Invalid, ErrNoSpace if what all sessions still wait for would not fit on the
// disk, and ErrBusy.
func (r *Repository) Begin(ctx context.Context, a Announcement) (Session, *Stored, error) {
	if err := a.check(); err != nil {
		return Session{}, nil, err
	}
	if stored, err := r.adopt(ctx, a); stored != nil || err != nil {
		return Session{}, stored, err
	}
	free, err := r.free()
	if err != nil {
		return Session{}, nil, err
	}
	var s Session
	err = r.st.Write(ctx, func(tx *ent.Tx) error {
		open, err := tx.UploadSession.Query().All(ctx)
		if err != nil {
			return err
		}
		if len(open) >= maxSessions {
			return fmt.Errorf("%w: %d sessions are open", ErrBusy, len(open))
		}
		needed := a.Size
		for _, row := range open {
			needed += session(row).Size - row.Offset
		}
		if needed > free {
			return fmt.Errorf("%w: %d bytes are free, and this and the other uploads need %d", ErrNoSpace, free, needed)
		}
		row, err := tx.UploadSession.Create().SetCategory(uploadsession.Category(a.Category)).SetPath(a.Path).
			SetSha256(a.SHA256).SetSize(a.Size).SetCreatedBy(a.By).SetExpiresAt(now().Add(sessionTime)).Save(ctx)
		if err == nil {
			s = session(row)
		}
		return err
	})
	if err != nil {
		return Session{}, nil, fmt.Errorf("begin an upload of %s/%s: %w", a.Category, a.Path, err)
	}
	return s, nil, nil
}

func (a Announcement) check() error {
	var bad store.Invalid
	if e, ok := errors.AsType[*PathError](CheckPath(a.Category, a.Path)); ok {
		for _, f := range e.Fields {
			f.Location = strings.Replace(f.Location, "path.", "body.", 1)
			bad.Fields = append(bad.Fields, f)
		}
	}
	if sum, err := hex.DecodeString(a.SHA256); err != nil || len(sum) != sha256.Size || a.SHA256 != strings.ToLower(a.SHA256) {
		bad.Fields = append(bad.Fields, wire.ProblemField{Location: "body.sha256", Message: "not 64 hexadecimal digits in lower case"})
	}
	if a.Size < 0 || a.Size > wire.MaxFile {
		bad.Fields = append(bad.Fields, wire.ProblemField{Location: "body.size", Message: fmt.Sprintf("not between 0 and %d", int64(wire.MaxFile))})
	}
	if len(bad.Fields) > 0 {
		return &bad
	}
	return nil
}

// adopt stores a file whose bytes are here. It returns nil if they are not.
func (r *Repository) adopt(ctx context.Context, a Announcement) (*Stored, error) {
	n := naming{category: a.Category, path: a.Path, also: a.Also}
	if a.Size == 0 {
		sum := [sha256.Size]byte(must(hex.DecodeString(a.SHA256)))
		f, change, err := r.Put(ctx, Upload{Category: a.Category, Path: a.Path, Body: strings.NewReader(""), SHA256: &sum, Also: a.Also})
		return &Stored{f, change}, err
	}
	b, err := r.blob(ctx, a.SHA256)
	if a.Again || ent.IsNotFound(err) || err == nil && b.size != a.Size {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("look for %s: %w", a.SHA256, err)
	}
	f, change, err := r.publish(ctx, "", b, n)
	if errors.Is(err, errNoBlob) {
		return nil, nil
	}
	return &Stored{f, change}, err
}

// Session returns a session as it is once nobody receives for it: a request that still does is ended. An unknown one,
// or one that is done or given up, is store.ErrNotFound.
func (r *Repository) Session(ctx context.Context, id uuid.UUID) (Session, error) {
	release, err := r.turns.take(ctx, id, nil)
	if err != nil {
		return Session{}, err
	}
	defer release()
	return r.session(ctx, id)
}

func (r *Repository) session(ctx context.Context, id uuid.UUID) (Session, error) {
	row, err := r.st.Read().UploadSession.Get(ctx, id)
	if ent.IsNotFound(err) {
		return Session{}, store.ErrNotFound
	} else if err != nil {
		return Session{}, fmt.Errorf("look up an upload: %w", err)
	}
	s := session(row)
	if s.Offset > 0 {
		// What the row knows of has reached the disk, unless somebody deleted it there.
		if info, err := r.root.Stat(partFile(id)); errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() < s.Offset {
			s.Offset = 0
		} else if err != nil {
			return Session{}, fmt.Errorf("look up an upload: %w", err)
		}
	}
	return s, nil
}

// Sessions returns all sessions, the oldest first.
func (r *Repository) Sessions(ctx context.Context) ([]Session, error) {
	rows, err := r.st.Read().UploadSession.Query().Order(ent.Asc(uploadsession.FieldCreatedAt, uploadsession.FieldID)).All(ctx)
	if err != nil {
		return nil, fmt.Errorf("list uploads: %w", err)
	}
	list := make([]Session, len(rows))
	for i, row := range rows {
		list[i] = session(row)
	}
	return list, nil
}

// Cancel gives a session up.
func (r *Repository) Cancel(ctx context.Context, id uuid.UUID) error {
	release, err := r.turns.take(ctx, id, nil)
	if err != nil {
		return err
	}
	defer release()
	return r.giveUp(ctx, id)
}

// giveUp deletes a session and its bytes. The caller has the turn. A file that is left by an end between is swept.
func (r *Repository) giveUp(ctx context.Context, id uuid.UUID) error {
	err := r.st.Write(ctx, func(tx *ent.Tx) error { return tx.UploadSession.DeleteOneID(id).Exec(ctx) })
	if ent.IsNotFound(err) {
		err = store.ErrNotFound
	}
	if gone := r.root.Remove(partFile(id)); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
		err = errors.Join(err, gone)
	}
	return err
}

// partFile is where the bytes of a session are.
func partFile(id uuid.UUID) string { return "uploads/" + id.String() }

func session(row *ent.UploadSession) Session {
	s := Session{
		ID: row.ID, Category: string(row.Category), Path: row.Path, SHA256: row.Sha256, Offset: row.Offset,
		ExpiresAt: row.ExpiresAt, CreatedBy: row.CreatedBy,
	}
	if row.Size != nil {
		s.Size = *row.Size
	}
	return s
}

// must is for what was checked.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
