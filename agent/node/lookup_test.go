package node

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pureboot/pureboot/central/lifecycle"
	"github.com/pureboot/pureboot/central/wire"
)

func TestFreshCopyAsksNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, central := machine(1).Node, newCentral(machine(1))
		s := ticking(t, t.TempDir(), central)
		if rec := s.mustFind(t, m.MACAddress); rec.Source != FromCentral {
			t.Errorf("first lookup answered from %q", rec.Source)
		}
		time.Sleep(5*time.Minute - time.Second)
		rec := s.mustFind(t, m.MACAddress)
		if rec.Source != Fresh || central.asked() != 1 {
			t.Errorf("answered from %q, central was asked %d times", rec.Source, central.asked())
		}
		byID, err := s.ByID(t.Context(), m.ID)
		if err != nil || byID.Node.MACAddress != m.MACAddress || central.asked() != 1 {
			t.Errorf("by id: %+v, %v, central was asked %d times", byID, err, central.asked())
		}
	})
}

func TestOldCopyAsksCentral(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, central := machine(1).Node, newCentral(machine(1))
		s := ticking(t, t.TempDir(), central)
		s.mustFind(t, m.MACAddress)
		central.edit(m.ID, func(n *wire.Node) error { n.Hostname = "renamed"; return nil })
		time.Sleep(5 * time.Minute)
		if rec := s.mustFind(t, m.MACAddress); rec.Source != FromCentral || rec.Node.Hostname != "renamed" {
			t.Errorf("answered %q from %q", rec.Node.Hostname, rec.Source)
		}
	})
}

func TestCopySurvivesRestart(t *testing.T) {
	dir, m, central := t.TempDir(), machine(1).Node, newCentral(machine(1))
	first := at(t, dir, central)
	first.mustFind(t, m.MACAddress)
	first.Close()
	if rec := at(t, dir, deadCentral{}).mustFind(t, m.MACAddress); rec.Source != Fresh || rec.Workflow.Name != "debian" {
		t.Errorf("answered %+v from %q", rec.Boot, rec.Source)
	}
}

func TestStaleCopyWhileCentralFails(t *testing.T) {
	for name, c := range map[string]struct {
		central Central
		within  time.Duration
	}{
		"dead":            {deadCentral{}, 0},
		"slow":            {slowCentral{liveCentral: newCentral(machine(1)), delay: time.Minute}, 2 * time.Second},
		"known to be off": {slowCentral{liveCentral: newCentral(machine(1)), delay: time.Minute, offline: true}, 200 * time.Millisecond},
		"credential":      {refusingCentral(401), 0},
		"forbidden":       {refusingCentral(403), 0},
		"overloaded":      {refusingCentral(429), 0},
		"broken":          {refusingCentral(500), 0},
		"redirect":        {refusingCentral(302), 0},
		"no enrolment":    {nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir, m := t.TempDir(), machine(1).Node
				first := ticking(t, dir, newCentral(machine(1)))
				first.mustFind(t, m.MACAddress)
				first.Close()
				time.Sleep(24 * time.Hour)

				s := ticking(t, dir, c.central)
				for range 3 { // the first failure removes nothing
					began := time.Now()
					rec := s.mustFind(t, m.MACAddress)
					if rec.Source != Stale || rec.Node.ID != m.ID {
						t.Errorf("answered node %s from %q", rec.Node.ID, rec.Source)
					}
					if took := time.Since(began); took != c.within {
						t.Errorf("took %v, want %v", took, c.within)
					}
				}
			})
		})
	}
}

func TestLateAnswerIsKeptForTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, central := machine(1).Node, newCentral(machine(1))
		s := ticking(t, t.TempDir(), slowCentral{liveCentral: central, delay: 5 * time.Second})
		_, err := s.ByMAC(t.Context(), m.MACAddress, "")
		if !errors.Is(err, ErrUnavailable) {
			t.Fatalf("no answer yet: %v, want ErrUnavailable", err)
		}
		time.Sleep(4 * time.Second)
		if rec := s.mustFind(t, m.MACAddress); rec.Source != Fresh || central.asked() != 1 {
			t.Errorf("answered from %q, central was asked %d times", rec.Source, central.asked())
		}
	})
}

