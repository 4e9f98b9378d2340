package store

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/pureboot/pureboot/central/lifecycle"
	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/ent"
)

// NodeRow is one row of a table of nodes.
type NodeRow struct {
	Line  int
	MAC   string          // of any interface of the node that is to be changed; else a node is made
	State lifecycle.State // of a node that is made; empty means discovered
	Edit  func(*NodeSpec) // writes what the row says into the node
}

// Imported counts what an import did, or would do.
type Imported struct {
	Created int `json:"created"`
	Updated int `json:"updated"`
}

// maxFaults bounds how much of a bad table is told.
const maxFaults = 1000

// ImportNodes makes and changes nodes, all of them or none: then an *Invalid names each fault by its line. A dry run
// finds the same faults and writes nothing.
func (s *Store) ImportNodes(ctx context.Context, by Actor, rows []NodeRow, dry bool) (Imported, error) {
	var done Imported
	rehearsed := errors.New("rehearsed")
	err := s.Write(ctx, func(tx *ent.Tx) error {
		done = Imported{}
		var f faults
		for _, row := range rows {
			found, err := importNode(ctx, tx, by, row, &done)
			if err != nil {
				return err
			}
			if f = append(f, found...); len(f) > maxFaults {
				f = append(f[:maxFaults], wire.ProblemField{Location: "body", Message: "and more"})
				break
			}
		}
		if err := f.err(); err != nil {
			return err
		}
		if dry {
			return rehearsed
		}
		return nil
	})
	if errors.Is(err, rehearsed) {
		err = nil
	}
	return done, err
}

// importNode makes or changes the node of a row, or returns what is wrong with it.
func importNode(ctx context.Context, tx *ent.Tx, by Actor, row NodeRow, done *Imported) (faults, error) {
	in := lifecycle.Install{State: lifecycle.Discovered}
	if row.State == lifecycle.Pending {
		in, _ = in.To(lifecycle.Pending, false, now())
	}
	known, err := tx.Node.Query().Where(byMAC(row.MAC)).WithInterfaces(inOrder).Only(ctx)
	switch {
	case ent.IsNotFound(err):
		var spec NodeSpec
		row.Edit(&spec)
		if _, err = createNode(ctx, tx, by, spec, in); err == nil {
			done.Created++
		}
	case err != nil:
		return nil, err
	default:
		_, err = updateNode(ctx, tx, by, known, func(spec NodeSpec) (NodeSpec, error) {
			row.Edit(&spec)
			return spec, nil
		})
		if err == nil {
			done.Updated++
		}
	}
	at := func(location string) string {
		return fmt.Sprintf("body.lines[%d]%s", row.Line, strings.TrimPrefix(location, "body"))
	}
	if invalid, ok := errors.AsType[*Invalid](err); ok {
		for i := range invalid.Fields {
			invalid.Fields[i].Location = at(invalid.Fields[i].Location)
		}
		return invalid.Fields, nil
	}
	if conflict, ok := errors.AsType[*Conflict](err); ok && conflict.cause == nil { // else the transaction may be over
		return faults{{Location: at(conflict.Field), Message: conflict.Message}}, nil
	}
	return nil, err
}
