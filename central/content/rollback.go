package content

import (
	"context"
	"fmt"

	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/ent"
)

// Rollback is a name that goes back to its version before.
type Rollback struct {
	Category, Path string
	If             Condition
	Also           Also
}

// RollBack exchanges a file for its previous version, so that doing it twice changes nothing, or brings back one that
// was removed. A name that never was is ErrNotFound; one without another version is a *store.Conflict.
func (r *Repository) RollBack(ctx context.Context, rb Rollback) (wire.File, error) {
	if err := CheckPath(rb.Category, rb.Path); err != nil {
		return wire.File{}, err
	}
	var f wire.File
	err := r.st.Write(ctx, func(tx *ent.Tx) error {
		row, err := tx.Content.Query().Where(named(rb.Category, rb.Path)).WithBlob(brief).WithPreviousBlob(brief).Only(ctx)
		if ent.IsNotFound(err) {
			return ErrNotFound
		} else if err != nil {
			return err
		}
		if err := rb.If.check(row); err != nil {
			return err
		}
		last := row.Edges.PreviousBlob
		if last == nil || row.BlobID != nil && *row.BlobID == last.ID {
			return &store.Conflict{Message: "there is no other version to go back to"}
		}
		epoch, err := store.Next(ctx, tx, store.ContentCounter)
		if err != nil {
			return err
		}
		f = wire.File{Category: rb.Category, Path: rb.Path, Size: last.Size, SHA256: last.Sha256, Modified: now()}
		edit := Edit{Before: current(row), After: &f, Change: Created}
		update := row.Update().SetBlobID(last.ID).SetModified(f.Modified).SetEpoch(epoch.N)
		if row.BlobID != nil {
			edit.Change = Replaced
			update.SetPreviousBlobID(*row.BlobID).SetPreviousModified(row.Modified)
		} else {
			update.ClearPreviousBlobID().ClearPreviousModified()
		}
		if err := update.Exec(ctx); err != nil {
			return err
		}
		if err := noteTemplate(ctx, tx, row.ID, f); err != nil {
			return err
		}
		return rb.Also.run(ctx, tx, edit)
	})
	if err != nil {
		return wire.File{}, fmt.Errorf("roll back %.600s: %w", rb.Category+"/"+rb.Path, err)
	}
	r.log.Info("rolled content back", "category", f.Category, "path", f.Path, "bytes", f.Size, "sha256", f.SHA256,
		"request", wire.RequestID(ctx))
	return f, nil
}
