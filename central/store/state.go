package store

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/lifecycle"
	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/ent"
	"github.com/pureboot/pureboot/ent/nodeevent"
	"github.com/pureboot/pureboot/ent/nodestatelog"
)

// Limits of what machines report.
const (
	maxEvents   = 1000     // kept of each node; the oldest go
	maxMetadata = 64 << 10 // bytes of JSON
)

// StateStep is one line of a node's state log.
type StateStep struct {
	From    string    `json:"from" doc:"Empty for the first"`
	To      string    `json:"to"`
	By      string    `json:"by"`
	Comment string    `json:"comment"`
	At      time.Time `json:"at"`

	WorkflowID       *uuid.UUID `json:"workflow_id,omitempty" format:"uuid" doc:"That an installation began with"`
	WorkflowRevision int64      `json:"workflow_revision,omitempty"`
}

// LoggedEvent is a report as it was kept.
type LoggedEvent struct {
	wire.Event
	At time.Time `json:"at"`
}

// ChangeState takes a transition, or says by a *lifecycle.TransitionError which are valid. An agent may pass on only
// what a machine may report of itself, and never force: ErrForbidden. ifVersion is as that of UpdateNode.
func (s *Store) ChangeState(ctx context.Context, by Actor, id uuid.UUID, ifVersion int64, change wire.StateChange) (wire.Node, error) {
	var changed wire.Node
	err := s.Write(ctx, func(tx *ent.Tx) (err error) {
		changed, err = changeState(ctx, tx, by, id, ifVersion, change)
		return err
	})
	return changed, err
}

func changeState(ctx context.Context, tx *ent.Tx, by Actor, id uuid.UUID, ifVersion int64, change wire.StateChange) (wire.Node, error) {
	var f faults
	to, err := lifecycle.ParseState(change.State)
	if err != nil {
		f.add("state", change.State, "%v", err)
	}
	if !by.agent() {
		f.line("comment", change.Comment, maxMessage)
	}
	if err := f.err(); err != nil {
		return wire.Node{}, err
	}
	row, err := tx.Node.Query().Where(visible(by, id)).Only(ctx)
	if err != nil {
		return wire.Node{}, missing(err)
	}
	if ifVersion != 0 && ifVersion != row.Version {
		return wire.Node{}, ErrVersion
	}
	at := now()
	before := install(row)
	after, err := before.To(to, change.Force, at)
	step := lifecycle.Step{From: before.State, To: to}
	switch {
	case by.agent() && change.Force:
		return wire.Node{}, fmt.Errorf("%w: only an administrator forces a state", ErrForbidden)
	case err != nil:
		return wire.Node{}, err
	case by.agent() && !step.Reportable():
		return wire.Node{}, fmt.Errorf("%w: only an administrator takes a node from %s to %s", ErrForbidden, step.From, step.To)
	}
	update := tx.Node.UpdateOneID(id).SetStateChangedAt(at)
	setInstall(update.Mutation(), after)
	if err := installedWith(ctx, tx, row, before, after, update); err != nil {
		return wire.Node{}, err
	}
	changed, err := saveNode(ctx, tx, by, update)
	if err != nil {
		return changed, err
	}
	if err := logStep(ctx, tx, id, step, by.Name, change.Comment, at); err != nil {
		return changed, err
	}
	return changed, auditAdmin(ctx, tx, by, Act{
		Action: "node.state", Subject: "node/" + changed.ID, Detail: detail(change),
		Before: map[string]any{"state": step.From}, After: map[string]any{"state": step.To},
	})
}

func detail(change wire.StateChange) string {
	if change.Force {
		return "forced: " + change.Comment
	}
	return change.Comment
}

// RecordEvent keeps a report of a machine and lets it take effect. A report whose event_id is there already changes
// nothing.
func (s *Store) RecordEvent(ctx context.Context, by Actor, id uuid.UUID, e wire.Event) (wire.Node, error) {
	if err := checkEvent(&e); err != nil {
		return wire.Node{}, err
	}
	var n wire.Node
	err := s.Write(ctx, func(tx *ent.Tx) error {
		row, err := tx.Node.Query().Where(visible(by, id)).Only(ctx)
		if err != nil {
			return missing(err)
		}
		known, err := tx.NodeEvent.Query().Where(nodeevent.NodeID(id), nodeevent.EventID(e.EventID)).Exist(ctx)
		if err != nil {
			return err
		}
		if !known {
			if err := takeEvent(ctx, tx, by, row, e); err != nil {
				return err
			}
		}
		n, err = reload(ctx, tx, id)
		return err
	})
	return n, err
}

