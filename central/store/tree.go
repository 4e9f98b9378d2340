package store

import (
	"context"
	"fmt"
	"time"

	"entgo.io/ent/dialect/sql"
	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/inherit"
	"github.com/pureboot/pureboot/ent"
	"github.com/pureboot/pureboot/ent/devicegroup"
	"github.com/pureboot/pureboot/ent/node"
	"github.com/pureboot/pureboot/ent/predicate"
)

// tree holds groups with all their ancestors.
type tree map[uuid.UUID]*ent.DeviceGroup

// ancestors returns the tree of some groups.
func ancestors(ctx context.Context, tx *ent.Tx, rows ...*ent.DeviceGroup) (tree, error) {
	t := tree{}
	var parents []any
	for _, row := range rows {
		t[row.ID] = row
		if row.ParentID != nil {
			parents = append(parents, *row.ParentID)
		}
	}
	if len(parents) == 0 {
		return t, nil
	}
	above, err := tx.DeviceGroup.Query().Where(upFrom(parents)).All(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the groups above: %w", err)
	}
	for _, row := range above {
		if t[row.ID] == nil {
			t[row.ID] = row
		}
	}
	return t, nil
}

// upFrom selects groups and all above them.
func upFrom(ids []any) predicate.DeviceGroup {
	return func(s *sql.Selector) {
		s.Where(sql.P(func(b *sql.Builder) {
			b.WriteString(s.C(devicegroup.FieldID)).WriteString(` IN (WITH RECURSIVE up(id, parent_id) AS (
				SELECT id, parent_id FROM device_groups WHERE id IN (`).Args(ids...).WriteString(`)
				UNION SELECT p.id, p.parent_id FROM device_groups AS p JOIN up ON p.id = up.parent_id) SELECT id FROM up)`)
		}))
	}
}

// below selects what a column says is one of some groups, or below one; there must be at least one.
func below(column string, roots ...uuid.UUID) func(*sql.Selector) {
	ids := make([]any, len(roots))
	for i, root := range roots {
		ids[i] = root
	}
	return func(s *sql.Selector) {
		s.Where(sql.P(func(b *sql.Builder) {
			b.WriteString(s.C(column)).WriteString(` IN (WITH RECURSIVE below(id) AS (
				SELECT id FROM device_groups WHERE id IN (`).Args(ids...).WriteString(`)
				UNION SELECT c.id FROM device_groups AS c JOIN below ON c.parent_id = below.id) SELECT id FROM below)`)
		}))
	}
}

// inheriting selects the nodes that inherit from some groups.
func inheriting(roots ...uuid.UUID) predicate.Node {
	return node.Or(below(node.FieldGroupID, roots...), below(node.FieldHomeSiteID, roots...))
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

// relocate writes the paths and depths of all below a group whose own has changed.
func relocate(ctx context.Context, tx *ent.Tx, root uuid.UUID, at time.Time) error {
	_, err := tx.ExecContext(ctx, `
		WITH RECURSIVE below(id, path, depth) AS (
			SELECT id, path, depth FROM device_groups WHERE id = $1
			UNION ALL
			SELECT c.id, below.path || '/' || c.name, below.depth + 1
			FROM device_groups AS c JOIN below ON c.parent_id = below.id
		)
		UPDATE device_groups SET path = below.path, depth = below.depth, version = version + 1, updated_at = $2
		FROM below WHERE device_groups.id = below.id AND below.id <> $1`, root, at)
	if err != nil {
		return fmt.Errorf("move the groups below: %w", err)
	}
	return nil
}

// homesOf selects all groups where nodes that inherit from some groups can be at home.
func homesOf(roots ...uuid.UUID) predicate.DeviceGroup {
	return devicegroup.Or(below(devicegroup.FieldID, roots...), homeTo(below(node.FieldGroupID, roots...)))
}

// homeTo selects the homes of nodes. It reads each node once, unlike ent's own predicate, which asks for each group
// whether it has one.
func homeTo(nodes predicate.Node) predicate.DeviceGroup {
	return func(s *sql.Selector) {
		homes := sql.Dialect(s.Dialect()).Select(node.FieldHomeSiteID).From(sql.Table(node.Table))
		nodes(homes)
		s.Where(sql.In(s.C(devicegroup.FieldID), homes))
	}
}

// touch makes nodes change for their agents, although their own records stay as they are. If they are too many to
// name each, the agents of homes, which has to select where they all are, learn that all their nodes have changed.
func touch(ctx context.Context, tx *ent.Tx, nodes predicate.Node, homes predicate.DeviceGroup) error {
	ids, err := tx.Node.Query().Where(nodes).Limit(maxChanged + 1).IDs(ctx)
	if err != nil {
		return fmt.Errorf("find the nodes that changed: %w", err)
	}
	if len(ids) == 0 {
		return nil
	}
	epoch, err := Next(ctx, tx, NodeCounter)
	if err != nil {
		return err
	}
	if len(ids) <= maxChanged {
		err = tx.Node.Update().Where(node.IDIn(ids...)).SetEpoch(epoch.N).Modify(unchanged).Exec(ctx)
	} else {
		err = tx.DeviceGroup.Update().Where(homes).SetNodesLeftEpoch(epoch.N).Modify(unchanged).Exec(ctx)
	}
	if err != nil {
		return fmt.Errorf("note that nodes changed: %w", err)
	}
	return nil
}

// unchanged keeps ent from setting the time of a change.
func unchanged(u *sql.UpdateBuilder) {
	u.Set(devicegroup.FieldUpdatedAt, sql.Expr(devicegroup.FieldUpdatedAt))
}
