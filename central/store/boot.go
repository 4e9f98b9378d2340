package store

import (
	"context"

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
	var ids []uuid.UUID
	for _, id := range []*uuid.UUID{row.GroupID, row.HomeSiteID} {
		if id != nil {
			ids = append(ids, *id)
		}
	}
	groups, err := tx.DeviceGroup.Query().Where(devicegroup.IDIn(ids...)).All(ctx)
	if err != nil {
		return wire.Boot{}, err
	}
	up, err := ancestors(ctx, tx, groups...)
	if err != nil {
		return wire.Boot{}, err
	}
	b := wire.Boot{Node: nodeRecord(row)}
	group, site := up.chain(row.GroupID), up.chain(row.HomeSiteID)
	var params map[string]string
	if id, err := uuid.Parse(inherit.Workflow(b.Node.WorkflowID, group, site)); err == nil {
		w, err := tx.Workflow.Get(ctx, id)
		if err != nil {
			return wire.Boot{}, err
		}
		record := workflowRecord(w)
		b.Workflow, params = &record, record.Params
	}
	b.Params = inherit.NodeParams(site, group, params, b.Node.Params)
	return b, nil
}
