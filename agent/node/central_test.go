package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pureboot/pureboot/central/lifecycle"
	"github.com/pureboot/pureboot/central/wire"
)

// machine returns the n-th machine as central has it: to be installed, with a workflow.
func machine(n int) wire.Boot {
	return wire.Boot{
		Node: wire.Node{
			ID:         fmt.Sprintf("00000000-0000-4000-8000-%012x", n),
			MACAddress: fmt.Sprintf("52:54:00:00:%02x:%02x", n>>8, n&0xff),
			SystemUUID: fmt.Sprintf("11111111-0000-4000-8000-%012x", n),
			State:      string(lifecycle.Pending), InstallSeq: 1, Version: 1, WorkflowID: "workflow",
			Params: map[string]string{}, Tags: []string{},
		},
		Workflow: &wire.Workflow{ID: "workflow", Name: "debian"},
		Params:   map[string]string{},
	}
}

var errNoRoute = errors.New("no route to host")

// liveCentral answers at once, as central does: events take effect once, and each write makes a new version.
type liveCentral struct {
	mu         sync.Mutex
	nodes      map[string]wire.Boot
	events     map[string]bool // node + event id
	order      []string        // node + event type, as they took effect
	questions  int             // for boot records
	registered []wire.Registration
}

func newCentral(boots ...wire.Boot) *liveCentral {
	c := &liveCentral{nodes: map[string]wire.Boot{}, events: map[string]bool{}}
	for _, b := range boots {
		c.nodes[b.Node.ID] = b
	}
	return c
}

func (c *liveCentral) BootByMAC(_ context.Context, mac, uuid string) (wire.Boot, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.questions++
	for _, b := range c.nodes {
		if hasCard(&b.Node, mac) {
			return b, nil
		}
	}
	for _, b := range c.nodes {
		if uuid != "" && b.Node.SystemUUID == uuid {
			return b, nil
		}
	}
	return wire.Boot{}, &wire.Refusal{Status: 404}
}

func (c *liveCentral) BootByID(_ context.Context, id string) (wire.Boot, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.questions++
	b, ok := c.nodes[id]
	if !ok {
		return b, &wire.Refusal{Status: 404}
	}
	return b, nil
}

func (c *liveCentral) Register(_ context.Context, r wire.Registration) (wire.Node, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.registered = append(c.registered, r)
	for id, b := range c.nodes {
		if hasCard(&b.Node, r.MACAddress) || r.SystemUUID != "" && b.Node.SystemUUID == r.SystemUUID {
			b.Node.Vendor, b.Node.Version = r.Vendor, b.Node.Version+1
			c.nodes[id] = b
			return b.Node, nil
		}
	}
	b := machine(1000 + len(c.nodes))
	b.Node.MACAddress, b.Node.SystemUUID, b.Node.State = r.MACAddress, r.SystemUUID, string(lifecycle.Discovered)
	c.nodes[b.Node.ID] = b
	return b.Node, nil
}

func (c *liveCentral) ChangeState(_ context.Context, id string, change wire.StateChange) (wire.Node, error) {
	return c.edit(id, func(n *wire.Node) error {
		in, err := install(n).To(lifecycle.State(change.State), change.Force, time.Now())
		if err != nil {
			return &wire.Refusal{Status: 409, Problem: wire.Problem{Detail: err.Error()}}
		}
		n.State, n.InstallSeq = string(in.State), in.Seq
		return nil
	})
}

func (c *liveCentral) Event(_ context.Context, id string, e wire.Event) (wire.Node, error) {
	return c.edit(id, func(n *wire.Node) error {
		if key := id + e.EventID; !c.events[key] {
			c.events[key] = true
			c.order = append(c.order, n.MACAddress+" "+e.EventType)
			apply(n, e, time.Now())
		}
		return nil
	})
}

func (c *liveCentral) Online() bool { return true }

// edit changes a node as an administrator or a report would.
func (c *liveCentral) edit(id string, do func(*wire.Node) error) (wire.Node, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	b, ok := c.nodes[id]
	if !ok {
		return wire.Node{}, &wire.Refusal{Status: 404}
	}
	if err := do(&b.Node); err != nil {
		return wire.Node{}, err
	}
	b.Node.Version++
	c.nodes[id] = b
	return b.Node, nil
}

func (c *liveCentral) asked() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.questions
}

func (c *liveCentral) took() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.order)
}

func (c *liveCentral) node(id string) wire.Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nodes[id].Node
}

// deadCentral is not reached. Whether the agent knows that already is another matter.
type deadCentral struct{ known bool }

func (deadCentral) BootByMAC(context.Context, string, string) (wire.Boot, error) {
	return wire.Boot{}, errNoRoute
}

func (deadCentral) BootByID(context.Context, string) (wire.Boot, error) {
	return wire.Boot{}, errNoRoute
}

func (deadCentral) Register(context.Context, wire.Registration) (wire.Node, error) {
	return wire.Node{}, errNoRoute
}

func (deadCentral) ChangeState(context.Context, string, wire.StateChange) (wire.Node, error) {
	return wire.Node{}, errNoRoute
}

