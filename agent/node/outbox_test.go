package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pureboot/pureboot/central/lifecycle"
	"github.com/pureboot/pureboot/central/wire"
)

func TestReportTakesEffectWhileCentralIsAway(t *testing.T) {
	for name, dead := range map[string]Central{
		"dead": deadCentral{}, "known to be dead": deadCentral{known: true},
		"401": refusingCentral(401), "403": refusingCentral(403), "429": refusingCentral(429), "503": refusingCentral(503),
	} {
		t.Run(name, func(t *testing.T) {
			dir, m, central := t.TempDir(), machine(1).Node, newCentral(machine(1))
			way := &line{to: central}
			s := at(t, dir, way)
			s.mustFind(t, m.MACAddress)
			way.plug(dead)
			for _, kind := range []lifecycle.EventType{lifecycle.InstallStarted, lifecycle.InstallComplete, lifecycle.FirstBoot} {
				if _, provisional := s.mustReport(t, m.ID, kind); !provisional {
					t.Errorf("%s is not provisional", kind)
				}
			}
			s.Close()

			s = at(t, dir, way) // a restart loses nothing
			s.mustWait(t, 3)
			if rec := s.mustFind(t, m.MACAddress); rec.Node.State != string(lifecycle.Active) {
				t.Errorf("the copy is %s", rec.Node.State)
			}
			if err := s.Deliver(t.Context()); err == nil {
				t.Error("delivered to nobody")
			}
			s.mustWait(t, 3)

			way.plug(central)
			for range 2 {
				if err := s.Deliver(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			s.mustWait(t, 0)
			want := []string{m.MACAddress + " install_started", m.MACAddress + " install_complete", m.MACAddress + " first_boot"}
			if got := central.took(); !slices.Equal(got, want) {
				t.Errorf("central took %q", got)
			}
			if rec := s.mustFind(t, m.MACAddress); rec.Node.State != string(lifecycle.Active) || rec.Node.Version != central.node(m.ID).Version {
				t.Errorf("the copy is %s, version %d", rec.Node.State, rec.Node.Version)
			}
		})
	}
}

// TestLostAnswer: the report reached central, only nobody knows. It is sent again and counts once.
func TestLostAnswer(t *testing.T) {
	m, central := machine(1).Node, newCentral(machine(1))
	way := &line{to: central}
	s := at(t, t.TempDir(), way)
	s.mustFind(t, m.MACAddress)
	way.plug(forgetfulLine{central})
	s.mustReport(t, m.ID, lifecycle.BootStarted)
	if err := s.Deliver(t.Context()); err == nil {
		t.Error("an answer that was lost is taken for one")
	}
	s.mustWait(t, 1)
	way.plug(central)
	if err := s.Deliver(t.Context()); err != nil {
		t.Fatal(err)
	}
	if took := central.took(); len(took) != 1 || central.node(m.ID).InstallAttempts != 1 {
		t.Errorf("central took %q and counts %d attempts", took, central.node(m.ID).InstallAttempts)
	}
}

// TestLookupWhileReportsWait: central is back and answers, but has not heard the reports yet.
func TestLookupWhileReportsWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, central := machine(1).Node, newCentral(machine(1))
		way := &line{to: central}
		s := ticking(t, t.TempDir(), way)
		s.mustFind(t, m.MACAddress)
		way.plug(deadCentral{})
		began := time.Now()
		s.mustReport(t, m.ID, lifecycle.BootStarted)
		time.Sleep(time.Hour)
		way.plug(central)
		central.edit(m.ID, func(n *wire.Node) error { n.Hostname = "renamed"; return nil })
		for range 2 {
			rec := s.mustFind(t, m.MACAddress)
			if rec.Node.State != string(lifecycle.Installing) || rec.Node.Hostname != "renamed" {
				t.Errorf("the record is %s %s, from %q", rec.Node.Hostname, rec.Node.State, rec.Source)
			}
			if !rec.Node.InstallStartedAt.Equal(began) || rec.Node.InstallAttempts != 1 {
				t.Errorf("attempt %d began %v, want 1 at %v", rec.Node.InstallAttempts, rec.Node.InstallStartedAt, began)
			}
		}
		// A report that comes now waits for its turn.
		if _, provisional := s.mustReport(t, m.ID, lifecycle.InstallComplete); !provisional || len(central.took()) != 0 {
			t.Errorf("provisional %v, central took %q", provisional, central.took())
		}
		if err := s.Deliver(t.Context()); err != nil {
			t.Fatal(err)
		}
		if state := central.node(m.ID).State; state != string(lifecycle.Installed) {
			t.Errorf("central has it as %s", state)
		}
	})
}

// TestCopylessReportsAreNotForgotten: the copy goes, what waits does not.
func TestCopylessReportsAreNotForgotten(t *testing.T) {
	m, central := machine(1).Node, newCentral(machine(1))
	way := &line{to: central}
	s := at(t, t.TempDir(), way)
	s.mustFind(t, m.MACAddress)
	way.plug(deadCentral{})
	s.mustReport(t, m.ID, lifecycle.InstallComplete)
	if err := s.forget(t.Context(), byID, m.ID); err != nil {
		t.Fatal(err)
	}
	way.plug(central)
	if rec := s.mustFind(t, m.MACAddress); rec.Node.State != string(lifecycle.Installed) {
		t.Errorf("the machine would be installed again: it is %s", rec.Node.State)
	}
}

