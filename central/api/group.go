package api

import (
	"context"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/content"
	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
)

type (
	siteBody  struct{ store.GroupSpec }
	groupBody struct{ store.GroupSpec }
)

// Resolve adds to what the schema finds.
func (b *siteBody) Resolve(huma.Context, *huma.PathBuffer) []error {
	return resolve(checkGroup(&b.GroupSpec, true))
}

// Resolve adds to what the schema finds.
func (b *groupBody) Resolve(huma.Context, *huma.PathBuffer) []error {
	return resolve(checkGroup(&b.GroupSpec, false))
}

// checkGroup returns what is wrong with a group, its globs among it, which are the content's.
func checkGroup(g *store.GroupSpec, site bool) []wire.ProblemField {
	f := g.Check(site)
	for i, glob := range g.CachePatterns {
		if _, err := content.ParseGlob(glob); err != nil {
			f = append(f, wire.ProblemField{Location: fmt.Sprintf("body.cache_patterns[%d]", i), Message: err.Error()})
		}
	}
	return f
}

// groupQuery selects groups.
type groupQuery struct {
	Paging
	ParentID string          `query:"parent_id" maxLength:"36" doc:"UUID; none selects those without a parent"`
	Search   string          `query:"search" maxLength:"100" doc:"A part of the name, in any case"`
	Sort     store.GroupSort `query:"sort" enum:"name,-name,path,-path,created_at,-created_at" default:"name" doc:"With a minus the other way round"`

	parent *uuid.UUID
}

// Resolve reads the parent.
func (q *groupQuery) Resolve(huma.Context) []error {
	switch q.ParentID {
	case "":
	case "none":
		q.parent = &uuid.Nil
	default:
		id, err := uuid.Parse(q.ParentID)
		if err != nil || id == uuid.Nil {
			return []error{&huma.ErrorDetail{Message: "want a UUID or none", Location: "query.parent_id", Value: q.ParentID}}
		}
		q.parent = &id
	}
	return nil
}

func (q *groupQuery) store() store.GroupQuery {
	return store.GroupQuery{Paging: q.Paging.store(), Parent: q.parent, Search: q.Search, Sort: q.Sort}
}

// groupRoutes serve sites and, at /groups, the groups that are no sites.
func (a *api) groupRoutes() {
	kindOfGroup(a, true, "/api/v1/sites", "site", func(b *siteBody) store.GroupSpec { return b.GroupSpec })
	kindOfGroup(a, false, "/api/v1/groups", "group", func(b *groupBody) store.GroupSpec { return b.GroupSpec })
}

// kindOfGroup adds the routes of sites, or of the other groups. B is what POST takes.
func kindOfGroup[B any](a *api, site bool, path, kind string, spec func(*B) store.GroupSpec) {
	tags := []string{kind + "s"}
	reads, writes := access{least: store.Viewer}, access{least: store.Admin}
	patches := newPatches(a, func(g *store.GroupSpec) []wire.ProblemField { return checkGroup(g, site) })
	show := func(g store.Group, err error) (*versioned[store.Group], error) {
		a.Fleet.Judge(&g)
		return &versioned[store.Group]{ETag: etag(g.Version), Body: g}, err
	}

	route(a, huma.Operation{
		OperationID: "list-" + kind + "s", Method: "GET", Path: path, Summary: "List the " + kind + "s", Tags: tags,
	}, reads, func(ctx context.Context, in *groupQuery) (*answer[store.Page[store.Group]], error) {
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
		Description: "With the settings in effect, and for each where it comes from.",
	}, reads, func(ctx context.Context, in *ByID) (*versioned[store.Group], error) {
		return show(a.Store.Group(ctx, site, in.ID))
	})
	patchRoute(a, patches, huma.Operation{
		OperationID: "update-" + kind, Method: "PATCH", Path: path + "/{id}",
		Summary: "Change a " + kind, Tags: tags, Description: "A new parent takes all below along.",
	}, writes, func(ctx context.Context, in *patchByID) (*versioned[store.Group], error) {
		return show(a.Store.UpdateGroup(ctx, caller(ctx).Actor, site, in.ID, ifMatch(in.IfMatch), patches.edit(in.Body)))
	})
	route(a, huma.Operation{
		OperationID: "delete-" + kind, Method: "DELETE", Path: path + "/{id}", DefaultStatus: http.StatusNoContent,
		Summary: "Delete a " + kind + " that nothing belongs to", Tags: tags, Description: "409 says what does.",
	}, writes, func(ctx context.Context, in *OneVersion) (*nothing, error) {
		return nil, a.Store.DeleteGroup(ctx, caller(ctx).Actor, site, in.ID, ifMatch(in.IfMatch))
	})
}
