package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/pureboot/pureboot/ent"
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
}

// ConflictQuery selects conflicts; a zero field does not narrow.
type ConflictQuery struct {
	Paging
	Site   uuid.UUID
	Entity uuid.UUID
	Open   *bool
}

// Resolution is an administrator's choice.
type Resolution struct {
	Resolution string          // accepted_central, accepted_site or merged
	Merged     json.RawMessage // of merged alone: what the entity shall be

	// Apply writes what was chosen, in the same transaction; nil writes nothing.
	Apply func(ctx context.Context, tx *ent.Tx, c SyncConflict) error
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

// ResolveConflict closes a conflict. One that was resolved before is a *Conflict.
func (s *Store) ResolveConflict(ctx context.Context, by Actor, id uuid.UUID, r Resolution) (SyncConflict, error) {
	var f faults
	if syncconflict.ResolutionValidator(syncconflict.Resolution(r.Resolution)) != nil {
		f.add("resolution", clean(r.Resolution, maxName), "want accepted_central, accepted_site or merged")
	}
	switch merged := r.Resolution == string(syncconflict.ResolutionMerged); {
	case merged && !json.Valid(r.Merged):
		f.add("merged_state", nil, "is what merged needs")
	case !merged && len(r.Merged) > 0:
		f.add("merged_state", nil, "goes with merged alone")
	}
	if err := f.err(); err != nil {
		return SyncConflict{}, err
	}
	var resolved SyncConflict
	err := s.Write(ctx, func(tx *ent.Tx) error {
		row, err := tx.SyncConflict.Get(ctx, id)
		if err != nil {
			return missing(err)
		}
		if row.ResolvedAt != nil {
			return &Conflict{Message: fmt.Sprintf("it was resolved at %s by %s, which is final", row.ResolvedAt.Format(time.RFC3339), row.ResolvedBy)}
		}
		before := conflictRecord(row)
		update := row.Update().SetResolvedAt(now()).SetResolution(syncconflict.Resolution(r.Resolution)).SetResolvedBy(clean(by.Name, 200))
		if len(r.Merged) > 0 {
			update.SetMergedState(r.Merged)
		}
		if row, err = update.Save(ctx); err != nil {
			return fmt.Errorf("resolve a conflict: %w", err)
		}
		resolved = conflictRecord(row)
		if r.Apply != nil {
			if err := r.Apply(ctx, tx, resolved); err != nil {
				return err
			}
		}
		return Audit(ctx, tx, by, Act{Action: "conflict.resolve", Subject: "conflict/" + id.String(), Before: before, After: resolved})
	})
	return resolved, err
}

// SyncConflict returns a conflict.
func (s *Store) SyncConflict(ctx context.Context, id uuid.UUID) (SyncConflict, error) {
	row, err := s.reader.SyncConflict.Get(ctx, id)
	if err != nil {
		return SyncConflict{}, missing(err)
	}
	return conflictRecord(row), nil
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
