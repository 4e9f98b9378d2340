package store

import (
	"context"
	"fmt"
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
