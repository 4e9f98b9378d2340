package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/ent"
	"github.com/pureboot/pureboot/ent/node"
)

// world is what the database is filled with: two roots with workflows and parameters of their own, one half of all
// sites below each, five deep.
type world struct {
	roots   [2]uuid.UUID
	halves  [2]uuid.UUID // each the top of half of all sites
	sites   []uuid.UUID
	deepest []uuid.UUID // the sites five deep
	nodes   int         // of all sites
}

// perWrite is how many rows one transaction makes.
const perWrite = 1000

// fill makes the sites as an administrator would, and the nodes in bulk.
func fill(ctx context.Context, st *store.Store, sites, nodes int) (*world, error) {
	w := &world{}
	by := store.Actor{Name: "bench"}
	make := func(name string, parent *uuid.UUID, params map[string]string, workflow string) (uuid.UUID, error) {
		spec := store.GroupSpec{Name: name, ParentID: parent, Params: params}
		if workflow != "" {
			spec.DefaultWorkflowID = &workflow
		}
		g, err := st.CreateGroup(ctx, by, true, spec)
		w.sites = append(w.sites, g.ID)
		return g.ID, err
	}
	for side := range w.roots {
		workflow, err := st.CreateWorkflow(ctx, by, store.WorkflowSpec{
			Name: fmt.Sprint("workflow ", side), InstallMethod: "sanboot", BootURL: "http://boot.example/",
		})
		if err != nil {
			return nil, err
		}
		params := map[string]string{"ntp": fmt.Sprintf("ntp%d.example", side), "dns": "192.0.2.1", "tz": "UTC"}
		if w.roots[side], err = make(fmt.Sprint("root-", side), nil, params, workflow.ID); err != nil {
			return nil, err
		}
	}
	for side := range w.halves {
		left := (sites - 2 + 1 - side) / 2
		level := []uuid.UUID{w.roots[side]}
		for depth := 1; depth <= 4; depth++ {
			width := [...]int{0, 1, 9, 90, left}[depth]
			width = min(width, left)
			left -= width
			next := []uuid.UUID{}
			for i := range width {
				id, err := make(fmt.Sprintf("site-%d-%d-%03d", side, depth, i), &level[i%len(level)], map[string]string{"row": fmt.Sprint(i)}, "")
				if err != nil {
					return nil, err
				}
				next = append(next, id)
			}
			if depth == 1 {
				w.halves[side] = next[0]
			}
			if len(next) > 0 {
				level = next
			}
		}
		w.deepest = append(w.deepest, level...)
	}
	for w.nodes < sites*nodes {
		if err := w.addNodes(ctx, st, min(perWrite, sites*nodes-w.nodes)); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// addNodes makes nodes whose homes are the sites in turn.
func (w *world) addNodes(ctx context.Context, st *store.Store, n int) error {
	states := []node.State{node.StateActive, node.StateActive, node.StateActive, node.StateInstalled, node.StateDiscovered, node.StatePending}
	seen := time.Now().UTC()
	err := st.Write(ctx, func(tx *ent.Tx) error {
		nodes, cards := make([]*ent.NodeCreate, n), make([]*ent.NodeInterfaceCreate, n)
		for i := range n {
			k := w.nodes + i
			id, site := uuid.New(), w.sites[k%len(w.sites)]
			nodes[i] = tx.Node.Create().SetID(id).SetMACAddress(mac(k)).SetHostname(fmt.Sprintf("node-%06d", k)).
				SetState(states[rand.N(len(states))]).SetGroupID(site).SetHomeSiteID(site).SetSerialNumber(fmt.Sprintf("S%06d", k)).
				SetVendor("Example").SetModel("R1").SetParams(map[string]string{"slot": fmt.Sprint(k % 40)})
			if k%5 > 0 {
				nodes[i].SetLastSeenAt(seen.Add(-time.Duration(rand.N(int64(30 * 24 * time.Hour)))))
			}
			cards[i] = tx.NodeInterface.Create().SetNodeID(id).SetMACAddress(mac(k))
		}
		if err := tx.Node.CreateBulk(nodes...).Exec(ctx); err != nil {
			return err
		}
		return tx.NodeInterface.CreateBulk(cards...).Exec(ctx)
	})
	w.nodes += n
	return err
}

// mac returns the address of the k-th node; nodes of one site are spread over all addresses.
func mac(k int) string {
	return fmt.Sprintf("52:54:00:%02x:%02x:%02x", k>>16&0xff, k>>8&0xff, k&0xff)
}