// pickyCentral answers the reports of one node with a status.
type pickyCentral struct {
	*liveCentral
	node   string
	status int
}

func (c pickyCentral) Event(ctx context.Context, id string, e wire.Event) (wire.Node, error) {
	if id == c.node {
		return wire.Node{}, &wire.Refusal{Status: c.status}
	}
	return c.liveCentral.Event(ctx, id, e)
}

func TestOneNodesReportsDoNotBlockTheOthers(t *testing.T) {
	for status, c := range map[int]struct {
		wait int // afterwards
		err  bool
		took int
	}{
		422: {0, false, 2}, 404: {0, false, 2}, 409: {0, false, 2}, // dropped
		500: {2, true, 2},                    // parked: central fails at it
		503: {4, true, 0}, 401: {4, true, 0}, // it is central that is not ready
	} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			bad, good, central, log := machine(1).Node, machine(2).Node, newCentral(machine(1), machine(2)), new(journal)
			way := &line{to: central}
			s := open(t, Options{Dir: t.TempDir(), Central: way, Patience: time.Minute, Log: log.log()})
			for _, m := range []wire.Node{bad, good} {
				s.mustFind(t, m.MACAddress)
			}
			way.plug(deadCentral{})
			for _, id := range []string{bad.ID, good.ID, bad.ID, good.ID} {
				s.mustReport(t, id, lifecycle.InstallProgress)
			}
			way.plug(pickyCentral{central, bad.ID, status})
			if err := s.Deliver(t.Context()); (err != nil) != c.err {
				t.Errorf("deliver: %v", err)
			}
			s.mustWait(t, c.wait)
			if took := central.took(); len(took) != c.took || strings.Contains(fmt.Sprint(took), bad.MACAddress) {
				t.Errorf("central took %q", took)
			}
			if dropped := log.has("report dropped"); dropped != (c.wait == 0) {
				t.Errorf("the log tells of dropped reports: %v", dropped)
			}
			way.plug(central)
			if err := s.Deliver(t.Context()); err != nil {
				t.Error(err)
			}
			s.mustWait(t, 0)
		})
	}
}

// stumblingCentral answers one kind of report with a status.
type stumblingCentral struct {
	*liveCentral
	kind   lifecycle.EventType
	status int
}

func (c stumblingCentral) Event(ctx context.Context, id string, e wire.Event) (wire.Node, error) {
	if e.EventType == string(c.kind) {
		return wire.Node{}, &wire.Refusal{Status: c.status}
	}
	return c.liveCentral.Event(ctx, id, e)
}

// TestReportsOfOneNodeKeepTheirOrder: none overtakes one that central fails at.
func TestReportsOfOneNodeKeepTheirOrder(t *testing.T) {
	m, central := machine(1).Node, newCentral(machine(1))
	way := &line{to: central}
	s := at(t, t.TempDir(), way)
	s.mustFind(t, m.MACAddress)
	way.plug(deadCentral{})
	for _, kind := range []lifecycle.EventType{lifecycle.BootStarted, lifecycle.InstallStarted, lifecycle.InstallComplete} {
		s.mustReport(t, m.ID, kind)
	}
	for _, status := range []int{500, 503} {
		way.plug(stumblingCentral{central, lifecycle.InstallStarted, status})
		if err := s.Deliver(t.Context()); err == nil {
			t.Errorf("%d: no error", status)
		}
		s.mustWait(t, 2)
		if took := central.took(); !slices.Equal(took, []string{m.MACAddress + " boot_started"}) {
			t.Errorf("%d: central took %q", status, took)
		}
		// What central answered to the first is not all there is to say.
		if rec := s.mustFind(t, m.MACAddress); rec.Node.State != string(lifecycle.Installed) {
			t.Errorf("%d: the machine would be installed again: it is %s, from %q", status, rec.Node.State, rec.Source)
		}
	}
}

func TestDroppedReportIsAskedAbout(t *testing.T) {
	m, central := machine(1).Node, newCentral(machine(1))
	way := &line{to: central}
	s := at(t, t.TempDir(), way)
	s.mustFind(t, m.MACAddress)
	way.plug(deadCentral{})
	s.mustReport(t, m.ID, lifecycle.InstallComplete)
	way.plug(pickyCentral{central, m.ID, 409})
	if err := s.Deliver(t.Context()); err != nil {
		t.Fatal(err)
	}
	if rec := s.mustFind(t, m.MACAddress); rec.Source != FromCentral || rec.Node.State != string(lifecycle.Pending) {
		t.Errorf("central did not take it, yet the copy is %s, from %q", rec.Node.State, rec.Source)
	}
}