func TestQuestionOutlivesItsAsker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, central := machine(1).Node, newCentral(machine(1))
		s := ticking(t, t.TempDir(), slowCentral{liveCentral: central, delay: time.Second})
		impatient, leave := context.WithCancel(t.Context())
		left := make(chan error)
		go func() {
			_, err := s.ByMAC(impatient, m.MACAddress, "")
			left <- err
		}()
		synctest.Wait()
		patient := make(chan error)
		go func() {
			_, err := s.ByMAC(t.Context(), m.MACAddress, "")
			patient <- err
		}()
		synctest.Wait()
		leave() // the one whose request began the question
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Errorf("who left: %v", err)
		}
		if err := <-patient; err != nil || central.asked() != 1 {
			t.Errorf("who waited: %v, after %d questions", err, central.asked())
		}
	})
}

type contextKey struct{}

// tracingCentral notes the value that a caller's context carries.
type tracingCentral struct {
	*liveCentral
	id chan any
}

func (c tracingCentral) BootByMAC(ctx context.Context, mac, uuid string) (wire.Boot, error) {
	c.id <- ctx.Value(contextKey{})
	return c.liveCentral.BootByMAC(ctx, mac, uuid)
}

func TestQuestionCarriesTheAskersRequestID(t *testing.T) {
	central := tracingCentral{newCentral(machine(1)), make(chan any, 1)}
	s := at(t, t.TempDir(), central)
	if _, err := s.ByMAC(context.WithValue(t.Context(), contextKey{}, "r-17"), machine(1).Node.MACAddress, ""); err != nil {
		t.Fatal(err)
	}
	if id := <-central.id; id != "r-17" {
		t.Errorf("central's caller had %v in its context", id)
	}
}

func TestBootsOfOneMachineAskOnce(t *testing.T) {
	central := newCentral(machine(1))
	s := at(t, t.TempDir(), central)
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			if _, err := s.ByMAC(t.Context(), machine(1).Node.MACAddress, ""); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if central.asked() != 1 {
		t.Errorf("central was asked %d times", central.asked())
	}
}

func TestUnknownMachine(t *testing.T) {
	s := at(t, t.TempDir(), newCentral())
	if _, err := s.ByMAC(t.Context(), "52:54:00:00:00:01", ""); !errors.Is(err, ErrUnknown) {
		t.Errorf("by MAC: %v", err)
	}
	if _, err := s.ByID(t.Context(), machine(1).Node.ID); !errors.Is(err, ErrUnknown) {
		t.Errorf("by id: %v", err)
	}
	if n := s.SeenWithin(time.Hour); n != 0 {
		t.Errorf("%d machines seen, but a stranger is none", n)
	}
}

func TestOnlyGoneRemovesTheCopy(t *testing.T) {
	for status, want := range map[int]int{404: 0, 410: 0, 401: 1, 403: 1, 409: 1, 422: 1, 429: 1, 500: 1, 502: 1, 503: 1} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			way := &line{to: newCentral(machine(1))}
			s := at(t, t.TempDir(), way)
			s.mustFind(t, machine(1).Node.MACAddress)
			if err := s.ExpireAll(t.Context()); err != nil {
				t.Fatal(err)
			}
			way.plug(refusingCentral(status))
			_, err := s.ByMAC(t.Context(), machine(1).Node.MACAddress, "")
			if gone := errors.Is(err, ErrUnknown); gone != (want == 0) {
				t.Errorf("lookup: %v", err)
			}
			if n, err := s.Count(t.Context()); n != want || err != nil {
				t.Errorf("%d copies (%v), want %d", n, err, want)
			}
		})
	}
}

