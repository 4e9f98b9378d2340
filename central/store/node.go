package store

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/lifecycle"
	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/ent"
	"github.com/pureboot/pureboot/ent/migrationclaim"
	"github.com/pureboot/pureboot/ent/node"
	"github.com/pureboot/pureboot/ent/nodeinterface"
	"github.com/pureboot/pureboot/ent/predicate"
)

// CreateNode makes a node, discovered or pending.
func (s *Store) CreateNode(ctx context.Context, by Actor, spec NodeSpec, state lifecycle.State) (wire.Node, error) {
	in := lifecycle.Install{State: lifecycle.Discovered}
	if state == lifecycle.Pending {
		in, _ = in.To(lifecycle.Pending, false, now())
	} else if state != lifecycle.Discovered {
		var f faults
		f.add("state", state, "a node begins as discovered or pending")
		return wire.Node{}, f.err()
	}
	var made wire.Node
	err := s.Write(ctx, func(tx *ent.Tx) (err error) {
		made, err = createNode(ctx, tx, by, spec, in)
		return err
	})
	return made, err
}

func createNode(ctx context.Context, tx *ent.Tx, by Actor, spec NodeSpec, in lifecycle.Install) (wire.Node, error) {
	if err := checkNode(ctx, tx, uuid.Nil, &spec); err != nil {
		return wire.Node{}, err
	}
	made, err := insertNode(ctx, tx, by, spec, in, "created")
	if err != nil {
		return made, err
	}
	return made, auditAdmin(ctx, tx, by, Act{Action: "node.create", Subject: "node/" + made.ID, After: made})
}

// Node returns a node.
func (s *Store) Node(ctx context.Context, by Actor, id uuid.UUID) (wire.Node, error) {
	row, err := s.reader.Node.Query().Where(visible(by, id)).WithInterfaces(inOrder).Only(ctx)
	if err != nil {
		return wire.Node{}, missing(err)
	}
	return nodeRecord(row), nil
}

// UpdateNode changes a node by edit, which gets what it is and returns what it shall be. An ifVersion other than 0
// must be its version, else the error is ErrVersion.
func (s *Store) UpdateNode(ctx context.Context, by Actor, id uuid.UUID, ifVersion int64, edit func(NodeSpec) (NodeSpec, error)) (wire.Node, error) {
	var changed wire.Node
	err := s.Write(ctx, func(tx *ent.Tx) error {
		row, err := tx.Node.Query().Where(visible(by, id)).WithInterfaces(inOrder).Only(ctx)
		if err != nil {
			return missing(err)
		}
		if ifVersion != 0 && ifVersion != row.Version {
			return ErrVersion
		}
		changed, err = updateNode(ctx, tx, by, row, edit)
		return err
	})
	return changed, err
}

// updateNode changes a node whose interfaces were loaded. What is wrong with the change it finds before it writes.
func updateNode(ctx context.Context, tx *ent.Tx, by Actor, row *ent.Node, edit func(NodeSpec) (NodeSpec, error)) (wire.Node, error) {
	var changed wire.Node
	before := nodeRecord(row)
	old := nodeSpec(row)
	spec, err := edit(nodeSpec(row))
	if err != nil {
		return changed, err
	}
	if err := faults(spec.Check()).err(); err != nil {
		return changed, err
	}
	if next, state := lifecycle.NextBoot(spec.NextBoot), lifecycle.State(row.State); spec.NextBoot != old.NextBoot && !next.Allowed(state) {
		return changed, &Conflict{Field: "body.next_boot", Message: fmt.Sprintf("a node that is %s cannot be ordered to boot so", state)}
	}
	replacePrimary(old, &spec)
	if err := checkNode(ctx, tx, row.ID, &spec); err != nil {
		return changed, err
	}
	if !slices.Equal(old.Interfaces, spec.Interfaces) {
		if _, err := tx.NodeInterface.Delete().Where(nodeinterface.NodeID(row.ID)).Exec(ctx); err != nil {
			return changed, fmt.Errorf("update interfaces: %w", err)
		}
		if err := insertInterfaces(ctx, tx, row.ID, spec.Interfaces); err != nil {
			return changed, err
		}
	}
	if err := replaceTags(ctx, tx, row.ID, old.Tags, spec.Tags); err != nil {
		return changed, err
	}
	update := tx.Node.UpdateOneID(row.ID)
	setNode(update.Mutation(), spec)
	if changed, err = saveNode(ctx, tx, by, update); err != nil {
		return changed, err
	}
	if text(old.HomeSiteID) != text(spec.HomeSiteID) {
		if err := left(ctx, tx, old.HomeSiteID); err != nil {
			return changed, err
		}
		if err := endClaim(ctx, tx, by, row.ID); err != nil {
			return changed, err
		}
	}
	return changed, auditAdmin(ctx, tx, by, Act{Action: "node.update", Subject: "node/" + changed.ID, Before: before, After: changed})
}

