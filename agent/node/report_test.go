package node

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pureboot/pureboot/central/lifecycle"
	"github.com/pureboot/pureboot/central/wire"
)

func TestReportIsPassedOnAndReflected(t *testing.T) {
	m, central := machine(1).Node, newCentral(machine(1))
	s := at(t, t.TempDir(), central)
	s.mustFind(t, m.MACAddress)
	for kind, want := range map[lifecycle.EventType]lifecycle.State{lifecycle.InstallStarted: lifecycle.Installing} {
		if state, provisional := s.mustReport(t, m.ID, kind); state != string(want) || provisional {
			t.Errorf("%s: %s, provisional %v", kind, state, provisional)
		}
	}
	if rec := s.mustFind(t, m.MACAddress); rec.Source != Fresh || rec.Node.State != string(lifecycle.Installing) {
		t.Errorf("the copy is %s, from %q", rec.Node.State, rec.Source)
	}
	s.mustWait(t, 0)
}

// TestMachineLeavesBeforeItsReportIsAnswered: firmware and installers have little patience.
func TestMachineLeavesBeforeItsReportIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, central := machine(1).Node, newCentral(machine(1))
		way := &line{to: central}
		s := ticking(t, t.TempDir(), way)
		s.mustFind(t, m.MACAddress)
		way.plug(slowCentral{liveCentral: central, delay: 3 * time.Second})
		machine, leave := context.WithTimeout(t.Context(), time.Second)
		defer leave()
		n, provisional, err := s.Event(machine, m.ID, wire.Event{EventType: string(lifecycle.InstallComplete)})
		if err != nil || !provisional || n.State != string(lifecycle.Installed) {
			t.Errorf("%s, provisional %v, %v", n.State, provisional, err)
		}
		s.mustWait(t, 1)
	})
}

// departingMachine ends its request just as central answers it.
type departingMachine struct {
	*liveCentral
	leave func()
}

func (c departingMachine) Event(ctx context.Context, id string, e wire.Event) (wire.Node, error) {
	defer c.leave()
	return c.liveCentral.Event(ctx, id, e)
}

func TestMachineLeavesAfterItsReportIsAnswered(t *testing.T) {
	m, central := machine(1).Node, newCentral(machine(1))
	way := &line{to: central}
	s := at(t, t.TempDir(), way)
	s.mustFind(t, m.MACAddress)
	ctx, leave := context.WithCancel(t.Context())
	way.plug(departingMachine{central, leave})
	if _, _, err := s.Event(ctx, m.ID, wire.Event{EventType: string(lifecycle.InstallComplete)}); err != nil {
		t.Error(err)
	}
	if rec := s.mustFind(t, m.MACAddress); rec.Node.State != string(lifecycle.Installed) || rec.Source != Fresh {
		t.Errorf("the copy is %s, from %q", rec.Node.State, rec.Source)
	}
}

func TestRefusedReportIsNotKept(t *testing.T) {
	m, central := machine(1).Node, newCentral(machine(1))
	way := &line{to: central}
	s := at(t, t.TempDir(), way)
	s.mustFind(t, m.MACAddress)
	for _, status := range []int{404, 409, 422} {
		way.plug(refusingCentral(status))
		_, provisional, err := s.Event(t.Context(), m.ID, wire.Event{EventType: string(lifecycle.InstallComplete)})
		if refusal, ok := errors.AsType[*wire.Refusal](err); !ok || refusal.Status != status || provisional {
			t.Errorf("%d: provisional %v, %v", status, provisional, err)
		}
	}
	s.mustWait(t, 0)
	way.plug(central)
	if rec := s.mustFind(t, m.MACAddress); rec.Source != FromCentral || rec.Node.State != string(lifecycle.Pending) {
		t.Errorf("a copy that central contradicted is still trusted: %s from %q", rec.Node.State, rec.Source)
	}
}

