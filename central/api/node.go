package api

import (
	"cmp"
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/lifecycle"
	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
)

type nodeBody struct {
	store.NodeSpec
	State string `json:"state,omitempty" enum:"discovered,pending" doc:"Left out: discovered"`
}

// Resolve adds to what the schema finds.
func (b *nodeBody) Resolve(huma.Context, *huma.PathBuffer) []error { return resolve(b.Check()) }

// What agents and machines send. A newer one may say more.
type (
	registrationBody struct {
		peer
		wire.Registration
	}
	stateBody struct {
		peer
		wire.StateChange
	}
	eventBody struct {
		peer
		wire.Event
	}
)

// logQuery selects a page of a node's log.
type logQuery struct {
	ByID
	Paging
}

type nodeQuery struct {
	Paging
	NodeFilter
}

// NodeFilter selects nodes and their order.
type NodeFilter struct {
	MAC         string         `query:"mac" maxLength:"40" doc:"Of any of its interfaces, in any usual notation"`
	State       string         `query:"state" enum:"discovered,pending,installing,install_failed,installed,active,reprovision,deprovisioning,migrating,retired"`
	HomeSiteID  uuid.UUID      `query:"home_site_id" format:"uuid"`
	GroupID     uuid.UUID      `query:"group_id" format:"uuid"`
	Descendants bool           `query:"descendants" doc:"Those of the groups and sites below as well"`
	Tag         []string       `query:"tag,explode" maxItems:"10" maxLength:"100" doc:"May be repeated: a node has to have all"`
	Search      string         `query:"search" maxLength:"253" doc:"A part of the host name, of an address or of what the firmware says of itself, in any case"`
	Sort        store.NodeSort `query:"sort" enum:"mac_address,-mac_address,hostname,-hostname,created_at,-created_at,last_seen_at,-last_seen_at" default:"mac_address" doc:"With a minus the other way round"`
}

func (q *NodeFilter) store(paging store.Paging) store.NodeQuery {
	out := store.NodeQuery{Paging: paging, MAC: q.MAC, State: q.State, Tags: q.Tag, Search: q.Search, Sort: q.Sort}
	if q.Descendants {
		out.AtOrBelow, out.InOrBelow = q.HomeSiteID, q.GroupID
	} else {
		out.HomeSite, out.Group = q.HomeSiteID, q.GroupID
	}
	return out
}

