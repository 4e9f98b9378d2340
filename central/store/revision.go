package store

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/ent"
	"github.com/pureboot/pureboot/ent/workflow"
	"github.com/pureboot/pureboot/ent/workflowrevision"
)

// Revision is a workflow as it was from one write to the next. The newest is what the workflow is now.
type Revision struct {
	Revision int64        `json:"revision"`
	Spec     WorkflowSpec `json:"workflow"`
	By       string       `json:"by"`
	At       time.Time    `json:"at"`
}

// WorkflowRevisions lists the revisions of a workflow, the latest first.
func (s *Store) WorkflowRevisions(ctx context.Context, id uuid.UUID, paging Paging) (Page[Revision], error) {
	var page Page[Revision]
	limit, before, err := paging.beforeNumber()
	if err != nil {
		return page, err
	}
	err = s.View(ctx, func(tx *ent.Tx) error {
		if _, err := tx.Workflow.Query().Where(workflow.ID(id)).OnlyID(ctx); err != nil {
			return missing(err)
		}
		total, err := tx.WorkflowRevision.Query().Where(workflowrevision.WorkflowID(id)).Count(ctx)
		if err != nil {
			return err
		}
		rows, err := tx.WorkflowRevision.Query().
			Where(workflowrevision.WorkflowID(id), workflowrevision.RevisionLT(before)).
			Order(ent.Desc(workflowrevision.FieldRevision)).Limit(limit + 1).All(ctx)
		if err != nil {
			return err
		}
		page = pageOf(rows, limit, total, func(r *ent.WorkflowRevision) string { return strconv.FormatInt(r.Revision, 10) },
			func(r *ent.WorkflowRevision) Revision {
				item := Revision{Revision: r.Revision, By: r.By, At: r.At}
				if bad := json.Unmarshal(r.Spec, &item.Spec); bad != nil {
					err = fmt.Errorf("revision %d of workflow %s: %w", r.Revision, id, bad)
				}
				return item
			})
		return err
	})
	return page, err
}

// noteWorkflow keeps the revision of a workflow that was written, and makes its version for the sites grow.
func noteWorkflow(ctx context.Context, tx *ent.Tx, by Actor, w wire.Workflow) error {
	id := uuid.MustParse(w.ID) // of a row
	spec, err := json.Marshal(workflowSpec(w))
	if err != nil {
		return fmt.Errorf("keep a revision: %w", err)
	}
	err = tx.WorkflowRevision.Create().SetWorkflowID(id).SetRevision(w.Revision).SetSpec(spec).
		SetBy(clean(by.Name, 200)).SetAt(w.UpdatedAt).Exec(ctx)
	if err != nil {
		return fmt.Errorf("keep revision %d: %w", w.Revision, err)
	}
	return NoteWrite(ctx, tx, Written{Entity: WorkflowEntity, ID: id, By: by, Checksum: checksum(workflowSpec(w))})
}