func TestNewCardIsFoundByUUID(t *testing.T) {
	m, central := machine(1).Node, newCentral(machine(1))
	way := &line{to: central}
	s := at(t, t.TempDir(), way)
	s.mustFind(t, m.MACAddress)

	const card = "52:54:00:aa:aa:aa"
	rec, err := s.ByMAC(t.Context(), card, m.SystemUUID)
	if err != nil || rec.Node.ID != m.ID || central.asked() != 2 {
		t.Fatalf("node %s, %v, after %d questions: a new card is central's to judge", rec.Node.ID, err, central.asked())
	}
	way.plug(deadCentral{})
	rec, err = s.ByMAC(t.Context(), card, m.SystemUUID)
	if err != nil || rec.Node.ID != m.ID || rec.Source != Stale {
		t.Errorf("while central is away: node %s from %q, %v", rec.Node.ID, rec.Source, err)
	}
	way.plug(refusingCentral(404))
	if _, err := s.ByMAC(t.Context(), card, m.SystemUUID); !errors.Is(err, ErrUnknown) {
		t.Errorf("central knows neither: %v", err)
	}
	if n, _ := s.Count(t.Context()); n != 1 {
		t.Error("the node that had the UUID, and has its own card, is forgotten")
	}
}

func TestSharedUUIDMatchesNobody(t *testing.T) {
	a, b := machine(1), machine(2)
	b.Node.SystemUUID = a.Node.SystemUUID
	way := &line{to: newCentral(a, b)}
	s := at(t, t.TempDir(), way)
	s.mustFind(t, a.Node.MACAddress)
	s.mustFind(t, b.Node.MACAddress)
	way.plug(deadCentral{})
	if rec, err := s.ByMAC(t.Context(), "52:54:00:aa:aa:aa", a.Node.SystemUUID); !errors.Is(err, ErrUnavailable) {
		t.Errorf("booted as node %s, %v", rec.Node.ID, err)
	}
}

func TestMovedCardBelongsToItsLastNode(t *testing.T) {
	a, b, central := machine(1), machine(2), newCentral(machine(1))
	s := at(t, t.TempDir(), central)
	s.mustFind(t, a.Node.MACAddress)
	b.Node.Interfaces = []wire.Interface{{MACAddress: b.Node.MACAddress}, {MACAddress: a.Node.MACAddress}}
	a.Node.MACAddress = "52:54:00:bb:bb:bb"
	central.nodes = map[string]wire.Boot{a.Node.ID: a, b.Node.ID: b}
	s.mustFind(t, b.Node.MACAddress)
	if rec := s.mustFind(t, machine(1).Node.MACAddress); rec.Node.ID != b.Node.ID || rec.Source != Fresh {
		t.Errorf("the card boots as node %s from %q", rec.Node.ID, rec.Source)
	}
}

func TestExpiredCopyAsks(t *testing.T) {
	central := newCentral(machine(1), machine(2))
	way := &line{to: central}
	s := at(t, t.TempDir(), way)
	s.mustFind(t, machine(1).Node.MACAddress)
	s.mustFind(t, machine(2).Node.MACAddress)
	if err := s.Expire(t.Context(), []string{machine(1).Node.ID, "nobody's"}); err != nil {
		t.Fatal(err)
	}
	way.plug(deadCentral{})
	if rec := s.mustFind(t, machine(1).Node.MACAddress); rec.Source != Stale {
		t.Errorf("while central is away: answered from %q", rec.Source)
	}
	way.plug(central)
	for i, want := range map[int]Source{1: FromCentral, 2: Fresh} {
		if rec := s.mustFind(t, machine(i).Node.MACAddress); rec.Source != want {
			t.Errorf("machine %d answered from %q, want %q", i, rec.Source, want)
		}
	}
	if rec := s.mustFind(t, machine(1).Node.MACAddress); rec.Source != Fresh {
		t.Errorf("asked again though it was asked for: %q", rec.Source)
	}
	if err := s.ExpireAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if rec := s.mustFind(t, machine(2).Node.MACAddress); rec.Source != FromCentral {
		t.Errorf("after ExpireAll answered from %q", rec.Source)
	}
}