func (a *api) nodeRoutes() {
	const path = "/api/v1/nodes"
	tags := []string{"nodes"}
	reads, writes := access{least: store.Viewer}, access{least: store.Operator}
	reports := access{least: store.Operator, agents: true}
	patches := newPatches(a, (*store.NodeSpec).Check)
	show := func(n wire.Node, err error) (*versioned[wire.Node], error) {
		return &versioned[wire.Node]{ETag: etag(n.Version), Body: n}, err
	}

	route(a, huma.Operation{
		OperationID: "list-nodes", Method: "GET", Path: path, Summary: "List the nodes", Tags: tags,
	}, reads, func(ctx context.Context, in *nodeQuery) (*answer[store.Page[wire.Node]], error) {
		page, err := a.Store.Nodes(ctx, in.NodeFilter.store(in.Paging.store()))
		return &answer[store.Page[wire.Node]]{page}, err
	})
	route(a, huma.Operation{
		OperationID: "create-node", Method: "POST", Path: path, DefaultStatus: http.StatusCreated, Summary: "Make a node", Tags: tags,
	}, writes, func(ctx context.Context, in *struct{ Body nodeBody }) (*versioned[wire.Node], error) {
		state := lifecycle.State(cmp.Or(in.Body.State, string(lifecycle.Discovered)))
		out, err := show(a.Store.CreateNode(ctx, caller(ctx).Actor, in.Body.NodeSpec, state))
		out.Location = path + "/" + out.Body.ID
		return out, err
	})
	route(a, huma.Operation{
		OperationID: "get-node", Method: "GET", Path: path + "/{id}", Summary: "Read a node", Tags: tags,
	}, reads, func(ctx context.Context, in *ByID) (*versioned[wire.Node], error) {
		return show(a.Store.Node(ctx, caller(ctx).Actor, in.ID))
	})
	patchRoute(a, patches, huma.Operation{
		OperationID: "update-node", Method: "PATCH", Path: path + "/{id}", Summary: "Change a node", Tags: tags,
	}, writes, func(ctx context.Context, in *patchByID) (*versioned[wire.Node], error) {
		return show(a.Store.UpdateNode(ctx, caller(ctx).Actor, in.ID, ifMatch(in.IfMatch), patches.edit(in.Body)))
	})
	route(a, huma.Operation{
		OperationID: "delete-node", Method: "DELETE", Path: path + "/{id}", DefaultStatus: http.StatusNoContent,
		Summary: "Delete a node and its logs", Tags: tags,
	}, writes, func(ctx context.Context, in *OneVersion) (*nothing, error) {
		return nil, a.Store.DeleteNode(ctx, caller(ctx).Actor, in.ID, ifMatch(in.IfMatch))
	})
	a.nodeTagRoutes()
	a.nodeBulkRoute(patches)
	a.nodeTableRoutes()
	a.nodePreviewRoutes()
	route(a, huma.Operation{
		OperationID: "get-node-history", Method: "GET", Path: path + "/{id}/history", Tags: tags,
		Summary: "List the changes of a node's state, the oldest first",
	}, reads, func(ctx context.Context, in *logQuery) (*answer[store.Page[store.StateStep]], error) {
		page, err := a.Store.History(ctx, caller(ctx).Actor, in.ID, in.store())
		return &answer[store.Page[store.StateStep]]{page}, err
	})
	route(a, huma.Operation{
		OperationID: "get-node-events", Method: "GET", Path: path + "/{id}/events", Tags: tags,
		Summary: "List what a node reported, the oldest first",
	}, reads, func(ctx context.Context, in *logQuery) (*answer[store.Page[store.LoggedEvent]], error) {
		page, err := a.Store.Events(ctx, caller(ctx).Actor, in.ID, in.store())
		return &answer[store.Page[store.LoggedEvent]]{page}, err
	})

	route(a, huma.Operation{
		OperationID: "register-node", Method: "POST", Path: path + "/register", Tags: tags,
		Summary: "Announce a machine, or say more of a known one", Description: "201 when it was not known.",
	}, reports, func(ctx context.Context, in *struct{ Body registrationBody }) (*struct {
		Status int
		Body   wire.Node
	}, error,
	) {
		n, created, err := a.Store.RegisterNode(ctx, caller(ctx).Actor, in.Body.Registration)
		status := http.StatusOK
		if created {
			status = http.StatusCreated
		}
		return &struct {
			Status int
			Body   wire.Node
		}{status, n}, err
	})
	route(a, huma.Operation{
		OperationID: "change-node-state", Method: "PATCH", Path: path + "/{id}/state", Tags: tags,
		Summary: "Take a node to another state", Description: "409 names the states that may follow. Force is for the role admin.",
	}, reports, func(ctx context.Context, in *struct {
		OneVersion
		Body stateBody
	},
	) (*versioned[wire.Node], error) {
		who := caller(ctx)
		if in.Body.Force && !who.role.Allows(store.Admin) {
			return nil, forbidden("force is for the role admin")
		}
		return show(a.Store.ChangeState(ctx, who.Actor, in.ID, ifMatch(in.IfMatch), in.Body.StateChange))
	})
	route(a, huma.Operation{
		OperationID: "report-node-event", Method: "POST", Path: path + "/{id}/event", Tags: tags,
		Summary: "Report what a machine says of itself", Description: "A repeated event_id changes nothing.",
	}, reports, func(ctx context.Context, in *struct {
		ByID
		Body eventBody
	},
	) (*versioned[wire.Node], error) {
		return show(a.Store.RecordEvent(ctx, caller(ctx).Actor, in.ID, in.Body.Event))
	})
}
