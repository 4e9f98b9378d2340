package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
)

// ByID names one resource.
type ByID struct {
	ID uuid.UUID `path:"id" doc:"UUID"`
}

// patchByID changes one resource.
type patchByID struct {
	ByID
	IfMatch string         `header:"If-Match" doc:"The ETag that was read: 412 if it has changed since"`
	Body    map[string]any `contentType:"application/json"`
}

// Paging selects a page of a list.
type Paging struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"100"`
	Cursor string `query:"cursor" maxLength:"2000" doc:"next_cursor of the page before"`
}

func (p Paging) store() store.Paging { return store.Paging{Limit: p.Limit, Cursor: p.Cursor} }

// answer is a JSON answer without more.
type answer[T any] struct{ Body T }

// versioned is an answer about a resource that has versions.
type versioned[T any] struct {
	ETag     string `header:"ETag"`
	Location string `header:"Location"`
	Body     T
}

// nothing is the answer 204.
type nothing struct{}

// groupRoutes serve sites and, at /groups, the groups that are no sites.
func (a *api) groupRoutes() {
	kindOfGroup(a, true, "/api/v1/sites", "site", func(b *siteBody) store.GroupSpec { return b.GroupSpec })
	kindOfGroup(a, false, "/api/v1/groups", "group", func(b *groupBody) store.GroupSpec { return b.GroupSpec })

	route(a, huma.Operation{
		OperationID: "create-agent-token", Method: "POST", Path: "/api/v1/sites/{id}/agent-token", DefaultStatus: http.StatusCreated,
		Summary: "Make a join token for the site's agent", Tags: []string{"sites"},
		Description: "The token is shown once, is good for one use within 24 hours, and voids the one before it.",
	}, access{least: store.Admin}, func(ctx context.Context, in *ByID) (*answer[wire.JoinToken], error) {
		token, err := a.Fleet.JoinToken(ctx, caller(ctx).Actor, in.ID)
		return &answer[wire.JoinToken]{token}, err
	})
	route(a, huma.Operation{
		OperationID: "list-site-nodes", Method: "GET", Path: "/api/v1/sites/{id}/nodes",
		Summary: "List the nodes whose home is the site", Tags: []string{"sites"},
	}, access{least: store.Viewer}, func(ctx context.Context, in *struct {
		ByID
		Paging
	},
	) (*answer[store.Page[wire.Node]], error) {
		if _, err := a.Store.Group(ctx, true, in.ID); err != nil {
			return nil, err
		}
		page, err := a.Store.Nodes(ctx, store.NodeQuery{Paging: in.store(), HomeSite: in.ID})
		return &answer[store.Page[wire.Node]]{page}, err
	})
}

type (
	siteBody  struct{ store.GroupSpec }
	groupBody struct{ store.GroupSpec }
)

// Resolve adds to what the schema finds.
func (b *siteBody) Resolve(huma.Context, *huma.PathBuffer) []error { return resolve(b.Check(true)) }

// Resolve adds to what the schema finds.
func (b *groupBody) Resolve(huma.Context, *huma.PathBuffer) []error { return resolve(b.Check(false)) }

// kindOfGroup adds the routes of sites, or of the other groups. B is what POST takes.
func kindOfGroup[B any](a *api, site bool, path, kind string, spec func(*B) store.GroupSpec) {
	tags := []string{kind + "s"}
	reads, writes := access{least: store.Viewer}, access{least: store.Admin}
	patches := newPatches(a, func(g *store.GroupSpec) []wire.ProblemField { return g.Check(site) })
	show := func(g store.Group, err error) (*versioned[store.Group], error) {
		a.Fleet.Judge(&g)
		return &versioned[store.Group]{ETag: etag(g.Version), Body: g}, err
	}

	route(a, huma.Operation{
		OperationID: "list-" + kind + "s", Method: "GET", Path: path, Summary: "List the " + kind + "s by name", Tags: tags,
	}, reads, func(ctx context.Context, in *struct{ Paging }) (*answer[store.Page[store.Group]], error) {
		page, err := a.Store.Groups(ctx, site, in.store())
		for i := range page.Items {
			a.Fleet.Judge(&page.Items[i])
		}
		return &answer[store.Page[store.Group]]{page}, err
	})
	route(a, huma.Operation{
		OperationID: "create-" + kind, Method: "POST", Path: path, DefaultStatus: http.StatusCreated,
		Summary: "Make a " + kind, Tags: tags,
	}, writes, func(ctx context.Context, in *struct{ Body B }) (*versioned[store.Group], error) {
		out, err := show(a.Store.CreateGroup(ctx, caller(ctx).Actor, site, spec(&in.Body)))
		out.Location = path + "/" + out.Body.ID.String()
		return out, err
	})
	route(a, huma.Operation{
		OperationID: "get-" + kind, Method: "GET", Path: path + "/{id}", Summary: "Read a " + kind, Tags: tags,
	}, reads, func(ctx context.Context, in *ByID) (*versioned[store.Group], error) {
		return show(a.Store.Group(ctx, site, in.ID))
	})
	route(a, huma.Operation{
		OperationID: "update-" + kind, Method: "PATCH", Path: path + "/{id}", RequestBody: patches.body(),
		Summary: "Change a " + kind, Tags: tags, Description: "A new parent takes all below along.",
	}, writes, func(ctx context.Context, in *patchByID) (*versioned[store.Group], error) {
		return show(a.Store.UpdateGroup(ctx, caller(ctx).Actor, site, in.ID, ifMatch(in.IfMatch), patches.edit(in.Body)))
	})
	route(a, huma.Operation{
		OperationID: "delete-" + kind, Method: "DELETE", Path: path + "/{id}", DefaultStatus: http.StatusNoContent,
		Summary: "Delete a " + kind + " that nothing belongs to", Tags: tags,
	}, writes, func(ctx context.Context, in *ByID) (*nothing, error) {
		return nil, a.Store.DeleteGroup(ctx, caller(ctx).Actor, site, in.ID)
	})
}