func (deadCentral) Event(context.Context, string, wire.Event) (wire.Node, error) {
	return wire.Node{}, errNoRoute
}
func (d deadCentral) Online() bool { return !d.known }

// refusingCentral answers everything with one status.
type refusingCentral int

func (c refusingCentral) refusal() error { return &wire.Refusal{Status: int(c)} }

func (c refusingCentral) BootByMAC(context.Context, string, string) (wire.Boot, error) {
	return wire.Boot{}, c.refusal()
}

func (c refusingCentral) BootByID(context.Context, string) (wire.Boot, error) {
	return wire.Boot{}, c.refusal()
}

func (c refusingCentral) Register(context.Context, wire.Registration) (wire.Node, error) {
	return wire.Node{}, c.refusal()
}

func (c refusingCentral) ChangeState(context.Context, string, wire.StateChange) (wire.Node, error) {
	return wire.Node{}, c.refusal()
}

func (c refusingCentral) Event(context.Context, string, wire.Event) (wire.Node, error) {
	return wire.Node{}, c.refusal()
}
func (refusingCentral) Online() bool { return true }

// slowCentral takes its time before it acts.
type slowCentral struct {
	*liveCentral
	delay   time.Duration
	offline bool // as the agent sees it
}

func (c slowCentral) Online() bool { return !c.offline }

func (c slowCentral) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(c.delay):
		return nil
	}
}

func (c slowCentral) BootByMAC(ctx context.Context, mac, uuid string) (wire.Boot, error) {
	if err := c.wait(ctx); err != nil {
		return wire.Boot{}, err
	}
	return c.liveCentral.BootByMAC(ctx, mac, uuid)
}

func (c slowCentral) Event(ctx context.Context, id string, e wire.Event) (wire.Node, error) {
	if err := c.wait(ctx); err != nil {
		return wire.Node{}, err
	}
	return c.liveCentral.Event(ctx, id, e)
}

// lateCentral finds its answer to a lookup at once and sends it only when let.
type lateCentral struct {
	*liveCentral
	let chan struct{}
}

func (c lateCentral) BootByMAC(ctx context.Context, mac, uuid string) (wire.Boot, error) {
	b, err := c.liveCentral.BootByMAC(ctx, mac, uuid)
	<-c.let
	return b, err
}

// forgetfulLine loses central's answers to events, after they took effect.
type forgetfulLine struct{ *liveCentral }

func (c forgetfulLine) Event(ctx context.Context, id string, e wire.Event) (wire.Node, error) {
	if _, err := c.liveCentral.Event(ctx, id, e); err != nil {
		return wire.Node{}, err
	}
	return wire.Node{}, errNoRoute
}

// line is the way to a central that a test may replace by another.
type line struct {
	mu sync.Mutex
	to Central
}

func (l *line) plug(c Central) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.to = c
}

func (l *line) central() Central {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.to
}

func (l *line) BootByMAC(ctx context.Context, mac, uuid string) (wire.Boot, error) {
	return l.central().BootByMAC(ctx, mac, uuid)
}

func (l *line) BootByID(ctx context.Context, id string) (wire.Boot, error) {
	return l.central().BootByID(ctx, id)
}

func (l *line) Register(ctx context.Context, r wire.Registration) (wire.Node, error) {
	return l.central().Register(ctx, r)
}

func (l *line) ChangeState(ctx context.Context, id string, change wire.StateChange) (wire.Node, error) {
	return l.central().ChangeState(ctx, id, change)
}

func (l *line) Event(ctx context.Context, id string, e wire.Event) (wire.Node, error) {
	return l.central().Event(ctx, id, e)
}
func (l *line) Online() bool { return l.central().Online() }

// ticking opens a store with the defaults, for a test whose clock is its own.
func ticking(t *testing.T, dir string, c Central) *Store {
	t.Helper()
	return open(t, Options{Dir: dir, Central: c, Log: testLog(t)})
}

// at opens a store with patience for a machine that has other work than this test.
func at(t *testing.T, dir string, c Central) *Store {
	t.Helper()
	return open(t, Options{Dir: dir, Central: c, Patience: time.Minute, Log: testLog(t)})
}

func open(t *testing.T, opt Options) *Store {
	t.Helper()
	s, err := Open(t.Context(), opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *Store) mustFind(t *testing.T, mac string) Record {
	t.Helper()
	rec, err := s.ByMAC(t.Context(), mac, "")
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

// report is an event of a machine, which must be taken.
func (s *Store) mustReport(t *testing.T, id string, kind lifecycle.EventType) (state string, provisional bool) {
	t.Helper()
	n, provisional, err := s.Event(t.Context(), id, wire.Event{EventType: string(kind)})
	if err != nil {
		t.Fatalf("%s: %v", kind, err)
	}
	return n.State, provisional
}

func (s *Store) mustWait(t *testing.T, want int) {
	t.Helper()
	n, err := s.Waiting(t.Context())
	if err != nil || n != want {
		t.Fatalf("%d reports wait (%v), want %d", n, err, want)
	}
}