// checkEvent refuses what is no report, and makes of the rest what is kept.
func checkEvent(e *wire.Event) error {
	var f faults
	if _, err := lifecycle.ParseEventType(e.EventType); err != nil {
		f.add("event_type", e.EventType, "%v", err)
	}
	if e.Status == "" {
		e.Status = string(lifecycle.Success)
	}
	if !slices.Contains(lifecycle.EventStatuses, lifecycle.EventStatus(e.Status)) {
		f.add("status", clean(e.Status, maxName), "want success, failed or in_progress")
	}
	if e.Progress < 0 || e.Progress > 100 {
		f.add("progress", e.Progress, "want 0 to 100")
	}
	f.line("event_id", e.EventID, maxName)
	if e.EventID == "" {
		e.EventID = uuid.NewString()
	}
	if e.NextBoot != "" && lifecycle.EventType(e.EventType) != lifecycle.BootStarted {
		f.add("next_boot", clean(e.NextBoot, maxName), "only boot_started carries out an order")
	}
	if len(e.Metadata) > maxMetadata {
		f.add("metadata", nil, "longer than %d bytes", maxMetadata)
	}
	e.Message = clean(e.Message, maxMessage)
	return f.err()
}

func takeEvent(ctx context.Context, tx *ent.Tx, by Actor, row *ent.Node, e wire.Event) error {
	at := now()
	create := tx.NodeEvent.Create().SetNodeID(row.ID).SetEventID(e.EventID).
		SetEventType(nodeevent.EventType(e.EventType)).SetStatus(nodeevent.Status(e.Status)).
		SetProgress(e.Progress).SetMessage(e.Message).SetAt(at)
	if len(e.Metadata) > 0 {
		create.SetMetadata(e.Metadata)
	}
	before := install(row)
	order := lifecycle.NextBoot(e.NextBoot)
	if order != "" && (order != before.Order(true) || e.InstallSeq != 0 && e.InstallSeq != before.Seq) {
		return &Conflict{Field: "body.next_boot", Message: "this order does not stand any more"}
	}
	if err := create.Exec(ctx); err != nil {
		return fmt.Errorf("keep an event: %w", err)
	}
	if err := forgetEvents(ctx, tx, row.ID); err != nil {
		return err
	}
	after, steps := before, []lifecycle.Step(nil)
	if e.InstallSeq == 0 || e.InstallSeq == before.Seq {
		after, steps = before.On(lifecycle.Event{
			Type: lifecycle.EventType(e.EventType), Status: lifecycle.EventStatus(e.Status), Message: e.Message,
			Order: order,
		}, at)
	}
	update := tx.Node.UpdateOneID(row.ID).SetLastSeenAt(at)
	if after == before {
		return seen(ctx, row, update)
	}
	setInstall(update.Mutation(), after)
	if len(steps) > 0 {
		update.SetStateChangedAt(at)
	}
	if err := installedWith(ctx, tx, row, before, after, update); err != nil {
		return err
	}
	if _, err := saveNode(ctx, tx, by, update); err != nil {
		return err
	}
	for _, step := range steps {
		comment := e.EventType
		if order != "" {
			comment += ", as ordered by next_boot"
		}
		if err := logStep(ctx, tx, row.ID, step, by.Name, comment, at); err != nil {
			return err
		}
	}
	return nil
}

// installedWith notes which revision of which workflow an installation begins with.
func installedWith(ctx context.Context, tx *ent.Tx, row *ent.Node, before, after lifecycle.Install, update *ent.NodeUpdateOne) error {
	if after.StartedAt.IsZero() || after.StartedAt.Equal(before.StartedAt) {
		return nil
	}
	b, err := bootOf(ctx, tx, row)
	if err != nil {
		return fmt.Errorf("find the workflow of an installation: %w", err)
	}
	if b.Workflow == nil {
		update.ClearInstallWorkflowID().SetInstallRevision(0)
		return nil
	}
	update.SetInstallWorkflowID(uuid.MustParse(b.Workflow.ID)).SetInstallRevision(b.Workflow.Revision)
	return nil
}

// seen writes that a node was seen and nothing else: its record has not changed.
func seen(ctx context.Context, row *ent.Node, update *ent.NodeUpdateOne) error {
	if err := update.SetUpdatedAt(row.UpdatedAt).Exec(ctx); err != nil {
		return fmt.Errorf("note that a node was seen: %w", err)
	}
	return nil
}

