package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/store"
)

// conflictRoutes serve what central and a site changed both, not knowing of each other, and settle it.
func (a *api) conflictRoutes() {
	const path = "/api/v1/sync/conflicts"
	tags, reads := []string{"sync"}, access{least: store.Viewer}
	patches := newPatches(a, (*store.NodeSpec).Check)
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
		Description: "The ETag of an open one is that of its node, whose version is here too.",
	}, reads, func(ctx context.Context, in *ByID) (*versioned[store.SyncConflict], error) {
		conflict, err := a.Store.SyncConflict(ctx, in.ID)
		out := &versioned[store.SyncConflict]{Body: conflict}
		if conflict.NodeVersion > 0 {
			out.ETag = etag(conflict.NodeVersion)
		}
		return out, err
	})
	route(a, huma.Operation{
		OperationID: "resolve-conflict", Method: "POST", Path: path + "/{id}/resolve", Tags: tags,
		Summary: "Choose what a node shall be of which central and its site say different things",
		Description: "accepted_central changes nothing, accepted_site takes over the fields in conflict, and merged writes merged_state, a merge patch " +
			"of the node with its state beside it. The fields are checked as by PATCH, the state as by a change of state; a home site is not " +
			"written. 409 when it has been resolved.",
		Errors: []int{http.StatusConflict},
	}, access{least: store.Operator}, func(ctx context.Context, in *struct {
		ByID
		IfMatch string `header:"If-Match" doc:"The ETag that was read: 412 if the node has changed since"`
		Body    struct {
			Resolution  string         `json:"resolution" enum:"accepted_central,accepted_site,merged"`
			MergedState map[string]any `json:"merged_state,omitempty" doc:"Of merged: what the fields of the node shall be, null for nothing"`
		}
	},
	) (*answer[store.SyncConflict], error) {
		conflict, err := a.Store.ResolveConflict(ctx, caller(ctx).Actor, in.ID, ifMatch(in.IfMatch), store.Resolution{
			Resolution: in.Body.Resolution, Merged: in.Body.MergedState, Patch: patches.edit,
		})
		return &answer[store.SyncConflict]{conflict}, err
	})
}