func TestDamagedReportDoesNotBlockTheOthers(t *testing.T) {
	m, central, log := machine(1).Node, newCentral(machine(1)), new(journal)
	way := &line{to: central}
	s := open(t, Options{Dir: t.TempDir(), Central: way, Patience: time.Minute, Log: log.log()})
	s.mustFind(t, m.MACAddress)
	way.plug(deadCentral{})
	s.mustReport(t, m.ID, lifecycle.InstallStarted)
	s.mustReport(t, m.ID, lifecycle.InstallComplete)
	if _, err := s.write.Exec("UPDATE outbox SET event = ? WHERE op_seq = 1", []byte("{")); err != nil {
		t.Fatal(err)
	}
	way.plug(central)
	s.ExpireAll(t.Context())
	if rec := s.mustFind(t, m.MACAddress); rec.Node.State != string(lifecycle.Installed) {
		t.Errorf("the record is %s", rec.Node.State)
	}
	if err := s.Deliver(t.Context()); err != nil {
		t.Fatal(err)
	}
	if took := central.took(); !slices.Equal(took, []string{m.MACAddress + " install_complete"}) || !log.has("report dropped") {
		t.Errorf("central took %q", took)
	}
}

// TestDamagedCopyDoesNotBlockTheOutbox: the report is delivered though its effect has nowhere to go.
func TestDamagedCopyDoesNotBlockTheOutbox(t *testing.T) {
	m, central := machine(1).Node, newCentral(machine(1))
	way := &line{to: central}
	s := at(t, t.TempDir(), way)
	s.mustFind(t, m.MACAddress)
	way.plug(deadCentral{})
	s.mustReport(t, m.ID, lifecycle.InstallComplete)
	if _, err := s.write.Exec("UPDATE nodes SET boot = ?", []byte("{")); err != nil {
		t.Fatal(err)
	}
	way.plug(central)
	if err := s.Deliver(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.mustWait(t, 0)
	if rec := s.mustFind(t, m.MACAddress); rec.Node.State != string(lifecycle.Installed) {
		t.Errorf("the record is %s", rec.Node.State)
	}
}

func TestOutboxIsBounded(t *testing.T) {
	m := machine(1).Node
	way := &line{to: newCentral(machine(1))}
	s := at(t, t.TempDir(), way)
	s.mustFind(t, m.MACAddress)
	way.plug(deadCentral{})
	fill := func(rows, bytes int) {
		t.Helper()
		_, err := s.write.Exec(`DELETE FROM outbox; INSERT INTO outbox (node_id, at, event)
			WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
			SELECT 'another', 0, CAST(printf('%*s', ?, '') AS BLOB) FROM n`, rows, bytes)
		if err != nil {
			t.Fatal(err)
		}
	}
	try := func(kind lifecycle.EventType) error {
		_, _, err := s.Event(t.Context(), m.ID, wire.Event{EventType: string(kind)})
		return err
	}
	const half, all = maxWaiting / 2, maxWaiting
	var filled [2]int
	for _, c := range []struct {
		rows, bytes int
		kind        lifecycle.EventType
		full        bool
	}{
		{half - 1, 2, lifecycle.InstallProgress, false},
		{half, 2, lifecycle.InstallProgress, true},
		{half, 2, lifecycle.Heartbeat, true},
		{half, 2, lifecycle.InstallComplete, false},
		{all - 1, 2, lifecycle.InstallComplete, false},
		{all, 2, lifecycle.InstallComplete, true},
		{32, 1 << 20, lifecycle.InstallProgress, true},
		{32, 1 << 20, lifecycle.InstallComplete, false},
		{64, 1 << 20, lifecycle.InstallComplete, true},
	} {
		if size := [2]int{c.rows, c.bytes}; size != filled {
			fill(c.rows, c.bytes)
			filled = size
		}
		if err := try(c.kind); errors.Is(err, ErrFull) != c.full || (err != nil) != c.full {
			t.Errorf("%s after %d reports of %d bytes: %v", c.kind, c.rows, c.bytes, err)
		}
	}
	fill(all, 2)
	before := s.mustFind(t, m.MACAddress).Node
	if err := try(lifecycle.FirstBoot); !errors.Is(err, ErrFull) {
		t.Fatal(err)
	}
	if after := s.mustFind(t, m.MACAddress).Node; after.State != before.State {
		t.Errorf("a refused report took effect: %s", after.State)
	}
	s.mustWait(t, all)
}

// TestDeliveryLeavesTimeForTheHeartbeat: a long outbox over a slow line is delivered in portions.
func TestDeliveryLeavesTimeForTheHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, central := machine(1).Node, newCentral(machine(1))
		way := &line{to: central}
		s := ticking(t, t.TempDir(), way)
		s.mustFind(t, m.MACAddress)
		way.plug(deadCentral{})
		for range 10 {
			s.mustReport(t, m.ID, lifecycle.InstallProgress)
		}
		way.plug(slowCentral{liveCentral: central, delay: 6 * time.Second})
		for _, left := range []int{6, 2, 0} {
			began := time.Now()
			if err := s.Deliver(t.Context()); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took > deliverTime+lookupTime {
				t.Errorf("took %v", took)
			}
			s.mustWait(t, left)
		}
	})
}
