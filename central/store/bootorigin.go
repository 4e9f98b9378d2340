package store

import (
	"context"

	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/inherit"
	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/ent"
	"github.com/pureboot/pureboot/ent/node"
)

// Origin is where a value comes from. A placeholder stands for what only the agent knows.
type Origin struct {
	Kind string `json:"kind" enum:"node,workflow,group,site,placeholder"`
	ID   string `json:"id,omitempty"`
	Name string `json:"name,omitempty"`
}

// BootOrigin is all that a node boots by, and where it comes from.
type BootOrigin struct {
	wire.Boot
	WorkflowFrom   Origin            // what says that it is this workflow
	ParamsFrom     map[string]Origin // of Boot.Params
	NextParamsFrom map[string]Origin // of Boot.NextParams
	Site           Origin            // its home; the zero one if it has none
	AgentURL       string            // of the home; empty if nobody has set it
}

// BootOrigin returns what a node boots by, with the origin of each value.
func (s *Store) BootOrigin(ctx context.Context, id uuid.UUID) (BootOrigin, error) {
	var b BootOrigin
	err := s.View(ctx, func(tx *ent.Tx) error {
		row, err := tx.Node.Query().Where(node.ID(id)).WithInterfaces(inOrder).Only(ctx)
		if err != nil {
			return missing(err)
		}
		if b.Boot, err = bootOf(ctx, tx, row); err != nil {
			return err
		}
		up, err := aboveNode(ctx, tx, row)
		if err != nil {
			return err
		}
		if row.HomeSiteID != nil && up[*row.HomeSiteID] != nil {
			home := up[*row.HomeSiteID]
			b.Site = groupOrigin(home)
			if home.AgentURL != nil {
				b.AgentURL = *home.AgentURL
			}
		}
		group, site := up.chain(row.GroupID), up.chain(row.HomeSiteID)
		self := Origin{Kind: "node", ID: b.Node.ID, Name: b.Node.Hostname}
		// named says what an origin of package inherit is, of a boot by a workflow.
		named := func(from string, w *wire.Workflow) Origin {
			id, err := uuid.Parse(from)
			switch {
			case from == inherit.OfNode:
				return self
			case from == inherit.OfWorkflow:
				return Origin{Kind: "workflow", ID: w.ID, Name: w.Name}
			case err == nil && up[id] != nil:
				return groupOrigin(up[id])
			}
			return Origin{}
		}
		origins := func(w *wire.Workflow) map[string]Origin {
			var params map[string]string
			if w != nil {
				params = w.Params
			}
			from := map[string]Origin{}
			for name, value := range inherit.NodeOrigins(site, group, params, b.Node.Params) {
				from[name] = named(value.From, w)
			}
			return from
		}
		b.WorkflowFrom = named(inherit.WorkflowOrigin(b.Node.WorkflowID, group, site).From, b.Workflow)
		b.ParamsFrom, b.NextParamsFrom = origins(b.Workflow), origins(b.NextWorkflow)
		return nil
	})
	return b, err
}

func groupOrigin(row *ent.DeviceGroup) Origin {
	kind := "group"
	if row.IsSite {
		kind = "site"
	}
	return Origin{Kind: kind, ID: row.ID.String(), Name: row.Name}
}