func TestReportOfAStrangerCannotWait(t *testing.T) {
	s := at(t, t.TempDir(), deadCentral{})
	_, provisional, err := s.Event(t.Context(), machine(1).Node.ID, wire.Event{EventType: string(lifecycle.InstallComplete)})
	if !errors.Is(err, ErrUnavailable) || provisional {
		t.Errorf("provisional %v, %v", provisional, err)
	}
	s.mustWait(t, 0)
}

func TestTransition(t *testing.T) {
	m, central := machine(1).Node, newCentral(machine(1))
	way := &line{to: central}
	s := at(t, t.TempDir(), way)
	s.mustFind(t, m.MACAddress)
	to := wire.StateChange{State: string(lifecycle.Installing)}
	if n, err := s.ChangeState(t.Context(), m.ID, to); err != nil || n.State != to.State {
		t.Fatalf("%s, %v", n.State, err)
	}
	if rec := s.mustFind(t, m.MACAddress); rec.Node.State != to.State || rec.Source != Fresh {
		t.Errorf("the copy is %s, from %q", rec.Node.State, rec.Source)
	}
	_, err := s.ChangeState(t.Context(), m.ID, wire.StateChange{State: string(lifecycle.Migrating)})
	if refusal, ok := errors.AsType[*wire.Refusal](err); !ok || refusal.Status != 409 {
		t.Errorf("a transition that is not allowed: %v", err)
	}
	for name, c := range map[string]Central{"dead": deadCentral{}, "broken": refusingCentral(500), "unwilling": refusingCentral(401)} {
		way.plug(c)
		if _, err := s.ChangeState(t.Context(), m.ID, to); !errors.Is(err, ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The answer may have been lost and the transition not.
	way.plug(central)
	if rec := s.mustFind(t, m.MACAddress); rec.Source != FromCentral {
		t.Errorf("the copy is trusted after a transition of unknown end: %q", rec.Source)
	}
}

func TestNotEnrolled(t *testing.T) {
	s := at(t, t.TempDir(), nil)
	id := machine(1).Node.ID
	_, lookup := s.ByMAC(t.Context(), machine(1).Node.MACAddress, "")
	_, _, event := s.Event(t.Context(), id, wire.Event{EventType: string(lifecycle.InstallComplete)})
	_, change := s.ChangeState(t.Context(), id, wire.StateChange{State: string(lifecycle.Installing)})
	_, discover := s.Discover(t.Context(), wire.Registration{MACAddress: machine(1).Node.MACAddress})
	for name, err := range map[string]error{"lookup": lookup, "event": event, "change": change, "discover": discover} {
		if !errors.Is(err, ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := s.Deliver(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestReflectionKeepsTheMark: the report's answer has the node, but not the workflow that has changed.
func TestReflectionKeepsTheMark(t *testing.T) {
	m, central := machine(1).Node, newCentral(machine(1))
	s := at(t, t.TempDir(), central)
	s.mustFind(t, m.MACAddress)
	if err := s.Expire(t.Context(), []string{m.ID}); err != nil {
		t.Fatal(err)
	}
	s.mustReport(t, m.ID, lifecycle.InstallStarted)
	if rec := s.mustFind(t, m.MACAddress); rec.Source != FromCentral {
		t.Errorf("answered from %q", rec.Source)
	}
}

func TestReflectionOfAChangedWorkflowAsksForIt(t *testing.T) {
	for name, edit := range map[string]func(*wire.Node){
		"workflow":   func(n *wire.Node) { n.WorkflowID = "other" },
		"group":      func(n *wire.Node) { n.GroupID = "other" },
		"site":       func(n *wire.Node) { n.HomeSiteID = "other" },
		"parameters": func(n *wire.Node) { n.Params = map[string]string{"disk": "/dev/vda"} },
	} {
		t.Run(name, func(t *testing.T) {
			m, central := machine(1).Node, newCentral(machine(1))
			s := at(t, t.TempDir(), central)
			s.mustFind(t, m.MACAddress)
			central.edit(m.ID, func(n *wire.Node) error { edit(n); return nil })
			s.mustReport(t, m.ID, lifecycle.InstallStarted)
			if rec := s.mustFind(t, m.MACAddress); rec.Source != FromCentral {
				t.Errorf("answered from %q", rec.Source)
			}
		})
	}
}

// TestAnswersInReverse: of two reports' answers the later may be reflected first.
func TestAnswersInReverse(t *testing.T) {
	m, central := machine(1).Node, newCentral(machine(1))
	s := at(t, t.TempDir(), central)
	s.mustFind(t, m.MACAddress)
	older, _ := central.Event(t.Context(), m.ID, wire.Event{EventID: "1", EventType: string(lifecycle.InstallStarted)})
	newer, _ := central.Event(t.Context(), m.ID, wire.Event{EventID: "2", EventType: string(lifecycle.InstallComplete)})
	for _, n := range []wire.Node{newer, older} {
		if err := s.reflect(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	// Or central was restored from a backup between the two, so it is asked.
	if rec := s.mustFind(t, m.MACAddress); rec.Node.State != string(lifecycle.Installed) || rec.Source != FromCentral {
		t.Errorf("the copy is %s, from %q", rec.Node.State, rec.Source)
	}
}

func TestUnwritableStoreStillBoots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, central, log := machine(1).Node, newCentral(machine(1), machine(2)), new(journal)
		way := &line{to: central}
		s := open(t, Options{Dir: t.TempDir(), Central: way, Log: log.log()})
		s.mustFind(t, m.MACAddress)
		time.Sleep(time.Second)
		if _, err := s.write.Exec("PRAGMA query_only = 1"); err != nil {
			t.Fatal(err)
		}
		if rec := s.mustFind(t, machine(2).Node.MACAddress); rec.Source != FromCentral {
			t.Errorf("a machine without a copy: %q", rec.Source)
		}
		if !log.has("record of a node not kept") {
			t.Error("nothing in the log")
		}
		// Central knows that the machine is installed. The fresh copy does not, and must not be believed.
		if state, provisional := s.mustReport(t, m.ID, lifecycle.InstallComplete); state != string(lifecycle.Installed) || provisional {
			t.Errorf("%s, provisional %v", state, provisional)
		}
		if rec := s.mustFind(t, m.MACAddress); rec.Node.State != string(lifecycle.Installed) {
			t.Errorf("the machine is booted as %s, from %q", rec.Node.State, rec.Source)
		}
		way.plug(deadCentral{})
		if _, _, err := s.Event(t.Context(), m.ID, wire.Event{EventType: string(lifecycle.FirstBoot)}); err == nil {
			t.Error("a report that nobody has was taken")
		}
	})
}

// TestDamagedCopy: one row cannot be read.
func TestDamagedCopy(t *testing.T) {
	m, central := machine(1).Node, newCentral(machine(1))
	way := &line{to: central}
	s := at(t, t.TempDir(), way)
	damage := func() {
		s.mustFind(t, m.MACAddress)
		if _, err := s.write.Exec("UPDATE nodes SET boot = ?", []byte(`{"node":{"id":"`+strings.Repeat("x", 10))); err != nil {
			t.Fatal(err)
		}
	}
	damage()
	if rec := s.mustFind(t, m.MACAddress); rec.Source != FromCentral {
		t.Errorf("answered from %q", rec.Source)
	}
	if rec := s.mustFind(t, m.MACAddress); rec.Source != Fresh {
		t.Errorf("not mended: answered from %q", rec.Source)
	}
	damage()
	s.mustReport(t, m.ID, lifecycle.InstallStarted)
	if rec := s.mustFind(t, m.MACAddress); rec.Node.State != string(lifecycle.Installing) {
		t.Errorf("after a report the copy is %s", rec.Node.State)
	}
	damage()
	way.plug(deadCentral{})
	if _, err := s.ByMAC(t.Context(), m.MACAddress, ""); !errors.Is(err, ErrUnavailable) {
		t.Errorf("while central is away: %v", err)
	}
	way.plug(refusingCentral(404))
	if _, err := s.ByMAC(t.Context(), m.MACAddress, ""); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
	if n, _ := s.Count(t.Context()); n != 0 {
		t.Error("the damaged copy of a node that is gone is still there")
	}
}
