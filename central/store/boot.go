package store

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/inherit"
	"github.com/pureboot/pureboot/central/lifecycle"
	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/ent"
	"github.com/pureboot/pureboot/ent/devicegroup"
	"github.com/pureboot/pureboot/ent/node"
)

// BootByID returns all that is needed to boot a node.
func (s *Store) BootByID(ctx context.Context, by Actor, id uuid.UUID) (wire.Boot, error) {
	return s.boot(ctx, by, func(tx *ent.Tx) (*ent.Node, error) {
		return tx.Node.Query().Where(node.ID(id)).WithInterfaces(inOrder).Only(ctx)
	})
}

// BootByMAC is BootByID of the node that has the MAC address, else the system UUID.
func (s *Store) BootByMAC(ctx context.Context, by Actor, mac, system string) (wire.Boot, error) {
	mac, err := lifecycle.ParseMAC(mac)
	if err != nil {
		return wire.Boot{}, &Invalid{Fields: []wire.ProblemField{{Location: "query.mac", Message: err.Error()}}}
	}
	return s.boot(ctx, by, func(tx *ent.Tx) (*ent.Node, error) { return lookup(ctx, tx, mac, systemUUID(system)) })
}

func (s *Store) boot(ctx context.Context, by Actor, find func(*ent.Tx) (*ent.Node, error)) (wire.Boot, error) {
	var b wire.Boot
	err := s.View(ctx, func(tx *ent.Tx) error {
		row, err := find(tx)
		if err != nil {
			return missing(err)
		}
		if by.agent() && (row.HomeSiteID == nil || *row.HomeSiteID != by.Site) {
			return ErrNotFound
		}
		b, err = bootOf(ctx, tx, row)
		return err
	})
	return b, err
}

// bootOf puts together a node, the workflow in effect for it and its parameters.
func bootOf(ctx context.Context, tx *ent.Tx, row *ent.Node) (wire.Boot, error) {
	up, err := aboveNode(ctx, tx, row)
	if err != nil {
		return wire.Boot{}, err
	}
	b := wire.Boot{Node: nodeRecord(row)}
	group, site := up.chain(row.GroupID), up.chain(row.HomeSiteID)
	// with returns the workflow of an id, if it is one, and the node's parameters with those of the workflow.
	with := func(text string) (*wire.Workflow, map[string]string, error) {
		id, err := uuid.Parse(text)
		if err != nil {
			return nil, inherit.NodeParams(site, group, nil, b.Node.Params), nil
		}
		row, err := tx.Workflow.Get(ctx, id)
		if err != nil {
			return nil, nil, err
		}
		w := workflowRecord(row)
		return &w, inherit.NodeParams(site, group, w.Params, b.Node.Params), nil
	}
	if b.Workflow, b.Params, err = with(inherit.Workflow(b.Node.WorkflowID, group, site)); err != nil {
		return b, err
	}
	if id := lifecycle.NextBoot(b.Node.NextBoot).Workflow(); id != "" {
		b.NextWorkflow, b.NextParams, err = with(id)
	}
	return b, err
}

// aboveNode returns the group and the home of a node with all above them: of each what it says of how nodes boot, and
// what it is called.
func aboveNode(ctx context.Context, tx *ent.Tx, row *ent.Node) (tree, error) {
	var ids []any
	for _, id := range []*uuid.UUID{row.GroupID, row.HomeSiteID} {
		if id != nil {
			ids = append(ids, *id)
		}
	}
	if len(ids) == 0 {
		return nil, nil
	}
	rows, err := tx.DeviceGroup.Query().Where(upFrom(ids)).Select(
		devicegroup.FieldParentID, devicegroup.FieldParams, devicegroup.FieldDefaultWorkflowID,
		devicegroup.FieldName, devicegroup.FieldIsSite, devicegroup.FieldAgentURL,
	).All(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the groups above: %w", err)
	}
	t := tree{}
	for _, row := range rows {
		t[row.ID] = row
	}
	return t, nil
}
