package store

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/inherit"
	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/ent"
	"github.com/pureboot/pureboot/ent/devicegroup"
	"github.com/pureboot/pureboot/ent/node"
	"github.com/pureboot/pureboot/ent/workflow"
)

// maxDepth bounds how deep groups are nested; a root has depth 0.
const maxDepth = 31

// GroupSpec is what an administrator may say of a group or a site.
type GroupSpec struct {
	Name        string            `json:"name" minLength:"1" maxLength:"100"`
	Description string            `json:"description,omitempty" maxLength:"500"`
	ParentID    *uuid.UUID        `json:"parent_id,omitempty" format:"uuid" doc:"Of a site, another site"`
	AgentURL    string            `json:"agent_url,omitempty" maxLength:"500" doc:"Where a site's agent is reached"`
	Params      map[string]string `json:"params,omitempty"`
	inherit.Settings
}

// Group is a group of nodes, or a site: the group that one agent serves.
type Group struct {
	ID uuid.UUID `json:"id"`
	GroupSpec
	IsSite        bool              `json:"is_site"`
	Path          string            `json:"path" doc:"The names from the root to it, joined by slashes"`
	Depth         int               `json:"depth"`
	AgentStatus   *string           `json:"agent_status" enum:"online,degraded,offline" doc:"Null until an agent is enrolled"`
	AgentLastSeen *time.Time        `json:"agent_last_seen" doc:"Null until its first heartbeat"`
	Effective     inherit.Effective `json:"effective" doc:"The settings in effect, and which group each comes from"`
	Version       int64             `json:"version" doc:"Grows with each write"`
	CreatedAt     time.Time         `json:"created_at"`
	UpdatedAt     time.Time         `json:"updated_at"`

	Agent *Agent `json:"-"` // nil until one is enrolled
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

// CreateGroup makes a group or a site.
func (s *Store) CreateGroup(ctx context.Context, by Actor, site bool, spec GroupSpec) (Group, error) {
	var made Group
	err := s.Write(ctx, func(tx *ent.Tx) error {
		parent, err := checkGroup(ctx, tx, nil, site, &spec)
		if err != nil {
			return err
		}
		path, depth := place(parent, spec.Name)
		create := tx.DeviceGroup.Create().SetIsSite(site).SetPath(path).SetDepth(depth)
		setGroup(create.Mutation(), spec)
		row, err := create.Save(ctx)
		if err != nil {
			return fmt.Errorf("create group: %w", err)
		}
		if made, err = groupRecord(ctx, tx.DeviceGroup, row); err != nil {
			return err
		}
		return Audit(ctx, tx, by, Act{Action: kind(site) + ".create", Subject: subject(row), After: made.GroupSpec})
	})
	return made, err
}

// Group returns a group, or a site.
func (s *Store) Group(ctx context.Context, site bool, id uuid.UUID) (Group, error) {
	var g Group
	err := s.View(ctx, func(tx *ent.Tx) error {
		row, err := tx.DeviceGroup.Query().Where(devicegroup.ID(id), devicegroup.IsSite(site)).WithAgent().Only(ctx)
		if err != nil {
			return missing(err)
		}
		g, err = groupRecord(ctx, tx.DeviceGroup, row)
		return err
	})
	return g, err
}

// Groups lists the groups that are no sites, or the sites, by name.
func (s *Store) Groups(ctx context.Context, site bool, paging Paging) (Page[Group], error) {
	var page Page[Group]
	limit, after, err := paging.start()
	if err != nil {
		return page, err
	}
	err = s.View(ctx, func(tx *ent.Tx) error {
		total, err := tx.DeviceGroup.Query().Where(devicegroup.IsSite(site)).Count(ctx)
		if err != nil {
			return err
		}
		rows, err := tx.DeviceGroup.Query().Where(devicegroup.IsSite(site), devicegroup.NameGT(after)).
			Order(ent.Asc(devicegroup.FieldName)).Limit(limit + 1).WithAgent().All(ctx)
		if err != nil {
			return err
		}
		up, err := ancestors(ctx, tx.DeviceGroup, rows...)
		page = pageOf(rows, limit, total, func(g *ent.DeviceGroup) string { return g.Name }, up.record)
		return err
	})
	return page, err
}

// UpdateGroup changes a group or a site by edit, which gets what it is and returns what it shall be. An ifVersion
// other than 0 must be its version, else the error is ErrVersion. A move takes all below along.
func (s *Store) UpdateGroup(ctx context.Context, by Actor, site bool, id uuid.UUID, ifVersion int64, edit func(GroupSpec) (GroupSpec, error)) (Group, error) {
	var changed Group
	err := s.Write(ctx, func(tx *ent.Tx) error {
		row, err := tx.DeviceGroup.Query().Where(devicegroup.ID(id), devicegroup.IsSite(site)).WithAgent().Only(ctx)
		if err != nil {
			return missing(err)
		}
		if ifVersion != 0 && ifVersion != row.Version {
			return ErrVersion
		}
		before := groupSpec(row)
		spec, err := edit(groupSpec(row))
		if err != nil {
			return err
		}
		parent, err := checkGroup(ctx, tx, row, site, &spec)
		if err != nil {
			return err
		}
		path, depth := place(parent, spec.Name)
		update := tx.DeviceGroup.UpdateOneID(id).AddVersion(1).SetPath(path).SetDepth(depth)
		setGroup(update.Mutation(), spec)
		agent := row.Edges.Agent
		if row, err = update.Save(ctx); err != nil {
			return fmt.Errorf("update group: %w", err)
		}
		row.Edges.Agent = agent
		if err := relocate(ctx, tx, row); err != nil {
			return err
		}
		if changed, err = groupRecord(ctx, tx.DeviceGroup, row); err != nil {
			return err
		}
		err = Audit(ctx, tx, by, Act{Action: kind(site) + ".update", Subject: subject(row), Before: before, After: changed.GroupSpec})
		if err != nil {
			return err
		}
		below, err := subtree(ctx, tx.DeviceGroup, id)
		if err != nil {
			return err
		}
		return touch(ctx, tx, node.Or(node.GroupIDIn(below...), node.HomeSiteIDIn(below...)))
	})
	return changed, err
}

// DeleteGroup deletes a group or a site without nodes and children, else the error is a *Conflict. A site's agent
// loses its credential with it.
func (s *Store) DeleteGroup(ctx context.Context, by Actor, site bool, id uuid.UUID) error {
	return s.Write(ctx, func(tx *ent.Tx) error {
		row, err := tx.DeviceGroup.Query().Where(devicegroup.ID(id), devicegroup.IsSite(site)).Only(ctx)
		if err != nil {
			return missing(err)
		}
		nodes, err := tx.Node.Query().Where(node.Or(node.GroupID(id), node.HomeSiteID(id))).Count(ctx)
		if err != nil {
			return err
		}
		children, err := tx.DeviceGroup.Query().Where(devicegroup.ParentID(id)).Count(ctx)
		if err != nil {
			return err
		}
		if nodes+children > 0 {
			return &Conflict{Message: fmt.Sprintf("the %s still has %d nodes and %d groups and sites below it", kind(site), nodes, children)}
		}
		if err := tx.DeviceGroup.DeleteOne(row).Exec(ctx); err != nil {
			return fmt.Errorf("delete group: %w", err)
		}
		return Audit(ctx, tx, by, Act{Action: kind(site) + ".delete", Subject: subject(row), Before: groupSpec(row)})
	})
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
		if parent, err = checkParent(ctx, tx, old, site, *spec.ParentID, &f); err != nil {
			return nil, err
		}
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

func checkParent(ctx context.Context, tx *ent.Tx, old *ent.DeviceGroup, site bool, id uuid.UUID, f *faults) (*ent.DeviceGroup, error) {
	parent, err := tx.DeviceGroup.Get(ctx, id)
	if ent.IsNotFound(err) {
		f.add("parent_id", id, "there is no such group or site")
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	if site && !parent.IsSite {
		f.add("parent_id", id, "a site's parent is a site")
	}
	height := 0
	if old != nil {
		below, err := subtree(ctx, tx.DeviceGroup, old.ID)
		if err != nil {
			return nil, err
		}
		if slices.Contains(below, id) {
			f.add("parent_id", id, "is the group itself or below it")
		}
		deepest, err := tx.DeviceGroup.Query().Where(devicegroup.IDIn(below...)).Order(ent.Desc(devicegroup.FieldDepth)).First(ctx)
		if err != nil {
			return nil, err
		}
		height = deepest.Depth - old.Depth
	}
	if parent.Depth+1+height > maxDepth {
		f.add("parent_id", id, "groups are nested at most %d deep", maxDepth+1)
	}
	return parent, nil
}

// place returns the path and depth of a group under its parent, which is nil for a root.
func place(parent *ent.DeviceGroup, name string) (path string, depth int) {
	if parent == nil {
		return name, 0
	}
	return parent.Path + "/" + name, parent.Depth + 1
}

func kind(site bool) string {
	if site {
		return "site"
	}
	return "group"
}

func subject(row *ent.DeviceGroup) string { return kind(row.IsSite) + "/" + row.ID.String() }
