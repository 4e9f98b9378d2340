package store

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/inherit"
	"github.com/pureboot/pureboot/ent"
	"github.com/pureboot/pureboot/ent/devicegroup"
	"github.com/pureboot/pureboot/ent/node"
)

// groupRecords describes groups whose agents were loaded.
func groupRecords(ctx context.Context, tx *ent.Tx, rows ...*ent.DeviceGroup) ([]Group, error) {
	up, err := ancestors(ctx, tx, rows...)
	if err != nil {
		return nil, err
	}
	counts, err := count(ctx, tx, rows)
	if err != nil {
		return nil, err
	}
	records := make([]Group, len(rows))
	for i, row := range rows {
		records[i] = Group{
			ID: row.ID, GroupSpec: groupSpec(row), IsSite: row.IsSite, Path: row.Path, Depth: row.Depth,
			NodeCount: counts.nodes[row.ID], ChildCount: counts.children[row.ID],
			Effective: inherit.Resolve(up.chain(&row.ID)), Version: row.Version, CreatedAt: row.CreatedAt, UpdatedAt: row.UpdatedAt,
		}
		if row.Edges.Agent != nil {
			records[i].Agent = agentRecord(row.Edges.Agent)
			records[i].AgentLastSeen = records[i].Agent.LastSeen
		}
	}
	return records, nil
}

// groupRecord is groupRecords of one.
func groupRecord(ctx context.Context, tx *ent.Tx, row *ent.DeviceGroup) (Group, error) {
	records, err := groupRecords(ctx, tx, row)
	if err != nil {
		return Group{}, err
	}
	return records[0], nil
}

// counts says how many belong to some groups.
type counts struct{ nodes, children map[uuid.UUID]int }

// count counts the nodes at home at sites, those in groups that are none, and the groups right below either.
func count(ctx context.Context, tx *ent.Tx, rows []*ent.DeviceGroup) (counts, error) {
	c := counts{nodes: map[uuid.UUID]int{}, children: map[uuid.UUID]int{}}
	var all, sites, groups []uuid.UUID
	for _, row := range rows {
		all = append(all, row.ID)
		if row.IsSite {
			sites = append(sites, row.ID)
		} else {
			groups = append(groups, row.ID)
		}
	}
	var found []struct {
		ParentID   uuid.UUID `json:"parent_id"`
		HomeSiteID uuid.UUID `json:"home_site_id"`
		GroupID    uuid.UUID `json:"group_id"`
		Count      int       `json:"count"`
	}
	err := tx.DeviceGroup.Query().Where(devicegroup.ParentIDIn(all...)).
		GroupBy(devicegroup.FieldParentID).Aggregate(ent.Count()).Scan(ctx, &found)
	if err != nil {
		return c, fmt.Errorf("count the groups below: %w", err)
	}
	for _, f := range found {
		c.children[f.ParentID] = f.Count
	}
	if len(sites) > 0 {
		err := tx.Node.Query().Where(node.HomeSiteIDIn(sites...)).
			GroupBy(node.FieldHomeSiteID).Aggregate(ent.Count()).Scan(ctx, &found)
		if err != nil {
			return c, fmt.Errorf("count the nodes of sites: %w", err)
		}
		for _, f := range found {
			c.nodes[f.HomeSiteID] = f.Count
		}
	}
	if len(groups) > 0 {
		err := tx.Node.Query().Where(node.GroupIDIn(groups...)).
			GroupBy(node.FieldGroupID).Aggregate(ent.Count()).Scan(ctx, &found)
		if err != nil {
			return c, fmt.Errorf("count the nodes of groups: %w", err)
		}
		for _, f := range found {
			c.nodes[f.GroupID] = f.Count
		}
	}
	return c, nil
}

