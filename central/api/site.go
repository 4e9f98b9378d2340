package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/pureboot/pureboot/central/fleet"
	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
)

// siteRoutes serve what sites have and other groups have not.
func (a *api) siteRoutes() {
	tags := []string{"sites"}

	route(a, huma.Operation{
		OperationID: "create-agent-token", Method: "POST", Path: "/api/v1/sites/{id}/agent-token", DefaultStatus: http.StatusCreated,
		Summary: "Make a join token for the site's agent", Tags: tags,
		Description: "The token is shown once, is good for one use within 24 hours, and voids the one before it.",
	}, access{least: store.Admin}, func(ctx context.Context, in *ByID) (*secret[wire.JoinToken], error) {
		token, err := a.Fleet.JoinToken(ctx, caller(ctx).Actor, in.ID)
		return &secret[wire.JoinToken]{Cache: noStore, Body: token}, err
	})
	route(a, huma.Operation{
		OperationID: "list-site-nodes", Method: "GET", Path: "/api/v1/sites/{id}/nodes",
		Summary: "List the nodes whose home is the site", Tags: tags,
	}, access{least: store.Viewer}, func(ctx context.Context, in *struct {
		ByID
		Paging
		Descendants bool `query:"descendants" doc:"Also those of the sites below it"`
	},
	) (*answer[store.Page[wire.Node]], error) {
		if err := a.Store.SiteExists(ctx, in.ID); err != nil {
			return nil, err
		}
		q := store.NodeQuery{Paging: in.store()}
		if in.Descendants {
			q.AtOrBelow = in.ID
		} else {
			q.HomeSite = in.ID
		}
		page, err := a.Store.Nodes(ctx, q)
		return &answer[store.Page[wire.Node]]{page}, err
	})
	route(a, huma.Operation{
		OperationID: "get-site-health", Method: "GET", Path: "/api/v1/sites/{id}/health", Summary: "Read how a site is", Tags: tags,
		Description: "What its agent said last, and what central keeps for it.",
	}, access{least: store.Viewer}, func(ctx context.Context, in *ByID) (*answer[fleet.Health], error) {
		health, err := a.Fleet.Health(ctx, in.ID)
		return &answer[fleet.Health]{health}, err
	})
	route(a, huma.Operation{
		OperationID: "list-site-status-changes", Method: "GET", Path: "/api/v1/sites/{id}/status-changes",
		Summary: "List how the site's agent changed, the latest first", Tags: tags,
		Description: "Each change of agent_status, the last 500 of them. Those that central missed while it did not run are not there.",
	}, access{least: store.Viewer}, func(ctx context.Context, in *struct {
		ByID
		Paging
	},
	) (*answer[store.Page[store.StatusChange]], error) {
		page, err := a.Fleet.StatusChanges(ctx, in.ID, in.store())
		return &answer[store.Page[store.StatusChange]]{page}, err
	})
}
