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

// Change is what an upload did to its name.
type Change string

// The changes.
const (
	Created   Change = "created"   // the name was free, or had been removed
	Replaced  Change = "replaced"  // the name had other bytes, which stay the previous version
	Unchanged Change = "unchanged" // the name had these bytes; there is no new epoch
)

// Upload is one file to store.
type Upload struct {
	Category, Path string
	Body           io.Reader
	SHA256         *[sha256.Size]byte // of the whole, as announced; nil is not checked

	// Also runs in the transaction that publishes the file, for the audit entry; nil means nothing more. The rules
	// of store.Write hold for it, and its error undoes the upload.
	Also func(ctx context.Context, tx *ent.Tx, f wire.File, c Change) error
}

// Put stores a file under a name and returns when it would survive a power cut. Readers of the version before are
// not disturbed. Errors are ErrPath, ErrDigest, ErrNoSpace and those of the body and of Also; after any of them the
// name is as it was. Of two uploads of one name at once, the one that ends last stays.
func (r *Repository) Put(ctx context.Context, u Upload) (wire.File, Change, error) {
	if err := CheckPath(u.Category, u.Path); err != nil {
		return wire.File{}, "", err
	}
	b, err := r.writeBlob(ctx, u.Body, u.SHA256)
	if err != nil {
		return wire.File{}, "", err
	}
	var f wire.File
	var change Change
	err = r.st.Write(ctx, func(tx *ent.Tx) error {
		f, change, err = name(ctx, tx, u.Category, u.Path, b)
		if err != nil || u.Also == nil {
			return err
		}
		return u.Also(ctx, tx, f, change)
	})
	if err != nil {
		return wire.File{}, "", fmt.Errorf("store %s/%s: %w", u.Category, u.Path, err)
	}
	if change != Unchanged {
		r.log.Info("stored content", "category", f.Category, "path", f.Path, "bytes", f.Size, "sha256", f.SHA256,
			"request", wire.RequestID(ctx))
	}
	return f, change, nil
}

// name makes category and path name a blob.
func name(ctx context.Context, tx *ent.Tx, category, path string, b bytesOf) (wire.File, Change, error) {
	blobID, err := blobRow(ctx, tx, b)
	if err != nil {
		return wire.File{}, "", err
	}
	f := wire.File{Category: category, Path: path, Size: b.size, SHA256: b.digest(), Modified: now()}
	row, err := tx.Content.Query().Where(named(category, path)).Only(ctx)
	switch {
	case ent.IsNotFound(err):
		epoch, err := store.Next(ctx, tx, store.ContentCounter)
		if err != nil {
			return f, "", err
		}
		row, err = tx.Content.Create().SetCategory(entcontent.Category(category)).SetPath(path).
			SetBlobID(blobID).SetModified(f.Modified).SetEpoch(epoch.N).Save(ctx)
		if err != nil {
			return f, "", err
		}
		return f, Created, noteTemplate(ctx, tx, row.ID, f)
	case err != nil:
		return f, "", err
	case row.BlobID != nil && *row.BlobID == blobID:
		f.Modified = row.Modified
		return f, Unchanged, nil
	}
	epoch, err := store.Next(ctx, tx, store.ContentCounter)
	if err != nil {
		return f, "", err
	}
	change, update := Created, row.Update().SetBlobID(blobID).SetModified(f.Modified).SetEpoch(epoch.N)
	if row.BlobID != nil {
		change = Replaced
		update.SetPreviousBlobID(*row.BlobID)
	}
	if err := update.Exec(ctx); err != nil {
		return f, "", err
	}
	return f, change, noteTemplate(ctx, tx, row.ID, f)
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
	if !ent.IsNotFound(err) {
		return id, err
	}
	row, err := tx.Blob.Create().SetSha256(b.digest()).SetSize(b.size).SetChunks(b.chunks).Save(ctx)
	if err != nil {
		return uuid.Nil, err
	}
	return row.ID, nil
}

// Remove frees a name, or says ErrNotFound. The name's last version is kept for rollback, and readers of it are not
// disturbed. also runs in the same transaction, as Upload.Also does; nil means nothing more.
func (r *Repository) Remove(ctx context.Context, category, path string, also func(context.Context, *ent.Tx) error) error {
	err := r.st.Write(ctx, func(tx *ent.Tx) error {
		row, err := tx.Content.Query().Where(named(category, path), entcontent.BlobIDNotNil()).Only(ctx)
		if ent.IsNotFound(err) {
			return ErrNotFound
		} else if err != nil {
			return err
		}
		epoch, err := store.Next(ctx, tx, store.ContentCounter)
		if err != nil {
			return err
		}
		err = row.Update().ClearBlobID().SetPreviousBlobID(*row.BlobID).SetModified(now()).SetEpoch(epoch.N).Exec(ctx)
		if err != nil {
			return err
		}
		if err := noteTemplate(ctx, tx, row.ID, wire.File{Category: category}); err != nil || also == nil {
			return err
		}
		return also(ctx, tx)
	})
	if err != nil {
		return fmt.Errorf("remove %.600s: %w", category+"/"+path, err)
	}
	r.log.Info("removed content", "category", category, "path", path, "request", wire.RequestID(ctx))
	return nil
}

// now is the time in what both databases keep of it.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }
