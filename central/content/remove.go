package content

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/ent"
	entcontent "github.com/pureboot/pureboot/ent/content"
	"github.com/pureboot/pureboot/ent/devicegroup"
	"github.com/pureboot/pureboot/ent/workflow"
)

// Removal is a file to remove.
type Removal struct {
	Category, Path string
	If             Condition
	Force          bool // although workflows name it and it is assigned to sites
	Purge          bool // do not keep the last version for rollback
	Also           Also
}

// Remove frees a name, or says ErrNotFound. Unless it is purged the name's last version is kept for rollback, and
// readers of it are not disturbed in any case. A file that workflows name or that is assigned to sites is a
// *store.Conflict that names them.
func (r *Repository) Remove(ctx context.Context, rm Removal) error {
	if err := CheckPath(rm.Category, rm.Path); err != nil {
		return err
	}
	err := r.st.Write(ctx, func(tx *ent.Tx) error {
		row, err := find(tx.Content, rm.Category, rm.Path).WithBlob(brief).Only(ctx)
		if ent.IsNotFound(err) {
			return ErrNotFound
		} else if err != nil {
			return err
		}
		if err := rm.If.check(row); err != nil {
			return err
		}
		if !rm.Force {
			if err := unused(ctx, tx, row); err != nil {
				return err
			}
		}
		epoch, err := store.Next(ctx, tx, store.ContentCounter)
		if err != nil {
			return err
		}
		update := row.Update().ClearBlobID().SetModified(now()).SetEpoch(epoch.N).ClearSites()
		if rm.Purge {
			update.ClearPreviousBlobID().ClearPreviousModified()
			err = letGo(ctx, tx, time.Unix(0, 0), row.BlobID, row.PreviousBlobID)
		} else {
			update.SetPreviousBlobID(*row.BlobID).SetPreviousModified(row.Modified)
			err = letGo(ctx, tx, now(), row.PreviousBlobID)
		}
		if err == nil {
			err = update.Exec(ctx)
		}
		if err != nil {
			return err
		}
		if err := noteTemplate(ctx, tx, row.ID, wire.File{Category: rm.Category}); err != nil {
			return err
		}
		return rm.Also.run(ctx, tx, Edit{Before: current(row)})
	})
	if err != nil {
		return fmt.Errorf("remove %.600s: %w", rm.Category+"/"+rm.Path, err)
	}
	r.log.Info("removed content", "category", rm.Category, "path", rm.Path, "purged", rm.Purge, "request", wire.RequestID(ctx))
	if rm.Purge {
		r.collectSoon()
	}
	return nil
}

// unused says in a *store.Conflict what would be left without a file.
func unused(ctx context.Context, tx *ent.Tx, row *ent.Content) error {
	workflows, err := workflowsNaming(ctx, tx, string(row.Category)+"/"+row.Path)
	if err != nil {
		return err
	}
	sites, err := tx.DeviceGroup.Query().Where(devicegroup.HasAssignedContentWith(entcontent.ID(row.ID))).
		Order(ent.Asc(devicegroup.FieldName)).Select(devicegroup.FieldName).Strings(ctx)
	if err != nil {
		return err
	}
	var users []string
	if len(workflows) > 0 {
		users = append(users, "workflows name it: "+some(workflows))
	}
	if len(sites) > 0 {
		users = append(users, "it is assigned to sites: "+some(sites))
	}
	if len(users) == 0 {
		return nil
	}
	return &store.Conflict{Message: "the file is in use: " + strings.Join(users, "; ")}
}

// some lists up to twenty names and says how many more there are.
func some(names []string) string {
	const most = 20
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

// workflowsNaming returns the names of the workflows that name a file. A name that a parameter completes is known at
// boot alone, and not found here.
func workflowsNaming(ctx context.Context, tx *ent.Tx, name string) ([]string, error) {
	rows, err := tx.Workflow.Query().Order(ent.Asc(workflow.FieldName)).Select(
		workflow.FieldName, workflow.FieldKernel, workflow.FieldInitrd, workflow.FieldTemplate, workflow.FieldBootURL).All(ctx)
	if err != nil {
		return nil, err
	}
	var found []string
	for _, w := range rows {
		paths := append([]string{w.Kernel, w.Template, strings.TrimPrefix(w.BootURL, "${server}")}, w.Initrd...)
		if slices.ContainsFunc(paths, func(p string) bool { return strings.TrimPrefix(p, "/") == name }) {
			found = append(found, w.Name)
		}
	}
	return found, nil
}
