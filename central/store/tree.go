package store

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/inherit"
	"github.com/pureboot/pureboot/ent"
	"github.com/pureboot/pureboot/ent/devicegroup"
	"github.com/pureboot/pureboot/ent/predicate"
)

// tree holds groups with all their ancestors.
type tree map[uuid.UUID]*ent.DeviceGroup

// ancestors returns the tree of some groups.
func ancestors(ctx context.Context, groups *ent.DeviceGroupClient, rows ...*ent.DeviceGroup) (tree, error) {
	t := tree{}
	for len(rows) > 0 {
		var parents []uuid.UUID
		for _, row := range rows {
			t[row.ID] = row
		}
		for _, row := range rows {
			if row.ParentID != nil && t[*row.ParentID] == nil {
				parents = append(parents, *row.ParentID)
			}
		}
		if len(parents) == 0 {
			break
		}
		var err error
		if rows, err = groups.Query().Where(devicegroup.IDIn(parents...)).All(ctx); err != nil {
			return nil, fmt.Errorf("read the groups above: %w", err)
		}
	}
	return t, nil
}

// chain returns a group and those above it up to the root. No id, or that of no group, is an empty chain.
func (t tree) chain(id *uuid.UUID) []inherit.Group {
	var chain []inherit.Group
	for id != nil && t[*id] != nil && len(chain) <= maxDepth {
		row := t[*id]
		chain = append(chain, inherit.Group{ID: row.ID.String(), Settings: groupSpec(row).Settings, Params: row.Params})
		id = row.ParentID
	}
	return chain
}

// record describes a group of the tree. Its agent has to be loaded.
func (t tree) record(row *ent.DeviceGroup) Group {
	g := Group{
		ID: row.ID, GroupSpec: groupSpec(row), IsSite: row.IsSite, Path: row.Path, Depth: row.Depth,
		Effective: inherit.Resolve(t.chain(&row.ID)), Version: row.Version, CreatedAt: row.CreatedAt, UpdatedAt: row.UpdatedAt,
	}
	if row.Edges.Agent != nil {
		g.Agent = agentRecord(row.Edges.Agent)
		g.AgentLastSeen = g.Agent.LastSeen
	}
	return g
}

func groupRecord(ctx context.Context, groups *ent.DeviceGroupClient, row *ent.DeviceGroup) (Group, error) {
	t, err := ancestors(ctx, groups, row)
	if err != nil {
		return Group{}, err
	}
	return t.record(row), nil
}

// subtree returns the ids of some groups and of all below them.
func subtree(ctx context.Context, groups *ent.DeviceGroupClient, roots ...uuid.UUID) ([]uuid.UUID, error) {
	all := slices.Clone(roots)
	for level := roots; len(level) > 0; {
		var err error
		if level, err = groups.Query().Where(devicegroup.ParentIDIn(level...)).IDs(ctx); err != nil {
			return nil, fmt.Errorf("read the groups below: %w", err)
		}
		all = append(all, level...)
	}
	return all, nil
}

// relocate writes the paths and depths of all below a group whose own has changed.
func relocate(ctx context.Context, tx *ent.Tx, parent *ent.DeviceGroup) error {
	children, err := tx.DeviceGroup.Query().Where(devicegroup.ParentID(parent.ID)).All(ctx)
	if err != nil {
		return fmt.Errorf("read the groups below: %w", err)
	}
	for _, child := range children {
		path, depth := place(parent, child.Name)
		if path == child.Path && depth == child.Depth {
			continue
		}
		child, err = child.Update().SetPath(path).SetDepth(depth).AddVersion(1).Save(ctx)
		if err != nil {
			return fmt.Errorf("move a group: %w", err)
		}
		if err := relocate(ctx, tx, child); err != nil {
			return err
		}
	}
	return nil
}

// touch makes nodes change for their agents although their own records stay as they are.
func touch(ctx context.Context, tx *ent.Tx, which predicate.Node) error {
	any, err := tx.Node.Query().Where(which).Exist(ctx)
	if err != nil || !any {
		return err
	}
	epoch, err := Next(ctx, tx, NodeCounter)
	if err != nil {
		return err
	}
	if err := tx.Node.Update().Where(which).SetEpoch(epoch.N).Exec(ctx); err != nil {
		return fmt.Errorf("note that nodes changed: %w", err)
	}
	return nil
}

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
