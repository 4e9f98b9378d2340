package content

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/ent"
	"github.com/pureboot/pureboot/ent/blob"
	entcontent "github.com/pureboot/pureboot/ent/content"
)

// Change is what a write did to its name.
type Change string

// The changes.
const (
	Created   Change = "created"   // the name was free, or had been removed
	Replaced  Change = "replaced"  // the name had other bytes, which stay the previous version
	Unchanged Change = "unchanged" // the name had these bytes; there is no new epoch
)

// Also is what else a write does in its transaction, for the audit entry; nil means nothing more. The rules of
// store.Write hold for it, and its error undoes the write.
type Also func(ctx context.Context, tx *ent.Tx, e Edit) error

// Edit is what a write did to a name.
type Edit struct {
	Before, After *wire.File // nil: the name had no file, or has none now
	Change        Change     // empty when the file was removed
}

func (also Also) run(ctx context.Context, tx *ent.Tx, e Edit) error {
	if also == nil {
		return nil
	}
	return also(ctx, tx, e)
}

// Upload is one file to store.
type Upload struct {
	Category, Path string
	Body           io.Reader
	SHA256         *[sha256.Size]byte // of the whole, as announced; nil is not checked
	Size           int64              // bytes, as far as it was announced: more than is free is refused at once
	If             Condition
	Also           Also
}

// Put stores a file under a name and returns when it would survive a power cut. Readers of the version before are
// not disturbed. Errors are ErrPath, ErrDigest, ErrNoSpace, store.ErrVersion for a condition that does not hold, and
// those of the body and of Also; after any of them the name is as it was. Of two uploads of one name at once, the one
// that ends last stays.
func (r *Repository) Put(ctx context.Context, u Upload) (wire.File, Change, error) {
	if err := CheckPath(u.Category, u.Path); err != nil {
		return wire.File{}, "", err
	}
	if err := r.expect(ctx, u.Category, u.Path, u.If); err != nil {
		return wire.File{}, "", err
	}
	if err := r.room(u.Size); err != nil {
		return wire.File{}, "", err
	}
	tmp, b, err := r.receive(ctx, u.Body, u.SHA256)
	if err != nil {
		return wire.File{}, "", err
	}
	defer tmp.discard()
	return r.publish(ctx, tmp.name, b, naming{u.Category, u.Path, u.If, u.Also})
}

// naming is a name that a blob gets.
type naming struct {
	category, path string
	when           Condition
	also           Also
}

// publish makes a complete file the blob of its digest, and lets a name name it. An empty file name stands for bytes
// that are in place. On an error the file may or may not have moved: a blob that nobody names is collected.
func (r *Repository) publish(ctx context.Context, file string, b bytesOf, n naming) (wire.File, Change, error) {
	release, err := guard{r}.share(ctx)
	if err != nil {
		return wire.File{}, "", err
	}
	defer release()
	if file == "" {
		err = r.present(b)
	} else {
		err = r.place(file, b.digest())
	}
	if err != nil {
		return wire.File{}, "", fmt.Errorf("store an upload: %w", noSpace(err))
	}
	var f wire.File
	var change Change
	err = r.st.Write(ctx, func(tx *ent.Tx) error {
		edit, err := n.to(ctx, tx, b)
		if err != nil {
			return err
		}
		f, change = *edit.After, edit.Change
		return n.also.run(ctx, tx, edit)
	})
	if err != nil {
		return wire.File{}, "", fmt.Errorf("store %s/%s: %w", n.category, n.path, err)
	}
	if change != Unchanged {
		r.log.Info("stored content", "category", f.Category, "path", f.Path, "bytes", f.Size, "sha256", f.SHA256,
			"request", wire.RequestID(ctx))
	}
	return f, change, nil
}

// to makes the name that of a blob.
func (n naming) to(ctx context.Context, tx *ent.Tx, b bytesOf) (Edit, error) {
	f := wire.File{Category: n.category, Path: n.path, Size: b.size, SHA256: b.digest(), Modified: now()}
	edit := Edit{After: &f, Change: Created}
	row, err := tx.Content.Query().Where(named(n.category, n.path)).WithBlob(brief).Only(ctx)
	if ent.IsNotFound(err) {
		row, err = nil, nil
	}
	if err == nil {
		err = n.when.check(row)
	}
	if err != nil {
		return edit, err
	}
	blobID, err := blobRow(ctx, tx, b)
	if err != nil {
		return edit, err
	}
	edit.Before = current(row)
	if edit.Before != nil && *row.BlobID == blobID {
		f.Modified, edit.Change = row.Modified, Unchanged
		return edit, nil
	}
	epoch, err := store.Next(ctx, tx, store.ContentCounter)
	if err != nil {
		return edit, err
	}
	if row == nil {
		row, err = tx.Content.Create().SetCategory(entcontent.Category(n.category)).SetPath(n.path).
			SetBlobID(blobID).SetModified(f.Modified).SetEpoch(epoch.N).Save(ctx)
		if err != nil {
			return edit, err
		}
		return edit, noteTemplate(ctx, tx, row.ID, f)
	}
	update := row.Update().SetBlobID(blobID).SetModified(f.Modified).SetEpoch(epoch.N)
	if edit.Before != nil {
		edit.Change = Replaced
		update.SetPreviousBlobID(*row.BlobID).SetPreviousModified(row.Modified)
		if err := letGo(ctx, tx, now(), row.PreviousBlobID); err != nil {
			return edit, err
		}
	}
	if err := update.Exec(ctx); err != nil {
		return edit, err
	}
	return edit, noteTemplate(ctx, tx, row.ID, f)
}

// current returns the file of a name whose blob was loaded; nil if there is none, or none any more.
func current(row *ent.Content) *wire.File {
	if row == nil || row.BlobID == nil {
		return nil
	}
	f := file(row)
	return &f
}

// noteTemplate makes the version of a template grow that was written or removed; other content has an epoch alone.
func noteTemplate(ctx context.Context, tx *ent.Tx, id uuid.UUID, f wire.File) error {
	if f.Category != string(entcontent.CategoryTemplates) {
		return nil
	}
	return store.NoteWrite(ctx, tx, store.Written{Entity: store.TemplateEntity, ID: id, Checksum: f.SHA256})
}

// blobRow returns the id of a blob's row, which it makes if it is missing.
func blobRow(ctx context.Context, tx *ent.Tx, b bytesOf) (uuid.UUID, error) {
	id, err := tx.Blob.Query().Where(blob.Sha256(b.digest())).OnlyID(ctx)
	if err == nil {
		return id, tx.Blob.UpdateOneID(id).SetUsedAt(now()).Exec(ctx)
	} else if !ent.IsNotFound(err) {
		return id, err
	}
	row, err := tx.Blob.Create().SetSha256(b.digest()).SetSize(b.size).SetChunks(b.chunks).Save(ctx)
	if err != nil {
		return uuid.Nil, err
	}
	return row.ID, nil
}

// now is the time in what both databases keep of it.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }
