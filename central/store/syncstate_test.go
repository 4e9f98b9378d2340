package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/lifecycle"
	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/ent"
	"github.com/pureboot/pureboot/ent/nodestatelog"
	"github.com/pureboot/pureboot/ent/nodetag"
	"github.com/pureboot/pureboot/ent/syncstate"
	"github.com/pureboot/pureboot/ent/workflowrevision"
)

var root = Actor{Name: "admin:root", From: "127.0.0.1", RequestID: "r"}

// fixture makes what tests of nodes need: two sites with an agent each, and a workflow.
type fixture struct {
	*Store
	t            *testing.T
	berlin, rome Group
	atBerlin     Actor
	atRome       Actor
	workflow     wire.Workflow
}

func fixed(t *testing.T, o Options) *fixture {
	t.Helper()
	f := &fixture{Store: open(t, o), t: t}
	f.berlin, f.rome = f.site("berlin", nil), f.site("rome", nil)
	f.atBerlin, f.atRome = Actor{Name: "site:berlin", Site: f.berlin.ID}, Actor{Name: "site:rome", Site: f.rome.ID}
	var err error
	f.workflow, err = f.CreateWorkflow(t.Context(), root, WorkflowSpec{Name: "w", InstallMethod: "chain", BootURL: "http://x/"})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *fixture) site(name string, edit func(*GroupSpec)) Group {
	f.t.Helper()
	spec := GroupSpec{Name: name}
	if edit != nil {
		edit(&spec)
	}
	g, err := f.CreateGroup(f.t.Context(), root, true, spec)
	if err != nil {
		f.t.Fatal(err)
	}
	return g
}

func (f *fixture) node(n int, home *uuid.UUID, state lifecycle.State) wire.Node {
	f.t.Helper()
	spec := NodeSpec{MACAddress: fmt.Sprintf("52:54:00:00:00:%02x", n), HomeSiteID: home}
	made, err := f.CreateNode(f.t.Context(), root, spec, state)
	if err != nil {
		f.t.Fatal(err)
	}
	return made
}

// Whatever writes a node or a workflow, its version for the sites grows with its own.
func TestEachWriteGrowsTheVersion(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		f, ctx := fixed(t, o), t.Context()
		n := f.node(1, &f.berlin.ID, lifecycle.Pending)
		id := uuid.MustParse(n.ID)
		var sums []string
		check := func(what, writer string) {
			t.Helper()
			row := f.Read().SyncState.Query().Where(syncstate.EntityID(id)).OnlyX(ctx)
			now := f.Read().Node.GetX(ctx, id)
			if row.Version != now.Version || row.SiteID != *now.HomeSiteID || row.LastModifiedBy != writer {
				t.Errorf("after %s it is %v, and the node %v", what, row, now)
			}
			if slices.Contains(sums, row.Checksum) {
				t.Errorf("after %s the checksum is one from before", what)
			}
			sums = append(sums, row.Checksum)
		}
		check("its creation", "central")
		edit := func(change func(*NodeSpec)) func(NodeSpec) (NodeSpec, error) {
			return func(s NodeSpec) (NodeSpec, error) { change(&s); return s, nil }
		}
		_, err := f.UpdateNode(ctx, root, id, 0, edit(func(s *NodeSpec) {
			s.Interfaces = append(s.Interfaces, wire.Interface{MACAddress: "52:54:00:00:00:99"})
		}))
		if err != nil {
			t.Fatal(err)
		}
		check("another interface", "central")
		if _, err := f.ChangeState(ctx, f.atBerlin, id, 0, wire.StateChange{State: "installing"}); err != nil {
			t.Fatal(err)
		}
		check("a change of state", f.berlin.ID.String())
		if _, err := f.RecordEvent(ctx, f.atBerlin, id, wire.Event{EventType: "install_complete"}); err != nil {
			t.Fatal(err)
		}
		check("an event", f.berlin.ID.String())
		if _, _, err := f.RegisterNode(ctx, f.atBerlin, wire.Registration{MACAddress: n.MACAddress, Vendor: "v"}); err != nil {
			t.Fatal(err)
		}
		check("a sighting with news", f.berlin.ID.String())
		if _, err := f.UpdateNode(ctx, root, id, 0, edit(func(s *NodeSpec) { s.HomeSiteID = &f.rome.ID })); err != nil {
			t.Fatal(err)
		}
		check("a move", "central")

		before := f.Read().SyncState.Query().Where(syncstate.EntityID(id)).OnlyX(ctx).Version
		if _, err := f.RecordEvent(ctx, f.atRome, id, wire.Event{EventType: "heartbeat"}); err != nil {
			t.Fatal(err)
		}
		if _, err := f.UpdateNode(ctx, root, id, 99, edit(func(s *NodeSpec) { s.Hostname = "x" })); !errors.Is(err, ErrVersion) {
			t.Errorf("a write over another version: %v", err)
		}
		if after := f.Read().SyncState.Query().Where(syncstate.EntityID(id)).OnlyX(ctx).Version; after != before {
			t.Errorf("a heartbeat and a refused write took it from %d to %d", before, after)
		}
		if err := f.DeleteNode(ctx, root, id, 0); err != nil {
			t.Fatal(err)
		}
		if n := f.Read().SyncState.Query().Where(syncstate.EntityID(id)).CountX(ctx); n != 0 {
			t.Errorf("%d rows are left of a deleted node", n)
		}
	})
}

func TestRevisionsOfAWorkflowStay(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		f, ctx := fixed(t, o), t.Context()
		id := uuid.MustParse(f.workflow.ID)
		n, err := f.CreateNode(ctx, root, NodeSpec{MACAddress: "52:54:00:00:00:01", HomeSiteID: &f.berlin.ID, WorkflowID: &id}, lifecycle.Pending)
		if err != nil {
			t.Fatal(err)
		}
		change := func(url string) {
			_, err := f.UpdateWorkflow(ctx, root, id, 0, func(s WorkflowSpec) (WorkflowSpec, error) { s.BootURL = url; return s, nil })
			if err != nil {
				t.Fatal(err)
			}
		}
		change("http://x/2")
		if _, err := f.RecordEvent(ctx, f.atBerlin, uuid.MustParse(n.ID), wire.Event{EventType: "install_started"}); err != nil {
			t.Fatal(err)
		}
		change("http://x/3")
		all, err := f.WorkflowRevisions(ctx, id, Paging{})
		if err != nil || len(all.Items) != 3 || all.Items[0].Revision != 3 || all.Items[2].Spec.BootURL != "http://x/" || all.Items[1].By != root.Name {
			t.Errorf("the revisions are %+v, %v", all, err)
		}
		log := f.Read().NodeStateLog.Query().Where(nodestatelog.ToState("installing")).OnlyX(ctx)
		row := f.Read().Node.GetX(ctx, uuid.MustParse(n.ID))
		if log.WorkflowRevision != 2 || log.WorkflowID == nil || *log.WorkflowID != id || row.InstallRevision != 2 || *row.InstallWorkflowID != id {
			t.Errorf("the installation began with %v of %v; the node says %v", log.WorkflowRevision, log.WorkflowID, row)
		}
		if state := f.Read().SyncState.Query().Where(syncstate.EntityID(id)).OnlyX(ctx); state.Version != 3 || state.SiteID != uuid.Nil {
			t.Errorf("its version is %v", state)
		}
		if err := f.DeleteNode(ctx, root, uuid.MustParse(n.ID), 0); err != nil {
			t.Fatal(err)
		}
		if err := f.DeleteWorkflow(ctx, root, id, 0); err != nil {
			t.Fatal(err)
		}
		if left := f.Read().WorkflowRevision.Query().Where(workflowrevision.WorkflowID(id)).CountX(ctx); left != 0 {
			t.Errorf("%d revisions are left", left)
		}
	})
}

