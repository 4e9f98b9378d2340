package api

import (
	"context"
	"fmt"

	"github.com/danielgtaylor/huma/v2"

	"github.com/pureboot/pureboot/central/content"
	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/ent"
)

// assignedList is what is assigned to a site.
type assignedList struct {
	ETag string `header:"ETag"`
	Body struct {
		Items []wire.File `json:"items" nullable:"false"`
	}
}

func showAssigned(a content.Assigned, err error) (*assignedList, error) {
	out := &assignedList{ETag: a.ETag}
	out.Body.Items = a.Files
	return out, err
}

// assignedRoutes serve the content that a site is to have whether or not a workflow of its nodes names it.
func (a *api) assignedRoutes() {
	const path = "/api/v1/sites/{id}/assigned-content"
	tags := []string{"sites", "content"}
	route(a, huma.Operation{
		OperationID: "list-assigned-content", Method: "GET", Path: path, Summary: "List the files that are assigned to a site", Tags: tags,
	}, access{least: store.Viewer}, func(ctx context.Context, in *ByID) (*assignedList, error) {
		return showAssigned(a.Content.Assigned(ctx, in.ID))
	})
	route(a, huma.Operation{
		OperationID: "assign-content", Method: "PUT", Path: path, Tags: tags,
		Summary:     "Replace the list of files that are assigned to a site",
		Description: "Agents learn of it with the next manifest. If-Match takes the ETag of the list.",
	}, access{least: store.Operator}, func(ctx context.Context, in *struct {
		ByID
		IfMatch string `header:"If-Match" maxLength:"1000"`
		Body    struct {
			Content []string `json:"content" nullable:"false" maxItems:"5000" doc:"Names, CATEGORY/PATH"`
		}
	},
	) (*assignedList, error) {
		return showAssigned(a.Content.Assign(ctx, content.Assignment{
			Site: in.ID, Names: in.Body.Content, IfMatch: in.IfMatch,
			Also: func(ctx context.Context, tx *ent.Tx, added, removed []string) error {
				return store.Audit(ctx, tx, caller(ctx).Actor, store.Act{
					Action: "site.assign", Subject: "site/" + in.ID.String(),
					Detail: fmt.Sprintf("%d files added, %d removed", len(added), len(removed)),
					After:  map[string][]string{"added": added, "removed": removed},
				})
			},
		}))
	})
}