// forgetEvents keeps a machine that reports without end from filling the disk.
func forgetEvents(ctx context.Context, tx *ent.Tx, id uuid.UUID) error {
	last, err := tx.NodeEvent.Query().Where(nodeevent.NodeID(id)).Order(ent.Desc(nodeevent.FieldID)).
		Offset(maxEvents).FirstID(ctx)
	if ent.IsNotFound(err) {
		return nil
	} else if err != nil {
		return err
	}
	_, err = tx.NodeEvent.Delete().Where(nodeevent.NodeID(id), nodeevent.IDLTE(last)).Exec(ctx)
	return err
}

func logStep(ctx context.Context, tx *ent.Tx, id uuid.UUID, step lifecycle.Step, by, comment string, at time.Time) error {
	create := tx.NodeStateLog.Create().SetNodeID(id).SetFromState(string(step.From)).SetToState(string(step.To)).
		SetBy(clean(by, 200)).SetComment(clean(comment, maxMessage)).SetAt(at)
	if step.To == lifecycle.Installing {
		row, err := tx.Node.Get(ctx, id)
		if err != nil {
			return fmt.Errorf("log a change of state: %w", missing(err))
		}
		create.SetNillableWorkflowID(row.InstallWorkflowID).SetWorkflowRevision(row.InstallRevision)
	}
	if err := create.Exec(ctx); err != nil {
		return fmt.Errorf("log a change of state: %w", err)
	}
	return nil
}

// History lists a node's changes of state, the oldest first.
func (s *Store) History(ctx context.Context, by Actor, id uuid.UUID, paging Paging) (Page[StateStep], error) {
	var page Page[StateStep]
	limit, after, err := paging.afterNumber()
	if err != nil {
		return page, err
	}
	err = s.View(ctx, func(tx *ent.Tx) error {
		if err := known(ctx, tx, by, id); err != nil {
			return err
		}
		total, err := tx.NodeStateLog.Query().Where(nodestatelog.NodeID(id)).Count(ctx)
		if err != nil {
			return err
		}
		rows, err := tx.NodeStateLog.Query().Where(nodestatelog.NodeID(id), nodestatelog.IDGT(after)).
			Order(ent.Asc(nodestatelog.FieldID)).Limit(limit + 1).All(ctx)
		page = pageOf(rows, limit, total, func(l *ent.NodeStateLog) string { return strconv.FormatInt(l.ID, 10) }, stepRecord)
		return err
	})
	return page, err
}

// Events lists a node's last reports, the oldest first.
func (s *Store) Events(ctx context.Context, by Actor, id uuid.UUID, paging Paging) (Page[LoggedEvent], error) {
	var page Page[LoggedEvent]
	limit, after, err := paging.afterNumber()
	if err != nil {
		return page, err
	}
	err = s.View(ctx, func(tx *ent.Tx) error {
		if err := known(ctx, tx, by, id); err != nil {
			return err
		}
		total, err := tx.NodeEvent.Query().Where(nodeevent.NodeID(id)).Count(ctx)
		if err != nil {
			return err
		}
		rows, err := tx.NodeEvent.Query().Where(nodeevent.NodeID(id), nodeevent.IDGT(after)).
			Order(ent.Asc(nodeevent.FieldID)).Limit(limit + 1).All(ctx)
		page = pageOf(rows, limit, total, func(e *ent.NodeEvent) string { return strconv.FormatInt(e.ID, 10) }, eventRecord)
		return err
	})
	return page, err
}

func stepRecord(row *ent.NodeStateLog) StateStep {
	return StateStep{
		From: row.FromState, To: row.ToState, By: row.By, Comment: row.Comment, At: row.At,
		WorkflowID: row.WorkflowID, WorkflowRevision: row.WorkflowRevision,
	}
}

func eventRecord(row *ent.NodeEvent) LoggedEvent {
	return LoggedEvent{At: row.At, Event: wire.Event{
		EventID: row.EventID, EventType: string(row.EventType), Status: string(row.Status),
		Progress: row.Progress, Message: row.Message, Metadata: row.Metadata,
	}}
}

// known says ErrNotFound unless the actor may see a node.
func known(ctx context.Context, tx *ent.Tx, by Actor, id uuid.UUID) error {
	_, err := tx.Node.Query().Where(visible(by, id)).OnlyID(ctx)
	return missing(err)
}