// TestWordOfAChangeDuringAQuestion: the answer left central before the change that the heartbeat told of.
func TestWordOfAChangeDuringAQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, central := machine(1).Node, newCentral(machine(1))
		late := lateCentral{central, make(chan struct{})}
		way := &line{to: late}
		s := ticking(t, t.TempDir(), way)
		answered := make(chan Record)
		go func() { rec, _ := s.ByMAC(t.Context(), m.MACAddress, ""); answered <- rec }()
		synctest.Wait()
		central.edit(m.ID, func(n *wire.Node) error { n.Hostname = "renamed"; return nil })
		if err := s.Expire(t.Context(), []string{m.ID}); err != nil {
			t.Fatal(err)
		}
		close(late.let)
		<-answered
		if rec := s.mustFind(t, m.MACAddress); rec.Node.Hostname != "renamed" {
			t.Errorf("the word of the change was lost: %+v from %q", rec.Node, rec.Source)
		}
	})
}

// TestReportOvertakesALookup: the lookup's answer left central before the report arrived there.
func TestReportOvertakesALookup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, central := machine(1).Node, newCentral(machine(1))
		way := &line{to: central}
		s := ticking(t, t.TempDir(), way)
		s.mustFind(t, m.MACAddress)
		time.Sleep(time.Hour)
		late := lateCentral{central, make(chan struct{})}
		way.plug(late)
		answered := make(chan Record)
		go func() { rec, _ := s.ByMAC(t.Context(), m.MACAddress, ""); answered <- rec }()
		synctest.Wait()
		s.mustReport(t, m.ID, lifecycle.InstallComplete)
		close(late.let)
		if rec := <-answered; rec.Node.State != string(lifecycle.Installed) {
			t.Errorf("the machine is booted as %s", rec.Node.State)
		}
		way.plug(deadCentral{})
		if rec := s.mustFind(t, m.MACAddress); rec.Node.State != string(lifecycle.Installed) {
			t.Errorf("the copy is %s", rec.Node.State)
		}
	})
}

func TestRestoredCentralIsBelieved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		was, is := machine(1), machine(1)
		was.Node.Version, is.Node.Version, is.Node.Hostname = 9, 3, "restored"
		way := &line{to: newCentral(was)}
		s := ticking(t, t.TempDir(), way)
		s.mustFind(t, was.Node.MACAddress)
		time.Sleep(time.Hour)
		central := newCentral(is)
		way.plug(central)
		for range 2 {
			if rec := s.mustFind(t, was.Node.MACAddress); rec.Node.Hostname != "restored" || central.asked() != 1 {
				t.Errorf("answered version %d from %q after %d questions", rec.Node.Version, rec.Source, central.asked())
			}
		}
	})
}

func TestClockSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, central := machine(1).Node, newCentral(machine(1))
		s := ticking(t, t.TempDir(), central)
		s.mustFind(t, m.MACAddress)
		_, err := s.write.Exec("UPDATE nodes SET fetched_at = ?", time.Now().Add(30*24*time.Hour).UnixMilli())
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []Source{FromCentral, Fresh} { // and the answer sets it right
			if rec := s.mustFind(t, m.MACAddress); rec.Source != want {
				t.Errorf("a copy from the future is answered from %q, want %q", rec.Source, want)
			}
		}
	})
}

func TestEmptyAnswerIsNone(t *testing.T) {
	s := at(t, t.TempDir(), newCentral(wire.Boot{Node: wire.Node{MACAddress: "52:54:00:00:00:01"}}))
	if rec, err := s.ByMAC(t.Context(), "52:54:00:00:00:01", ""); !errors.Is(err, ErrUnavailable) {
		t.Errorf("answered %+v, %v", rec, err)
	}
}

func TestCloseEndsQuestions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := ticking(t, t.TempDir(), slowCentral{liveCentral: newCentral(machine(1)), delay: time.Hour})
		done := make(chan error)
		go func() { _, err := s.ByMAC(t.Context(), machine(1).Node.MACAddress, ""); done <- err }()
		synctest.Wait()
		began := time.Now()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; !errors.Is(err, ErrUnavailable) || time.Since(began) != 0 {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		if s.begin() {
			t.Error("a closed store begins a question")
		}
	})
}
