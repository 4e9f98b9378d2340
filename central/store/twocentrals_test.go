package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/lifecycle"
	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/ent"
	"github.com/pureboot/pureboot/ent/agentcommand"
	"github.com/pureboot/pureboot/ent/counter"
	"github.com/pureboot/pureboot/ent/devicegroup"
	"github.com/pureboot/pureboot/ent/syncstate"
)

// Two centrals over one database do everything at once that a tree of sites and its machines can be done to, on few
// names, so that they run into each other all the time. Whatever comes of each request, the whole stays in order, also
// while it happens. SQLite has one central, whose requests run into each other alike.
func TestTwoCentrals(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		first := open(t, o)
		second := first
		if o.DSN != "" {
			second = open(t, o)
		}
		rounds := 25
		if testing.Short() {
			rounds = 10
		}
		var clients, watcher sync.WaitGroup
		ended := make(chan struct{})
		for n := range 6 {
			s := []*Store{first, second}[n%2]
			clients.Go(func() {
				c := client{Store: s, rand: rand.New(rand.NewPCG(1, uint64(n)))}
				for range rounds {
					if what, err := c.act(t.Context()); !expected(err) {
						t.Errorf("%s: %v", what, err)
					}
				}
			})
		}
		watcher.Go(func() {
			for {
				checkAll(t, second)
				select {
				case <-ended:
					return
				default:
				}
			}
		})
		clients.Wait()
		close(ended)
		watcher.Wait()
		checkAll(t, first)
		if n := first.Read().AgentCommand.Query().CountX(t.Context()); n == 0 {
			t.Error("no command was ever queued")
		}
	})
}

// expected says whether an error is one that two people who do different things at once have to expect.
func expected(err error) bool {
	_, conflict := errors.AsType[*Conflict](err)
	_, invalid := errors.AsType[*Invalid](err)
	_, transition := errors.AsType[*lifecycle.TransitionError](err)
	return err == nil || conflict || invalid || transition || errors.Is(err, ErrNotFound) || errors.Is(err, ErrVersion)
}

// client does things at random.
type client struct {
	*Store
	rand *rand.Rand
}

func (c *client) name() string { return fmt.Sprintf("g%d", c.rand.IntN(12)) }
func (c *client) mac() string  { return fmt.Sprintf("52:54:00:00:00:%02x", c.rand.IntN(16)) }

// group returns one that is there, or one that is not.
func (c *client) group(ctx context.Context, site bool) uuid.UUID {
	ids := c.Read().DeviceGroup.Query().Where(devicegroup.IsSite(site)).IDsX(ctx)
	if len(ids) == 0 {
		return uuid.New()
	}
	return ids[c.rand.IntN(len(ids))]
}

func (c *client) node(ctx context.Context) uuid.UUID {
	ids := c.Read().Node.Query().IDsX(ctx)
	if len(ids) == 0 {
		return uuid.New()
	}
	return ids[c.rand.IntN(len(ids))]
}

// parent returns a parent for a site or a group, or none.
func (c *client) parent(ctx context.Context, site bool) *uuid.UUID {
	if c.rand.IntN(3) == 0 {
		return nil
	}
	id := c.group(ctx, site || c.rand.IntN(2) == 0)
	return &id
}

// act does one thing, and says what.
func (c *client) act(ctx context.Context) (what string, err error) {
	site := c.rand.IntN(3) > 0
	switch c.rand.IntN(12) {
	case 0, 1:
		_, err = c.CreateGroup(ctx, root, site, GroupSpec{Name: c.name(), ParentID: c.parent(ctx, site)})
		return "create a group", err
	case 2, 3:
		to := c.parent(ctx, site)
		_, err = c.UpdateGroup(ctx, root, site, c.group(ctx, site), 0, func(s GroupSpec) (GroupSpec, error) {
			s.ParentID = to
			return s, nil
		})
		return "move a group", err
	case 4:
		name := c.name()
		_, err = c.UpdateGroup(ctx, root, site, c.group(ctx, site), 0, func(s GroupSpec) (GroupSpec, error) {
			s.Name, s.Description = name, fmt.Sprint(c.rand.IntN(100))
			return s, nil
		})
		return "rename a group", err
	case 5:
		return "delete a group", c.DeleteGroup(ctx, root, site, c.group(ctx, site), 0)
	case 6, 7:
		home, group := c.group(ctx, true), c.group(ctx, false)
		spec := NodeSpec{MACAddress: c.mac(), HomeSiteID: &home, Tags: []string{c.name()}}
		if c.rand.IntN(2) == 0 {
			spec.GroupID = &group
		}
		_, err = c.CreateNode(ctx, root, spec, lifecycle.Pending)
		return "create a node", err
	case 8:
		home, mac := c.group(ctx, true), c.mac()
		_, err = c.UpdateNode(ctx, root, c.node(ctx), 0, func(s NodeSpec) (NodeSpec, error) {
			s.HomeSiteID, s.MACAddress, s.Tags = &home, mac, []string{c.name(), "t"}
			return s, nil
		})
		return "change a node", err
	case 9:
		_, err = c.ChangeState(ctx, root, c.node(ctx), 0, wire.StateChange{State: string(lifecycle.Installing)})
		return "change a node's state", err
	case 10:
		if c.rand.IntN(3) > 0 {
			site := c.group(ctx, true)
			_, _, err = c.RegisterNode(ctx, Actor{Name: "site:x", Site: site}, wire.Registration{MACAddress: c.mac(), Vendor: c.name()})
			return "register a node", err
		}
		return "delete a node", c.DeleteNode(ctx, root, c.node(ctx), 0)
	}
	_, err = c.QueueCommand(ctx, root, c.group(ctx, true), CommandSpec{Command: "sync"})
	return "queue a command", err
}

