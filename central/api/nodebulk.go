package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
)

// bulkBody is one change to many nodes.
type bulkBody struct {
	IDs      []uuid.UUID           `json:"ids" minItems:"1" maxItems:"500" uniqueItems:"true" doc:"Of the nodes"`
	Assign   map[string]*uuid.UUID `json:"assign,omitempty" doc:"Null takes the assignment away"`
	Tags     *tagChange            `json:"tags,omitempty"`
	State    *wire.StateChange     `json:"state,omitempty"`
	NextBoot *string               `json:"next_boot,omitempty" maxLength:"36" doc:"local, installer or the id of a workflow; an empty one takes the order back"`
}

// TransformSchema names what can be assigned.
func (*bulkBody) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	assign := &huma.Schema{
		Type: huma.TypeObject, Description: s.Properties["assign"].Description, AdditionalProperties: false,
		Properties: map[string]*huma.Schema{},
	}
	for _, field := range []string{"workflow_id", "group_id", "home_site_id"} {
		assign.Properties[field] = &huma.Schema{Type: huma.TypeString, Format: "uuid", Nullable: true}
		assign.Properties[field].PrecomputeMessages()
	}
	assign.PrecomputeMessages()
	s.Properties["assign"] = assign
	return s
}

// Resolve adds to what the schema finds.
func (b *bulkBody) Resolve(huma.Context, *huma.PathBuffer) []error {
	kinds := 0
	for _, there := range []bool{len(b.Assign) > 0, b.Tags != nil, b.State != nil, b.NextBoot != nil} {
		if there {
			kinds++
		}
	}
	var errs []error
	if kinds != 1 {
		errs = append(errs, &huma.ErrorDetail{Message: "want exactly one of assign, tags, state and next_boot", Location: "body"})
	}
	if b.Tags != nil {
		errs = append(errs, resolve(b.Tags.check())...)
	}
	return errs
}

// outcome is what became of one node.
type outcome struct {
	ID      uuid.UUID     `json:"id" format:"uuid"`
	Status  int           `json:"status" doc:"As the change of this node alone would have been answered with"`
	Version int64         `json:"version,omitempty" doc:"Of the node afterwards"`
	State   string        `json:"state,omitempty" doc:"Of the node afterwards"`
	Problem *wire.Problem `json:"problem,omitempty" doc:"Why the node is as it was"`
}

// nodeBulkRoute changes many nodes, each in a transaction of its own with its own audit entry: what is wrong with one
// keeps no other from its change.
func (a *api) nodeBulkRoute(patches patches[store.NodeSpec]) {
	type outcomes struct {
		Items  []outcome `json:"items" nullable:"false" doc:"In the order of ids"`
		Failed int       `json:"failed"`
	}
	route(a, huma.Operation{
		OperationID: "change-nodes", Method: "POST", Path: "/api/v1/nodes/bulk", DefaultStatus: http.StatusOK, Tags: []string{"nodes"},
		Summary:     "Assign, tag, take to another state or order the next boot of up to 500 nodes",
		Description: "Each node has an outcome of its own; what fails for one is done for the others. Force is for the role admin.",
	}, access{least: store.Operator}, func(ctx context.Context, in *struct{ Body bulkBody }) (*answer[outcomes], error) {
		who := caller(ctx)
		if in.Body.State != nil && in.Body.State.Force && !who.role.Allows(store.Admin) {
			return nil, forbidden("force is for the role admin")
		}
		var out outcomes
		for _, id := range in.Body.IDs {
			n, err := a.bulk(ctx, who.Actor, id, &in.Body, patches)
			if ctx.Err() != nil {
				return nil, err
			}
			item := outcome{ID: id, Status: http.StatusOK, Version: n.Version, State: n.State}
			if err != nil {
				out.Failed++
				item = outcome{ID: id, Problem: a.told(ctx, err)}
				item.Status = item.Problem.Status
			}
			out.Items = append(out.Items, item)
		}
		return &answer[outcomes]{out}, nil
	})
}

// bulk changes one of the nodes.
func (a *api) bulk(ctx context.Context, by store.Actor, id uuid.UUID, b *bulkBody, patches patches[store.NodeSpec]) (wire.Node, error) {
	switch {
	case b.State != nil:
		return a.Store.ChangeState(ctx, by, id, 0, *b.State)
	case b.Tags != nil:
		return a.Store.TagNode(ctx, by, id, 0, b.Tags.Add, b.Tags.Remove)
	}
	patch := map[string]any{}
	if b.NextBoot != nil {
		patch["next_boot"] = *b.NextBoot
	}
	for field, to := range b.Assign {
		patch[field] = nil
		if to != nil {
			patch[field] = to.String()
		}
	}
	return a.Store.UpdateNode(ctx, by, id, 0, patches.edit(patch))
}

// told returns the problem that a client is told of an error.
func (a *api) told(ctx context.Context, err error) *wire.Problem {
	model, _ := errors.AsType[*huma.ErrorModel](a.problem(ctx, err))
	return &wire.Problem{Type: model.Type, Title: model.Title, Status: model.Status, Detail: model.Detail, Errors: fields(model.Errors)}
}
