package node

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/pureboot/pureboot/central/lifecycle"
	"github.com/pureboot/pureboot/central/wire"
)

// unsteadyCentral loses some requests and some answers.
type unsteadyCentral struct{ *liveCentral }

func (unsteadyCentral) lost() bool { return rand.N(4) == 0 }

func (c unsteadyCentral) BootByMAC(ctx context.Context, mac, uuid string) (wire.Boot, error) {
	if c.lost() {
		return wire.Boot{}, errNoRoute
	}
	return c.liveCentral.BootByMAC(ctx, mac, uuid)
}

func (c unsteadyCentral) Event(ctx context.Context, id string, e wire.Event) (wire.Node, error) {
	if c.lost() {
		return wire.Node{}, errNoRoute
	}
	n, err := c.liveCentral.Event(ctx, id, e)
	if c.lost() {
		return wire.Node{}, errNoRoute
	}
	return n, err
}

// TestReportedStateIsNeverTakenBack: whatever else goes on, a machine that was told that its report was taken is never
// again booted as if it had not made it.
func TestReportedStateIsNeverTakenBack(t *testing.T) {
	central := newCentral()
	const machines = 8
	for i := range machines {
		b := machine(i)
		central.nodes[b.Node.ID] = b
	}
	way := &line{to: central}
	s := at(t, t.TempDir(), way)
	for i := range machines {
		s.mustFind(t, machine(i).Node.MACAddress)
	}
	way.plug(unsteadyCentral{central})

	rank := map[string]int{}
	steps := []lifecycle.EventType{lifecycle.BootStarted, lifecycle.InstallStarted, lifecycle.InstallComplete, lifecycle.FirstBoot}
	for i, state := range []lifecycle.State{lifecycle.Pending, lifecycle.Installing, lifecycle.Installed, lifecycle.Active} {
		rank[string(state)] = i
	}
	ctx, stop := context.WithCancel(t.Context())
	var others, boots sync.WaitGroup
	others.Go(func() { // the heartbeat
		for ctx.Err() == nil {
			_ = s.Deliver(ctx) // some reports wait for the next time
			if err := s.ExpireAll(context.WithoutCancel(ctx)); err != nil {
				t.Error(err)
			}
		}
	})
	for i := range machines {
		m := machine(i).Node
		others.Go(func() { // somebody else looks at the same machine
			for ctx.Err() == nil {
				_, _ = s.ByMAC(ctx, m.MACAddress, "")
			}
		})
		boots.Go(func() {
			reached := 0
			for _, step := range steps {
				n, _, err := s.Event(ctx, m.ID, wire.Event{EventType: string(step)})
				if err != nil {
					t.Error(err)
					return
				}
				reached = max(reached, rank[n.State])
				for range 20 {
					rec, err := s.ByMAC(ctx, m.MACAddress, "")
					if err != nil {
						t.Error(err)
						return
					}
					if now := rank[rec.Node.State]; now < reached {
						t.Errorf("machine %d reached %s and is booted as %s, from %q", i, n.State, rec.Node.State, rec.Source)
						return
					} else {
						reached = now
					}
				}
			}
		})
	}
	boots.Wait()
	stop()
	others.Wait()

	way.plug(central)
	if err := s.Deliver(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.mustWait(t, 0)
	for i := range machines {
		m := central.node(machine(i).Node.ID)
		rec := s.mustFind(t, m.MACAddress)
		if m.State != string(lifecycle.Active) || rec.Node.State != m.State || m.InstallAttempts != 1 {
			t.Errorf("machine %d is %s at central after %d attempts, %s here", i, m.State, m.InstallAttempts, rec.Node.State)
		}
	}
}
