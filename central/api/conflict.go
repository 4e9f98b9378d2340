package api

import (
	"context"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/store"
)

// conflictRoutes serve what central and a site changed both, not knowing of each other.
func (a *api) conflictRoutes() {
	const path = "/api/v1/sync/conflicts"
	tags, reads := []string{"sync"}, access{least: store.Viewer}
	route(a, huma.Operation{
		OperationID: "list-conflicts", Method: "GET", Path: path, Summary: "List the conflicts, the latest first", Tags: tags,
	}, reads, func(ctx context.Context, in *struct {
		Paging
		SiteID   uuid.UUID `query:"site_id" format:"uuid"`
		EntityID uuid.UUID `query:"entity_id" format:"uuid"`
		State    string    `query:"state" enum:"open,resolved"`
	},
	) (*answer[store.Page[store.SyncConflict]], error) {
		q := store.ConflictQuery{Paging: in.store(), Site: in.SiteID, Entity: in.EntityID}
		if in.State != "" {
			open := in.State == "open"
			q.Open = &open
		}
		page, err := a.Store.SyncConflicts(ctx, q)
		return &answer[store.Page[store.SyncConflict]]{page}, err
	})
	route(a, huma.Operation{
		OperationID: "get-conflict", Method: "GET", Path: path + "/{id}", Summary: "Read a conflict with what each side says", Tags: tags,
	}, reads, func(ctx context.Context, in *ByID) (*answer[store.SyncConflict], error) {
		conflict, err := a.Store.SyncConflict(ctx, in.ID)
		return &answer[store.SyncConflict]{conflict}, err
	})
}