func TestTagsAreIndexed(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		f, ctx := fixed(t, o), t.Context()
		n, err := f.CreateNode(ctx, root, NodeSpec{MACAddress: "52:54:00:00:00:01", Tags: []string{"b", "a"}}, lifecycle.Discovered)
		if err != nil {
			t.Fatal(err)
		}
		id := uuid.MustParse(n.ID)
		for _, want := range [][]string{{"b", "a"}, {"a", "c"}, {"a", "c"}, {}} {
			got, err := f.UpdateNode(ctx, root, id, 0, func(s NodeSpec) (NodeSpec, error) { s.Tags = want; return s, nil })
			if err != nil || !slices.Equal(got.Tags, want) {
				t.Fatalf("the node has %v, %v; want %v", got.Tags, err, want)
			}
			rows := f.Read().NodeTag.Query().Where(nodetag.NodeID(id)).Select(nodetag.FieldTag).StringsX(ctx)
			slices.Sort(want)
			slices.Sort(rows)
			if !slices.Equal(rows, want) {
				t.Errorf("the index has %v, want %v", rows, want)
			}
		}
	})
}

// The check before a write finds nothing, since the other's row is not there yet; the constraint does.
func TestAConstraintIsAConflict(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		f, ctx := fixed(t, o), t.Context()
		node := func(tx *ent.Tx, mac string) error {
			return tx.Node.Create().SetMACAddress(mac).Exec(ctx)
		}
		for name, test := range map[string]struct {
			field string
			write func(tx *ent.Tx) error
		}{
			"a name":     {"body.name", func(tx *ent.Tx) error { return tx.DeviceGroup.Create().SetName("rome").SetPath("rome").Exec(ctx) }},
			"an address": {"body.mac_address", func(tx *ent.Tx) error { return errors.Join(node(tx, "x"), node(tx, "x")) }},
			"a reference": {"", func(tx *ent.Tx) error {
				return tx.Node.Create().SetMACAddress("y").SetGroupID(uuid.New()).Exec(ctx)
			}},
			"two columns": {"", func(tx *ent.Tx) error {
				n := tx.Node.Create().SetMACAddress("z").SaveX(ctx)
				tag := func() error { return tx.NodeTag.Create().SetNodeID(n.ID).SetTag("t").Exec(ctx) }
				return errors.Join(tag(), tag())
			}},
		} {
			err := f.Write(ctx, test.write)
			if c, ok := errors.AsType[*Conflict](err); !ok || c.Field != test.field || !ent.IsConstraintError(err) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

// Two that make the same thing at once: one does, and the other is told as if it had come later.
func TestOneOfTwoThatMakeTheSame(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		f := fixed(t, o)
		for i := range 5 {
			name := fmt.Sprintf("same-%d", i)
			made := together(t, 4, func(ctx context.Context) error {
				_, err := f.CreateGroup(ctx, root, true, GroupSpec{Name: name})
				if c, ok := errors.AsType[*Conflict](err); ok && c.Field == "body.name" {
					return errTaken
				}
				return err
			})
			if made != 1 {
				t.Errorf("%d sites named %s were made", made, name)
			}
			mac := fmt.Sprintf("52:54:00:00:01:%02x", i)
			if made := together(t, 4, func(ctx context.Context) error {
				_, err := f.CreateNode(ctx, root, NodeSpec{MACAddress: mac}, lifecycle.Discovered)
				if c, ok := errors.AsType[*Conflict](err); ok && c.Field == "body.mac_address" {
					return errTaken
				}
				return err
			}); made != 1 {
				t.Errorf("%d nodes with %s were made", made, mac)
			}
		}
	})
}

var errTaken = errors.New("taken")

// together calls f from several goroutines at once and counts its successes. Failures other than errTaken are the
// test's.
func together(t *testing.T, n int, f func(context.Context) error) int {
	t.Helper()
	errs := make(chan error, n)
	start := make(chan struct{})
	for range n {
		go func() { <-start; errs <- f(t.Context()) }()
	}
	close(start)
	made := 0
	for range n {
		switch err := <-errs; {
		case err == nil:
			made++
		case !errors.Is(err, errTaken):
			t.Error(err)
		}
	}
	return made
}
