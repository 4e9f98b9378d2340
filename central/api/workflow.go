package api

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/pureboot/pureboot/central/content"
	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
)

type workflowBody struct{ store.WorkflowSpec }

// Resolve adds to what the schema finds.
func (b *workflowBody) Resolve(huma.Context, *huma.PathBuffer) []error {
	return resolve(checkWorkflow(&b.WorkflowSpec))
}

// TransformSchema explains the method that is missing.
func (*workflowBody) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	explainImage(s)
	return s
}

// explainImage lets a workflow that writes disk images fail with a reason rather than as an unknown word.
func explainImage(s *huma.Schema) {
	method := s.Properties["install_method"]
	method.Enum = nil
	method.Pattern = "^(kernel|sanboot|chain)$"
	method.PatternDescription = "one of kernel, sanboot, chain (image is not supported: there is no deploy environment yet)"
	method.PrecomputeMessages()
}

// checkWorkflow adds to the workflow's own check whether its paths can name content.
func checkWorkflow(w *store.WorkflowSpec) []wire.ProblemField {
	found := w.Check()
	path := func(field, path string) {
		if path == "" && !strings.HasPrefix(field, "initrd") {
			return
		}
		category, rest, _ := strings.Cut(path, "/")
		if err := content.CheckPath(category, rest); err != nil {
			found = append(found, wire.ProblemField{Location: "body." + field, Message: err.Error()})
		}
	}
	path("kernel", w.Kernel)
	path("template", w.Template)
	for i, initrd := range w.Initrd {
		path(fmt.Sprintf("initrd[%d]", i), initrd)
	}
	return found
}

func (a *api) workflowRoutes() {
	const path = "/api/v1/workflows"
	tags := []string{"workflows"}
	reads, writes := access{least: store.Viewer}, access{least: store.Admin}
	patches := newPatches(a, checkWorkflow)
	explainImage(patches.schema)
	show := func(w wire.Workflow, err error) (*versioned[wire.Workflow], error) {
		return &versioned[wire.Workflow]{ETag: etag(w.Revision), Body: w}, err
	}

	route(a, huma.Operation{
		OperationID: "list-workflows", Method: "GET", Path: path, Summary: "List the workflows by name", Tags: tags,
	}, reads, func(ctx context.Context, in *struct{ Paging }) (*answer[store.Page[wire.Workflow]], error) {
		page, err := a.Store.Workflows(ctx, in.store())
		return &answer[store.Page[wire.Workflow]]{page}, err
	})
	route(a, huma.Operation{
		OperationID: "create-workflow", Method: "POST", Path: path, DefaultStatus: http.StatusCreated, Summary: "Make a workflow", Tags: tags,
	}, writes, func(ctx context.Context, in *struct{ Body workflowBody }) (*versioned[wire.Workflow], error) {
		out, err := show(a.Store.CreateWorkflow(ctx, caller(ctx).Actor, in.Body.WorkflowSpec))
		out.Location = path + "/" + out.Body.ID
		return out, err
	})
	route(a, huma.Operation{
		OperationID: "get-workflow", Method: "GET", Path: path + "/{id}", Summary: "Read a workflow", Tags: tags,
	}, reads, func(ctx context.Context, in *ByID) (*versioned[wire.Workflow], error) {
		return show(a.Store.Workflow(ctx, in.ID))
	})
	patchRoute(a, patches, huma.Operation{
		OperationID: "update-workflow", Method: "PATCH", Path: path + "/{id}", Tags: tags,
		Summary: "Change a workflow", Description: "The nodes that use it boot by the new revision.",
	}, writes, func(ctx context.Context, in *patchByID) (*versioned[wire.Workflow], error) {
		return show(a.Store.UpdateWorkflow(ctx, caller(ctx).Actor, in.ID, ifMatch(in.IfMatch), patches.edit(in.Body)))
	})
	route(a, huma.Operation{
		OperationID: "list-workflow-revisions", Method: "GET", Path: path + "/{id}/revisions", Tags: tags,
		Summary: "List what a workflow was from one write to the next, the latest first",
	}, reads, func(ctx context.Context, in *struct {
		ByID
		Paging
	},
	) (*answer[store.Page[store.Revision]], error) {
		page, err := a.Store.WorkflowRevisions(ctx, in.ID, in.store())
		return &answer[store.Page[store.Revision]]{page}, err
	})
	route(a, huma.Operation{
		OperationID: "delete-workflow", Method: "DELETE", Path: path + "/{id}", DefaultStatus: http.StatusNoContent,
		Summary: "Delete a workflow that nothing uses", Tags: tags,
	}, writes, func(ctx context.Context, in *OneVersion) (*nothing, error) {
		return nil, a.Store.DeleteWorkflow(ctx, caller(ctx).Actor, in.ID, ifMatch(in.IfMatch))
	})
}
