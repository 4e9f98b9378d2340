package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/pureboot/pureboot/ent"
	"github.com/pureboot/pureboot/ent/node"
	"github.com/pureboot/pureboot/ent/predicate"
	"github.com/pureboot/pureboot/ent/syncconflict"
)

// SyncConflict is an entity that central and a site changed both, not knowing of each other.
type SyncConflict struct {
	ID           uuid.UUID       `json:"id"`
	EntityType   string          `json:"entity_type" enum:"node,workflow,template"`
	EntityID     uuid.UUID       `json:"entity_id"`
	SiteID       uuid.UUID       `json:"site_id"`
	Fields       []string        `json:"fields" doc:"That differ"`
	BaseState    json.RawMessage `json:"base_state,omitempty" doc:"What both began with"`
	CentralState json.RawMessage `json:"central_state,omitempty"`
	SiteState    json.RawMessage `json:"site_state,omitempty"`
	DetectedAt   time.Time       `json:"detected_at"`
	ResolvedAt   *time.Time      `json:"resolved_at" doc:"Null while it is open"`
	Resolution   *string         `json:"resolution" enum:"accepted_central,accepted_site,merged"`
	MergedState  json.RawMessage `json:"merged_state,omitempty"`
	ResolvedBy   string          `json:"resolved_by"`

	// NodeVersion is that of the node now: what an administrator decides on is not only what the conflict keeps. It is
	// set where one conflict is read, as long as it is open.
	NodeVersion int64 `json:"node_version,omitempty" doc:"Of the node now; only of one conflict that is read alone, and open"`
}

// ConflictQuery selects conflicts; a zero field does not narrow.
type ConflictQuery struct {
	Paging
	Site   uuid.UUID
	Entity uuid.UUID
	Open   *bool
}

// RecordConflict keeps a conflict, in the transaction that finds it.
func RecordConflict(ctx context.Context, tx *ent.Tx, c SyncConflict) (uuid.UUID, error) {
	row, err := tx.SyncConflict.Create().SetEntityType(syncconflict.EntityType(c.EntityType)).SetEntityID(c.EntityID).
		SetSiteID(c.SiteID).SetFields(list(c.Fields)).SetBaseState(c.BaseState).SetCentralState(c.CentralState).
		SetSiteState(c.SiteState).SetDetectedAt(now()).Save(ctx)
	if err != nil {
		return uuid.Nil, fmt.Errorf("keep a conflict: %w", err)
	}
	return row.ID, nil
}

// SyncConflict returns a conflict.
func (s *Store) SyncConflict(ctx context.Context, id uuid.UUID) (SyncConflict, error) {
	var c SyncConflict
	err := s.View(ctx, func(tx *ent.Tx) (err error) {
		c, err = readConflict(ctx, tx, id)
		return err
	})
	return c, err
}

// readConflict returns a conflict with the version of its node.
func readConflict(ctx context.Context, tx *ent.Tx, id uuid.UUID) (SyncConflict, error) {
	row, err := tx.SyncConflict.Get(ctx, id)
	if err != nil {
		return SyncConflict{}, missing(err)
	}
	c := conflictRecord(row)
	if c.EntityType != NodeEntity || c.ResolvedAt != nil {
		return c, nil
	}
	of, err := tx.Node.Query().Where(node.ID(c.EntityID)).Select(node.FieldVersion).Only(ctx)
	if ent.IsNotFound(err) { // a conflict goes with its node, unless it came after it
		return c, nil
	} else if err != nil {
		return c, fmt.Errorf("read the node of a conflict: %w", err)
	}
	c.NodeVersion = of.Version
	return c, nil
}

// SyncConflicts lists conflicts, the latest first.
func (s *Store) SyncConflicts(ctx context.Context, q ConflictQuery) (Page[SyncConflict], error) {
	var page Page[SyncConflict]
	limit, before, err := q.before()
	if err != nil {
		return page, err
	}
	var which []predicate.SyncConflict
	if q.Site != uuid.Nil {
		which = append(which, syncconflict.SiteID(q.Site))
	}
	if q.Entity != uuid.Nil {
		which = append(which, syncconflict.EntityID(q.Entity))
	}
	if q.Open != nil && *q.Open {
		which = append(which, syncconflict.ResolvedAtIsNil())
	} else if q.Open != nil {
		which = append(which, syncconflict.ResolvedAtNotNil())
	}
	err = s.View(ctx, func(tx *ent.Tx) error {
		total, err := tx.SyncConflict.Query().Where(which...).Count(ctx)
		if err != nil {
			return err
		}
		rows, err := tx.SyncConflict.Query().Where(which...).Where(syncconflict.IDLT(before)).
			Order(ent.Desc(syncconflict.FieldID)).Limit(limit + 1).All(ctx)
		page = pageOf(rows, limit, total, func(c *ent.SyncConflict) string { return c.ID.String() }, conflictRecord)
		return err
	})
	return page, err
}

// forgetConflicts deletes the conflicts over an entity that is deleted.
func forgetConflicts(ctx context.Context, tx *ent.Tx, entity string, id uuid.UUID) error {
	_, err := tx.SyncConflict.Delete().
		Where(syncconflict.EntityTypeEQ(syncconflict.EntityType(entity)), syncconflict.EntityID(id)).Exec(ctx)
	if err != nil {
		return fmt.Errorf("forget conflicts: %w", err)
	}
	return nil
}

func conflictRecord(row *ent.SyncConflict) SyncConflict {
	return SyncConflict{
		ID: row.ID, EntityType: string(row.EntityType), EntityID: row.EntityID, SiteID: row.SiteID, Fields: list(row.Fields),
		BaseState: row.BaseState, CentralState: row.CentralState, SiteState: row.SiteState, DetectedAt: row.DetectedAt,
		ResolvedAt: row.ResolvedAt, Resolution: enum[string](row.Resolution), MergedState: row.MergedState, ResolvedBy: row.ResolvedBy,
	}
}