// setGroup writes a spec that was checked.
func setGroup(m *ent.DeviceGroupMutation, spec GroupSpec) {
	m.SetName(spec.Name)
	m.SetDescription(spec.Description)
	m.SetParams(texts(spec.Params))
	optional(spec.ParentID, m.SetParentID, m.ClearParentID)
	optional(some[string](spec.AgentURL), m.SetAgentURL, m.ClearAgentURL)

	var workflow *uuid.UUID
	if spec.DefaultWorkflowID != nil {
		id := uuid.MustParse(*spec.DefaultWorkflowID) // checkGroup has
		workflow = &id
	}
	optional(workflow, m.SetDefaultWorkflowID, m.ClearDefaultWorkflowID)
	optional(spec.AutoProvision, m.SetAutoProvision, m.ClearAutoProvision)
	optional(enum[devicegroup.AutonomyLevel](spec.AutonomyLevel), m.SetAutonomyLevel, m.ClearAutonomyLevel)
	optional(enum[devicegroup.ConflictResolution](spec.ConflictResolution), m.SetConflictResolution, m.ClearConflictResolution)
	optional(enum[devicegroup.CachePolicy](spec.CachePolicy), m.SetCachePolicy, m.ClearCachePolicy)
	optional(enum[devicegroup.DiscoveryMethod](spec.DiscoveryMethod), m.SetDiscoveryMethod, m.ClearDiscoveryMethod)
	optional(enum[devicegroup.MigrationPolicy](spec.MigrationPolicy), m.SetMigrationPolicy, m.ClearMigrationPolicy)
	optional(spec.CacheMaxSizeGB, m.SetCacheMaxSizeGB, m.ClearCacheMaxSizeGB)
	optional(spec.CacheRetentionDays, m.SetCacheRetentionDays, m.ClearCacheRetentionDays)
	optional(spec.SyncSchedule, m.SetSyncSchedule, m.ClearSyncSchedule)
	optional(spec.SyncMaxMBPerS, m.SetSyncMaxMBPerS, m.ClearSyncMaxMBPerS)
	optional(spec.HeartbeatSeconds, m.SetHeartbeatSeconds, m.ClearHeartbeatSeconds)
	if spec.CachePatterns != nil {
		m.SetCachePatterns(spec.CachePatterns)
	} else {
		m.ClearCachePatterns()
	}
	if spec.DiscoveryConfig != nil {
		m.SetDiscoveryConfig(spec.DiscoveryConfig)
	} else {
		m.ClearDiscoveryConfig()
	}
}

func groupSpec(row *ent.DeviceGroup) GroupSpec {
	spec := GroupSpec{
		Name: row.Name, Description: row.Description, ParentID: row.ParentID, Params: row.Params,
		Settings: inherit.Settings{
			AutoProvision:      row.AutoProvision,
			AutonomyLevel:      enum[string](row.AutonomyLevel),
			ConflictResolution: enum[string](row.ConflictResolution),
			CachePolicy:        enum[string](row.CachePolicy),
			CachePatterns:      row.CachePatterns,
			CacheMaxSizeGB:     row.CacheMaxSizeGB,
			CacheRetentionDays: row.CacheRetentionDays,
			DiscoveryMethod:    enum[string](row.DiscoveryMethod),
			DiscoveryConfig:    row.DiscoveryConfig,
			MigrationPolicy:    enum[string](row.MigrationPolicy),
			SyncSchedule:       row.SyncSchedule,
			SyncMaxMBPerS:      row.SyncMaxMBPerS,
			HeartbeatSeconds:   row.HeartbeatSeconds,
		},
	}
	if row.AgentURL != nil {
		spec.AgentURL = *row.AgentURL
	}
	if row.DefaultWorkflowID != nil {
		id := row.DefaultWorkflowID.String()
		spec.DefaultWorkflowID = &id
	}
	return spec
}

// optional sets a column that may be null.
func optional[T any](v *T, set func(T), null func()) {
	if v == nil {
		null()
	} else {
		set(*v)
	}
}

// enum turns an optional value of one kind of string into another.
func enum[To, From ~string](v *From) *To {
	if v == nil {
		return nil
	}
	to := To(*v)
	return &to
}

// some is enum of a string that is empty when it is not there.
func some[To ~string](v string) *To {
	if v == "" {
		return nil
	}
	to := To(v)
	return &to
}
