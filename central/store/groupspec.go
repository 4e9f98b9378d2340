package store

import (
	"context"
	"fmt"
	"net/url"

	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/inherit"
	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/ent"
	"github.com/pureboot/pureboot/ent/devicegroup"
	"github.com/pureboot/pureboot/ent/workflow"
)

// Limits of the tree of groups.
const (
	maxDepth = 31   // of a group; a root has depth 0
	maxPath  = 2000 // bytes; PostgreSQL's index takes little more
)

// GroupSpec is what an administrator may say of a group or a site.
type GroupSpec struct {
	Name        string            `json:"name" minLength:"1" maxLength:"100"`
	Description string            `json:"description,omitempty" maxLength:"500"`
	ParentID    *uuid.UUID        `json:"parent_id,omitempty" format:"uuid" doc:"Of a site, another site"`
	AgentURL    string            `json:"agent_url,omitempty" maxLength:"500" doc:"Where a site's agent is reached"`
	Params      map[string]string `json:"params,omitempty"`
	inherit.Settings
}

// Check returns what is wrong with the group.
func (g *GroupSpec) Check(site bool) []wire.ProblemField {
	var f faults
	f.name("name", g.Name)
	f.line("description", g.Description, 500)
	f.params("params", g.Params)
	for i, glob := range g.CachePatterns {
		f.line(fmt.Sprintf("cache_patterns[%d]", i), glob, 512)
	}
	f.params("discovery_config", g.DiscoveryConfig)
	if g.SyncSchedule != nil {
		f.schedule("sync_schedule", *g.SyncSchedule)
	}
	if g.AgentURL != "" {
		f.line("agent_url", g.AgentURL, 500)
		u, err := url.Parse(g.AgentURL)
		if err != nil || u.Host == "" || u.User != nil || u.Scheme != "http" && u.Scheme != "https" {
			f.add("agent_url", g.AgentURL, "want http://HOST or https://HOST")
		}
	}
	if site {
		return f
	}
	for field, set := range map[string]bool{
		"agent_url": g.AgentURL != "", "autonomy_level": g.AutonomyLevel != nil,
		"conflict_resolution": g.ConflictResolution != nil, "cache_policy": g.CachePolicy != nil,
		"cache_patterns": g.CachePatterns != nil, "cache_max_size_gb": g.CacheMaxSizeGB != nil,
		"cache_retention_days": g.CacheRetentionDays != nil, "discovery_method": g.DiscoveryMethod != nil,
		"discovery_config": g.DiscoveryConfig != nil, "migration_policy": g.MigrationPolicy != nil,
		"sync_schedule": g.SyncSchedule != nil, "sync_max_mb_per_s": g.SyncMaxMBPerS != nil,
		"heartbeat_seconds": g.HeartbeatSeconds != nil,
	} {
		if set {
			f.add(field, nil, "is a setting of sites alone")
		}
	}
	return f
}

// checkGroup checks a group that shall be as spec says, and returns its parent. old is nil for a new one.
func checkGroup(ctx context.Context, tx *ent.Tx, old *ent.DeviceGroup, site bool, spec *GroupSpec) (parent *ent.DeviceGroup, err error) {
	f := faults(spec.Check(site))
	if spec.DefaultWorkflowID != nil {
		id, err := uuid.Parse(*spec.DefaultWorkflowID)
		if err != nil {
			f.add("default_workflow_id", *spec.DefaultWorkflowID, "not a UUID")
		} else if known, err := tx.Workflow.Query().Where(workflow.ID(id)).Exist(ctx); err != nil {
			return nil, err
		} else if !known {
			f.add("default_workflow_id", *spec.DefaultWorkflowID, "there is no such workflow")
		}
	}
	if spec.ParentID != nil {
		parent, err = tx.DeviceGroup.Get(ctx, *spec.ParentID)
		if ent.IsNotFound(err) {
			f.add("parent_id", spec.ParentID, "there is no such group or site")
		} else if err != nil {
			return nil, err
		} else if site && !parent.IsSite {
			f.add("parent_id", spec.ParentID, "a site's parent is a site")
		}
	}
	if err := checkPlace(ctx, tx, old, parent, spec.Name, &f); err != nil {
		return nil, err
	}
	if err := f.err(); err != nil {
		return nil, err
	}
	same := tx.DeviceGroup.Query().Where(devicegroup.Name(spec.Name))
	if old != nil {
		same.Where(devicegroup.IDNEQ(old.ID))
	}
	taken, err := same.Exist(ctx)
	if err != nil {
		return nil, err
	}
	if taken {
		return nil, &Conflict{Field: "body.name", Message: fmt.Sprintf("there is a group or site named %q already", spec.Name)}
	}
	return parent, nil
}

// checkPlace checks that a group, and all below it, can be where parent and name say.
func checkPlace(ctx context.Context, tx *ent.Tx, old, parent *ent.DeviceGroup, name string, f *faults) error {
	path, depth := place(parent, name)
	deepest, longest := depth, len(path)
	if old != nil && (path != old.Path || depth != old.Depth) {
		rows, err := tx.DeviceGroup.Query().Where(below(devicegroup.FieldID, old.ID)).
			Select(devicegroup.FieldPath, devicegroup.FieldDepth).All(ctx)
		if err != nil {
			return fmt.Errorf("read the groups below: %w", err)
		}
		for _, row := range rows {
			if parent != nil && row.ID == parent.ID {
				f.add("parent_id", parent.ID, "is the %s itself or below it", kind(old.IsSite))
				return nil
			}
			deepest = max(deepest, depth+row.Depth-old.Depth)
			longest = max(longest, len(path)+len(row.Path)-len(old.Path))
		}
	}
	if deepest > maxDepth {
		f.add("parent_id", parent.ID, "groups are nested at most %d deep", maxDepth+1)
	}
	if longest > maxPath {
		f.add("name", nil, "with the names of the groups above and below it, the path is longer than %d bytes", maxPath)
	}
	return nil
}
