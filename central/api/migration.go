package api

import (
	"context"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/lifecycle"
	"github.com/pureboot/pureboot/central/store"
)

// ByStatus selects by how far a question has come.
type ByStatus struct {
	Status string `query:"status" enum:"pending,approved,rejected,expired"`
}

// decision is what an administrator says to a question.
type decision struct {
	ByID
	Body *struct {
		Comment string `json:"comment,omitempty" maxLength:"1000"`
	}
}

func (d *decision) comment() string {
	if d.Body == nil {
		return ""
	}
	return d.Body.Comment
}

// migrationRoutes serve the claims of sites to nodes of others, and the approvals that some of them wait for.
func (a *api) migrationRoutes() {
	const path = "/api/v1/migrations"
	tags := []string{"migrations"}
	reads, writes := access{least: store.Viewer}, access{least: store.Operator}

	route(a, huma.Operation{
		OperationID: "list-migrations", Method: "GET", Path: path, Tags: tags,
		Summary: "List the claims of sites to nodes that booted there, the latest first",
	}, reads, func(ctx context.Context, in *struct {
		Paging
		ByStatus
		NodeID uuid.UUID `query:"node_id" format:"uuid"`
		SiteID uuid.UUID `query:"site_id" format:"uuid" doc:"Source or target"`
	},
	) (*answer[store.Page[store.Claim]], error) {
		page, err := a.Store.Claims(ctx, store.ClaimQuery{Paging: in.store(), Status: in.Status, Node: in.NodeID, Site: in.SiteID})
		return &answer[store.Page[store.Claim]]{page}, err
	})
	route(a, huma.Operation{
		OperationID: "get-migration", Method: "GET", Path: path + "/{id}", Summary: "Read a claim", Tags: tags,
	}, reads, func(ctx context.Context, in *ByID) (*answer[store.Claim], error) {
		claim, err := a.Store.Claim(ctx, in.ID)
		return &answer[store.Claim]{claim}, err
	})
	for verb, to := range map[string]lifecycle.Decision{"approve": lifecycle.Approved, "reject": lifecycle.Rejected} {
		route(a, huma.Operation{
			OperationID: verb + "-migration", Method: "POST", Path: path + "/{id}/" + verb, Tags: tags,
			Summary:     map[string]string{"approve": "Let a node move to the site that claims it", "reject": "Leave a node where it is"}[verb],
			Description: "409 when it has been decided.",
		}, writes, func(ctx context.Context, in *decision) (*answer[store.Claim], error) {
			claim, err := a.Store.DecideClaim(ctx, caller(ctx).Actor, in.ID, to, in.comment())
			return &answer[store.Claim]{claim}, err
		})
	}

	route(a, huma.Operation{
		OperationID: "list-approvals", Method: "GET", Path: "/api/v1/approvals", Tags: tags,
		Summary: "List what somebody's leave was asked for, the latest first",
	}, reads, func(ctx context.Context, in *struct {
		Paging
		ByStatus
		Subject string `query:"subject" maxLength:"300" doc:"As node/<id>"`
	},
	) (*answer[store.Page[store.Approval]], error) {
		page, err := a.Store.Approvals(ctx, store.ApprovalQuery{Paging: in.store(), Status: in.Status, Subject: in.Subject})
		return &answer[store.Page[store.Approval]]{page}, err
	})
	route(a, huma.Operation{
		OperationID: "get-approval", Method: "GET", Path: "/api/v1/approvals/{id}", Summary: "Read an approval", Tags: tags,
	}, reads, func(ctx context.Context, in *ByID) (*answer[store.Approval], error) {
		approval, err := a.Store.Approval(ctx, in.ID)
		return &answer[store.Approval]{approval}, err
	})
	for verb, to := range map[string]lifecycle.Decision{"approve": lifecycle.Approved, "reject": lifecycle.Rejected} {
		route(a, huma.Operation{
			OperationID: verb + "-approval", Method: "POST", Path: "/api/v1/approvals/{id}/" + verb, Tags: tags,
			Summary:     map[string]string{"approve": "Give the leave that was asked for", "reject": "Deny the leave that was asked for"}[verb],
			Description: "What waits for it, a claim for instance, is decided with it. 409 when it has been decided.",
		}, writes, func(ctx context.Context, in *decision) (*answer[store.Approval], error) {
			approval, err := a.Store.DecideApproval(ctx, caller(ctx).Actor, in.ID, to, in.comment())
			return &answer[store.Approval]{approval}, err
		})
	}
}