// DeleteNode deletes a node with its logs, the claims to it and the conflicts over it. ifVersion is as that of
// UpdateNode.
func (s *Store) DeleteNode(ctx context.Context, by Actor, id uuid.UUID, ifVersion int64) error {
	return s.Write(ctx, func(tx *ent.Tx) error {
		row, err := tx.Node.Query().Where(visible(by, id)).WithInterfaces(inOrder).Only(ctx)
		if err != nil {
			return missing(err)
		}
		if ifVersion != 0 && ifVersion != row.Version {
			return ErrVersion
		}
		if err := withdrawApprovals(ctx, tx, migrationclaim.NodeID(id), "the node was deleted"); err != nil {
			return err
		}
		if err := tx.Node.DeleteOneID(id).Exec(ctx); err != nil {
			return fmt.Errorf("delete node: %w", err)
		}
		if err := forgetConflicts(ctx, tx, NodeEntity, id); err != nil {
			return err
		}
		if err := NoteDelete(ctx, tx, NodeEntity, id); err != nil {
			return err
		}
		if err := left(ctx, tx, row.HomeSiteID); err != nil {
			return err
		}
		return auditAdmin(ctx, tx, by, Act{Action: "node.delete", Subject: "node/" + id.String(), Before: nodeRecord(row)})
	})
}

// left lets the agent of a site, if it is one, know that a node is no longer there.
func left(ctx context.Context, tx *ent.Tx, site *uuid.UUID) error {
	if site == nil {
		return nil
	}
	row, err := tx.DeviceGroup.Get(ctx, *site)
	if err != nil {
		return err
	}
	epoch, err := Next(ctx, tx, NodeCounter)
	if err != nil {
		return err
	}
	if err := row.Update().SetNodesLeftEpoch(epoch.N).SetUpdatedAt(row.UpdatedAt).Exec(ctx); err != nil {
		return fmt.Errorf("note that a node left: %w", err)
	}
	return nil
}

// visible selects a node if the actor may see it.
func visible(by Actor, id uuid.UUID) predicate.Node {
	if by.agent() {
		return node.And(node.ID(id), node.HomeSiteID(by.Site))
	}
	return node.ID(id)
}

// insertNode writes a new node and the begin of its log.
func insertNode(ctx context.Context, tx *ent.Tx, by Actor, spec NodeSpec, in lifecycle.Install, comment string) (wire.Node, error) {
	epoch, err := Next(ctx, tx, NodeCounter)
	if err != nil {
		return wire.Node{}, err
	}
	at := now()
	create := tx.Node.Create().SetStateChangedAt(at).SetEpoch(epoch.N)
	in.Next = lifecycle.NextBoot(spec.NextBoot)
	setInstall(create.Mutation(), in)
	setNode(create.Mutation(), spec)
	if by.agent() {
		create.SetLastSeenAt(at)
	}
	row, err := create.Save(ctx)
	if err != nil {
		return wire.Node{}, fmt.Errorf("create node: %w", err)
	}
	if err := insertInterfaces(ctx, tx, row.ID, spec.Interfaces); err != nil {
		return wire.Node{}, err
	}
	if err := replaceTags(ctx, tx, row.ID, nil, spec.Tags); err != nil {
		return wire.Node{}, err
	}
	if err := logStep(ctx, tx, row.ID, lifecycle.Step{To: in.State}, by.Name, comment, at); err != nil {
		return wire.Node{}, err
	}
	return noted(ctx, tx, by, row.ID)
}

func insertInterfaces(ctx context.Context, tx *ent.Tx, id uuid.UUID, cards []wire.Interface) error {
	for i, card := range cards {
		err := tx.NodeInterface.Create().SetNodeID(id).SetMACAddress(card.MACAddress).SetName(card.Name).SetPosition(i).Exec(ctx)
		if err != nil {
			return fmt.Errorf("add interface %s: %w", card.MACAddress, err)
		}
	}
	return nil
}

// saveNode writes a change that agents must see, and returns the node as it is then. Its interfaces have to be written
// before.
func saveNode(ctx context.Context, tx *ent.Tx, by Actor, update *ent.NodeUpdateOne) (wire.Node, error) {
	epoch, err := Next(ctx, tx, NodeCounter)
	if err != nil {
		return wire.Node{}, err
	}
	id, _ := update.Mutation().ID() // it updates one
	if err := update.AddVersion(1).SetEpoch(epoch.N).Exec(ctx); err != nil {
		return wire.Node{}, fmt.Errorf("update node: %w", err)
	}
	return noted(ctx, tx, by, id)
}

// noted returns a node that was written, and makes its version for the sites grow.
func noted(ctx context.Context, tx *ent.Tx, by Actor, id uuid.UUID) (wire.Node, error) {
	row, err := tx.Node.Query().Where(node.ID(id)).WithInterfaces(inOrder).Only(ctx)
	if err != nil {
		return wire.Node{}, missing(err)
	}
	return nodeRecord(row), noteNode(ctx, tx, by, row)
}

func reload(ctx context.Context, tx *ent.Tx, id uuid.UUID) (wire.Node, error) {
	row, err := tx.Node.Query().Where(node.ID(id)).WithInterfaces(inOrder).Only(ctx)
	if err != nil {
		return wire.Node{}, missing(err)
	}
	return nodeRecord(row), nil
}

// inOrder puts the primary interface first.
func inOrder(q *ent.NodeInterfaceQuery) { q.Order(ent.Asc(nodeinterface.FieldPosition)) }
