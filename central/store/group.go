package store

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/inherit"
	"github.com/pureboot/pureboot/ent"
	"github.com/pureboot/pureboot/ent/devicegroup"
	"github.com/pureboot/pureboot/ent/node"
)

// Group is a group of nodes, or a site: the group that one agent serves.
type Group struct {
	ID uuid.UUID `json:"id"`
	GroupSpec
	IsSite        bool              `json:"is_site"`
	Path          string            `json:"path" doc:"The names from the root to it, joined by slashes"`
	Depth         int               `json:"depth"`
	NodeCount     int               `json:"node_count" doc:"Nodes whose home is the site; of a group, the nodes in it"`
	ChildCount    int               `json:"child_count" doc:"Sites and groups right below it"`
	AgentStatus   *string           `json:"agent_status" enum:"online,degraded,offline" doc:"Null until an agent is enrolled"`
	AgentLastSeen *time.Time        `json:"agent_last_seen" doc:"Null until its first heartbeat"`
	Effective     inherit.Effective `json:"effective" doc:"The settings in effect, and which group each comes from"`
	Version       int64             `json:"version" doc:"Grows with each write"`
	CreatedAt     time.Time         `json:"created_at"`
	UpdatedAt     time.Time         `json:"updated_at"`

	Agent *Agent `json:"-"` // nil until one is enrolled
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
		if made, err = groupRecord(ctx, tx, row); err != nil {
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
		row, err := group(ctx, tx, site, id)
		if err != nil {
			return err
		}
		g, err = groupRecord(ctx, tx, row)
		return err
	})
	return g, err
}

// SiteExists returns ErrNotFound if there is no such site.
func (s *Store) SiteExists(ctx context.Context, id uuid.UUID) error {
	exists, err := s.reader.DeviceGroup.Query().Where(devicegroup.ID(id), devicegroup.IsSite(true)).Exist(ctx)
	if err == nil && !exists {
		return ErrNotFound
	}
	return err
}

// Effective returns the settings in effect for a site.
func (s *Store) Effective(ctx context.Context, site uuid.UUID) (inherit.Effective, error) {
	var settings inherit.Effective
	err := s.View(ctx, func(tx *ent.Tx) error {
		row, err := tx.DeviceGroup.Query().Where(devicegroup.ID(site), devicegroup.IsSite(true)).Only(ctx)
		if err != nil {
			return missing(err)
		}
		up, err := ancestors(ctx, tx, row)
		settings = inherit.Resolve(up.chain(&site))
		return err
	})
	return settings, err
}

// group reads a group with its agent. One that is a site is no group here, and the other way round.
func group(ctx context.Context, tx *ent.Tx, site bool, id uuid.UUID) (*ent.DeviceGroup, error) {
	row, err := tx.DeviceGroup.Query().Where(devicegroup.ID(id), devicegroup.IsSite(site)).WithAgent().Only(ctx)
	return row, missing(err)
}

// UpdateGroup changes a group or a site by edit, which gets what it is and returns what it shall be. An ifVersion
// other than 0 must be its version, else the error is ErrVersion. A move takes all below along.
func (s *Store) UpdateGroup(ctx context.Context, by Actor, site bool, id uuid.UUID, ifVersion int64, edit func(GroupSpec) (GroupSpec, error)) (Group, error) {
	var changed Group
	err := s.Write(ctx, func(tx *ent.Tx) error {
		old, err := group(ctx, tx, site, id)
		if err != nil {
			return err
		}
		if ifVersion != 0 && ifVersion != old.Version {
			return ErrVersion
		}
		before, err := groupRecord(ctx, tx, old)
		if err != nil {
			return err
		}
		spec, err := edit(groupSpec(old))
		if err != nil {
			return err
		}
		parent, err := checkGroup(ctx, tx, old, site, &spec)
		if err != nil {
			return err
		}
		path, depth := place(parent, spec.Name)
		update := tx.DeviceGroup.UpdateOneID(id).AddVersion(1).SetPath(path).SetDepth(depth)
		setGroup(update.Mutation(), spec)
		row, err := update.Save(ctx)
		if err != nil {
			return fmt.Errorf("update group: %w", err)
		}
		row.Edges.Agent = old.Edges.Agent
		act := Act{Action: kind(site) + ".update", Subject: subject(row), Before: before.GroupSpec}
		if path != old.Path {
			if err := relocate(ctx, tx, id, row.UpdatedAt); err != nil {
				return err
			}
			act.Detail = "moved from " + old.Path + " to " + path
		}
		if changed, err = groupRecord(ctx, tx, row); err != nil {
			return err
		}
		if !inherit.SameBoot(before.Effective, changed.Effective) {
			if err := touch(ctx, tx, inheriting(id), homesOf(id)); err != nil {
				return err
			}
		}
		act.After = changed.GroupSpec
		return Audit(ctx, tx, by, act)
	})
	return changed, err
}

// DeleteGroup deletes a group or a site without nodes and children, else the error is a *Conflict. A site's agent
// loses its credential with it. ifVersion is as that of UpdateGroup.
func (s *Store) DeleteGroup(ctx context.Context, by Actor, site bool, id uuid.UUID, ifVersion int64) error {
	return s.Write(ctx, func(tx *ent.Tx) error {
		row, err := group(ctx, tx, site, id)
		if err != nil {
			return err
		}
		if ifVersion != 0 && ifVersion != row.Version {
			return ErrVersion
		}
		if err := checkUnused(ctx, tx, row); err != nil {
			return err
		}
		if err := forgetSite(ctx, tx, id); err != nil {
			return err
		}
		if err := tx.DeviceGroup.DeleteOne(row).Exec(ctx); err != nil {
			return fmt.Errorf("delete group: %w", err)
		}
		return Audit(ctx, tx, by, Act{Action: kind(site) + ".delete", Subject: subject(row), Before: groupSpec(row)})
	})
}

// checkUnused returns a *Conflict that says what still belongs to a group.
func checkUnused(ctx context.Context, tx *ent.Tx, row *ent.DeviceGroup) error {
	nodes, err := tx.Node.Query().Where(node.Or(node.GroupID(row.ID), node.HomeSiteID(row.ID))).Count(ctx)
	if err != nil {
		return err
	}
	children, err := tx.DeviceGroup.Query().Where(devicegroup.ParentID(row.ID)).Select(devicegroup.FieldIsSite).All(ctx)
	if err != nil {
		return err
	}
	sites := 0
	for _, child := range children {
		if child.IsSite {
			sites++
		}
	}
	var uses []string
	for _, use := range []struct {
		n    int
		what string
	}{{nodes, "node"}, {sites, "child site"}, {len(children) - sites, "group"}} {
		switch use.n {
		case 0:
		case 1:
			uses = append(uses, "1 "+use.what)
		default:
			uses = append(uses, fmt.Sprintf("%d %ss", use.n, use.what))
		}
	}
	if len(uses) > 0 {
		return &Conflict{Message: fmt.Sprintf("the %s still has %s", kind(row.IsSite), strings.Join(uses, ", "))}
	}
	return nil
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