// checkAll says what is out of order in one snapshot of the database.
func checkAll(t *testing.T, s *Store) {
	t.Helper()
	ctx := t.Context()
	err := s.View(ctx, func(tx *ent.Tx) error {
		groups, err := tx.DeviceGroup.Query().All(ctx)
		if err != nil {
			return err
		}
		checkTree(t, groups)
		if err := checkNumbers(ctx, t, tx, groups); err != nil {
			return err
		}
		return checkNodes(ctx, t, tx)
	})
	if err != nil {
		t.Error(err)
	}
}

// checkTree wants each group in its place below its parent: so there is no circle either, since depth grows downwards.
func checkTree(t *testing.T, groups []*ent.DeviceGroup) {
	t.Helper()
	byID, names := map[uuid.UUID]*ent.DeviceGroup{}, map[string]bool{}
	for _, g := range groups {
		byID[g.ID] = g
		if names[g.Name] {
			t.Errorf("two groups are named %s", g.Name)
		}
		names[g.Name] = true
	}
	for _, g := range groups {
		var parent *ent.DeviceGroup
		if g.ParentID != nil {
			if parent = byID[*g.ParentID]; parent == nil {
				t.Errorf("the parent of %s is gone", g.Path)
				continue
			}
			if g.IsSite && !parent.IsSite {
				t.Errorf("the site %s is below the group %s", g.Path, parent.Path)
			}
		}
		if path, depth := place(parent, g.Name); g.Path != path || g.Depth != depth {
			t.Errorf("%s is at %s, %d deep, and belongs at %s, %d deep", g.Name, g.Path, g.Depth, path, depth)
		}
	}
}

// checkNumbers wants the commands of each site numbered from 1 to what its counter says, and no change of a node
// after what the counter of nodes says.
func checkNumbers(ctx context.Context, t *testing.T, tx *ent.Tx, groups []*ent.DeviceGroup) error {
	t.Helper()
	for _, g := range groups {
		rows, err := tx.AgentCommand.Query().Where(agentcommand.SiteID(g.ID)).Order(ent.Asc(agentcommand.FieldSeq)).All(ctx)
		if err != nil {
			return err
		}
		for i, c := range rows {
			if c.Seq != int64(i+1) {
				t.Errorf("the commands of %s go on with %d after %d", g.Name, c.Seq, i)
			}
		}
		if e, err := Current(ctx, tx, CommandCounter(g.ID)); err == nil && e.N != int64(len(rows)) {
			t.Errorf("%s has %d commands and the counter at %d", g.Name, len(rows), e.N)
		} else if err != nil && !(ent.IsNotFound(err) && len(rows) == 0) {
			return err
		}
	}
	counters, err := tx.Counter.Query().Where(counter.IDNotIn(ContentCounter, NodeCounter)).All(ctx)
	for _, c := range counters {
		if id := strings.TrimPrefix(c.ID, "commands/"); !slices.ContainsFunc(groups, func(g *ent.DeviceGroup) bool { return g.ID.String() == id }) {
			t.Errorf("a counter is left of the site %s", id)
		}
	}
	return err
}

// checkNodes wants every node with its interfaces, tags, log and version, at a home that is there.
func checkNodes(ctx context.Context, t *testing.T, tx *ent.Tx) error {
	t.Helper()
	e, err := Current(ctx, tx, NodeCounter)
	if err != nil {
		return err
	}
	rows, err := tx.Node.Query().WithInterfaces(inOrder).WithTagRows().WithStateLog().WithHomeSite().All(ctx)
	if err != nil {
		return err
	}
	macs := map[string]bool{}
	for _, n := range rows {
		if n.Epoch > e.N || n.Epoch < 1 {
			t.Errorf("%s changed at %d, and the counter is at %d", n.MACAddress, n.Epoch, e.N)
		}
		if n.HomeSiteID == nil || n.Edges.HomeSite == nil || !n.Edges.HomeSite.IsSite {
			t.Errorf("the home of %s is %v", n.MACAddress, n.Edges.HomeSite)
		}
		if len(n.Edges.Interfaces) == 0 || n.Edges.Interfaces[0].MACAddress != n.MACAddress {
			t.Errorf("%s has the interfaces %v", n.MACAddress, n.Edges.Interfaces)
		}
		for _, card := range n.Edges.Interfaces {
			if macs[card.MACAddress] {
				t.Errorf("%s is there twice", card.MACAddress)
			}
			macs[card.MACAddress] = true
		}
		var tags []string
		for _, tag := range n.Edges.TagRows {
			tags = append(tags, tag.Tag)
		}
		slices.Sort(tags)
		if want := slices.Sorted(slices.Values(n.Tags)); !slices.Equal(tags, want) {
			t.Errorf("%s has the tags %v, and the index %v", n.MACAddress, want, tags)
		}
		log := n.Edges.StateLog
		slices.SortFunc(log, func(a, b *ent.NodeStateLog) int { return int(a.ID - b.ID) })
		if len(log) == 0 || log[len(log)-1].ToState != string(n.State) || log[0].FromState != "" {
			t.Errorf("%s is %s, and its log says %v", n.MACAddress, n.State, log)
		}
		state, err := tx.SyncState.Query().Where(syncstate.EntityID(n.ID)).Only(ctx)
		if err != nil || state.Version != n.Version || state.SiteID != *n.HomeSiteID {
			t.Errorf("%s is at version %d, and for the sites at %v, %v", n.MACAddress, n.Version, state, err)
		}
	}
	states, err := tx.SyncState.Query().Count(ctx)
	if err == nil && states != len(rows) {
		t.Errorf("there are %d versions of %d nodes", states, len(rows))
	}
	return err
}
