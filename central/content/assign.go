package content

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"slices"

	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/ent"
	entcontent "github.com/pureboot/pureboot/ent/content"
	"github.com/pureboot/pureboot/ent/devicegroup"
	"github.com/pureboot/pureboot/ent/predicate"
)

// Assigned is what a site is to have whether or not a workflow of its nodes names it.
type Assigned struct {
	Files []wire.File
	ETag  string // of the list of names
}

// Assignment replaces what is assigned to a site.
type Assignment struct {
	Site    uuid.UUID
	Names   []string // CATEGORY/PATH, in any order
	IfMatch string   // the ETag of the list that was read, as in Condition

	// Also is told what changed; see Also.
	Also func(ctx context.Context, tx *ent.Tx, added, removed []string) error
}

// Assigned returns what is assigned to a site, by category and path; store.ErrNotFound if there is no such site.
func (r *Repository) Assigned(ctx context.Context, site uuid.UUID) (Assigned, error) {
	var a Assigned
	err := r.st.View(ctx, func(tx *ent.Tx) error {
		rows, err := assignedTo(ctx, tx, site)
		a = assigned(rows)
		return err
	})
	if err != nil {
		return Assigned{}, fmt.Errorf("look up what is assigned: %w", err)
	}
	return a, nil
}

// Assign makes a list of names what is assigned to a site. Each file whose assignment changes gets an epoch of its
// own, so that the agents see it in the manifest. Names that cannot be are a *store.Invalid with each of them.
func (r *Repository) Assign(ctx context.Context, as Assignment) (Assigned, error) {
	var a Assigned
	err := r.st.Write(ctx, func(tx *ent.Tx) error {
		had, err := assignedTo(ctx, tx, as.Site)
		if err != nil {
			return err
		}
		if as.IfMatch != "" && !lists(as.IfMatch, assigned(had).ETag) {
			return store.ErrVersion
		}
		want, err := namedBy(ctx, tx, as.Names)
		if err != nil {
			return err
		}
		a = assigned(want)
		added, removed := without(want, had), without(had, want)
		if len(added)+len(removed) == 0 {
			return nil
		}
		epoch, err := store.Take(ctx, tx, store.ContentCounter, len(added)+len(removed))
		if err != nil {
			return err
		}
		n := epoch.N - int64(len(added)+len(removed))
		for _, row := range added {
			n++
			if err := tx.Content.UpdateOneID(row.ID).SetEpoch(n).AddSiteIDs(as.Site).Exec(ctx); err != nil {
				return err
			}
		}
		for _, row := range removed {
			n++
			if err := tx.Content.UpdateOneID(row.ID).SetEpoch(n).RemoveSiteIDs(as.Site).Exec(ctx); err != nil {
				return err
			}
		}
		if as.Also == nil {
			return nil
		}
		return as.Also(ctx, tx, names(added), names(removed))
	})
	if err != nil {
		return Assigned{}, fmt.Errorf("assign content: %w", err)
	}
	return a, nil
}

// assignedTo returns the files of a site.
func assignedTo(ctx context.Context, tx *ent.Tx, site uuid.UUID) ([]*ent.Content, error) {
	is, err := tx.DeviceGroup.Query().Where(devicegroup.ID(site), devicegroup.IsSite(true)).Exist(ctx)
	if err != nil {
		return nil, err
	}
	if !is {
		return nil, store.ErrNotFound
	}
	return tx.Content.Query().Where(entcontent.HasSitesWith(devicegroup.ID(site)), entcontent.BlobIDNotNil()).
		Order(ent.Asc(entcontent.FieldCategory, entcontent.FieldPath)).WithBlob(brief).All(ctx)
}

// namedBy returns the files of a list of names, each once, by category and path.
func namedBy(ctx context.Context, tx *ent.Tx, list []string) ([]*ent.Content, error) {
	var invalid store.Invalid
	fault := func(i int, message string) {
		invalid.Fields = append(invalid.Fields, wire.ProblemField{
			Location: fmt.Sprintf("body.content[%d]", i), Message: message, Value: list[i],
		})
	}
	byCategory := map[string][]string{}
	for i, name := range list {
		category, path, err := parseName(name)
		if err != nil {
			fault(i, "not the name of a file, CATEGORY/PATH")
			continue
		}
		byCategory[category] = append(byCategory[category], path)
	}
	found := map[string]*ent.Content{}
	for category, paths := range byCategory {
		for some := range slices.Chunk(paths, 500) { // databases bound the values of a statement
			rows, err := tx.Content.Query().Where(oneOf(category, some), entcontent.BlobIDNotNil()).WithBlob(brief).All(ctx)
			if err != nil {
				return nil, err
			}
			for _, row := range rows {
				found[nameOf(row)] = row
			}
		}
	}
	var rows []*ent.Content
	for i, name := range list {
		if row, ok := found[name]; ok {
			rows = append(rows, row)
		} else if _, _, err := parseName(name); err == nil {
			fault(i, "there is no such file")
		}
	}
	if len(invalid.Fields) > 0 {
		return nil, &invalid
	}
	slices.SortFunc(rows, byName)
	return slices.CompactFunc(rows, func(a, b *ent.Content) bool { return a.ID == b.ID }), nil
}

func oneOf(category string, paths []string) predicate.Content {
	return entcontent.And(inCategory(category), entcontent.PathIn(paths...))
}

func byName(a, b *ent.Content) int {
	return slices.Compare([]string{string(a.Category), a.Path}, []string{string(b.Category), b.Path})
}

// without returns the rows of all that are not among others.
func without(all, others []*ent.Content) []*ent.Content {
	has := map[uuid.UUID]bool{}
	for _, row := range others {
		has[row.ID] = true
	}
	return slices.DeleteFunc(slices.Clone(all), func(row *ent.Content) bool { return has[row.ID] })
}

func assigned(rows []*ent.Content) Assigned {
	slices.SortFunc(rows, byName)
	a, sum := Assigned{Files: make([]wire.File, len(rows))}, sha256.New()
	for i, row := range rows {
		a.Files[i] = file(row)
		_, _ = io.WriteString(sum, nameOf(row)+"\n")
	}
	a.ETag = ETag(hex.EncodeToString(sum.Sum(nil)[:16]))
	return a
}

func nameOf(row *ent.Content) string { return string(row.Category) + "/" + row.Path }

func names(rows []*ent.Content) []string {
	list := make([]string, len(rows))
	for i, row := range rows {
		list[i] = nameOf(row)
	}
	return list
}
