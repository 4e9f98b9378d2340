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

const stranger = "52:54:00:dd:00:01"

func TestDiscovery(t *testing.T) {
	central := newCentral()
	s := at(t, t.TempDir(), central)
	rec, err := s.Discover(t.Context(), wire.Registration{MACAddress: stranger})
	if err != nil || rec.Node.State != string(lifecycle.Discovered) || rec.Source != FromCentral {
		t.Fatalf("%+v, %v", rec, err)
	}
	if n := s.SeenWithin(time.Hour); n != 1 {
		t.Errorf("%d machines seen", n)
	}
	asked := central.asked()
	if rec := s.mustFind(t, stranger); rec.Source != Fresh || central.asked() != asked {
		t.Errorf("the next boot is answered from %q", rec.Source)
	}
}

func TestDiscoveryOfOneMachineRegistersOnce(t *testing.T) {
	central := newCentral()
	s := at(t, t.TempDir(), central)
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			if _, err := s.Discover(t.Context(), wire.Registration{MACAddress: stranger}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := len(central.registered); n != 1 {
		t.Errorf("registered %d times", n)
	}
	if left := s.arrivals.Tokens(); left < arrivalsAtOnce-1.5 {
		t.Errorf("one machine took the place of %v others", arrivalsAtOnce-left)
	}
}

func TestDiscoveryIsRateLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		central := newCentral()
		s := ticking(t, t.TempDir(), central)
		discover := func(from, n int) (refused int) {
			for i := range n {
				_, err := s.Discover(t.Context(), wire.Registration{MACAddress: fmt.Sprintf("52:54:01:00:%02x:%02x", from+i>>8, (from+i)&0xff)})
				if errors.Is(err, ErrTooMany) {
					refused++
				} else if err != nil {
					t.Error(err)
				}
			}
			return refused
		}
		if refused := discover(0, arrivalsAtOnce+40); refused != 40 || len(central.registered) != arrivalsAtOnce {
			t.Errorf("%d refused, %d registered", refused, len(central.registered))
		}
		time.Sleep(2 * time.Second)
		if refused := discover(1000, 20); refused != 10 {
			t.Errorf("two seconds later %d of 20 refused", refused)
		}
	})
}

// TestScannerReachesCentralAtItsPace: somebody at the site asks for the script of every address there is.
func TestScannerReachesCentralAtItsPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		central := newCentral(machine(1))
		s := ticking(t, t.TempDir(), central)
		s.mustFind(t, machine(1).Node.MACAddress)
		asked, refused := central.asked(), 0
		for i := range 2 * strangersAtOnce {
			if _, err := s.ByMAC(t.Context(), fmt.Sprintf("52:54:02:00:%02x:%02x", i>>8, i&0xff), ""); errors.Is(err, ErrTooMany) {
				refused++
			}
		}
		if asked := central.asked() - asked; asked > strangersAtOnce || refused < strangersAtOnce {
			t.Errorf("central was asked %d times, %d refused", asked, refused)
		}
		if err := s.ExpireAll(t.Context()); err != nil {
			t.Fatal(err)
		}
		if rec := s.mustFind(t, machine(1).Node.MACAddress); rec.Source != FromCentral {
			t.Errorf("a machine of the site is answered from %q", rec.Source)
		}
	})
}

func TestDiscoveryWithoutCentral(t *testing.T) {
	for name, c := range map[string]struct {
		central Central
		want    error
	}{
		"dead":       {deadCentral{}, ErrUnavailable},
		"overloaded": {refusingCentral(429), ErrUnavailable},
		"broken":     {refusingCentral(500), ErrUnavailable},
		"credential": {refusingCentral(401), ErrUnavailable},
	} {
		s := at(t, t.TempDir(), c.central)
		if _, err := s.Discover(t.Context(), wire.Registration{MACAddress: stranger}); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	s := at(t, t.TempDir(), refusingCentral(422))
	_, err := s.Discover(t.Context(), wire.Registration{MACAddress: stranger})
	if refusal, ok := errors.AsType[*wire.Refusal](err); !ok || refusal.Status != 422 || errors.Is(err, ErrUnavailable) {
		t.Errorf("refused: %v", err)
	}
}

func TestSightOnlyOnNews(t *testing.T) {
	n := machine(1).Node
	n.IPAddress, n.Vendor, n.Arch = "192.0.2.7", "ACME", "x86_64"
	n.Interfaces = []wire.Interface{{MACAddress: n.MACAddress}, {MACAddress: "52:54:00:00:99:99"}}
	same := wire.Registration{MACAddress: n.MACAddress, IPAddress: n.IPAddress, Vendor: n.Vendor, SystemUUID: n.SystemUUID}
	for name, c := range map[string]struct {
		edit func(*wire.Registration)
		news bool
	}{
		"nothing":                {func(*wire.Registration) {}, false},
		"its other card":         {func(r *wire.Registration) { r.MACAddress = "52:54:00:00:99:99" }, false},
		"a fact that is not set": {func(r *wire.Registration) { r.Vendor = "" }, false},
		"a fact that is known":   {func(r *wire.Registration) { r.Vendor = "spoofed" }, false},
		"a new fact":             {func(r *wire.Registration) { r.Model = "M1" }, true},
		"its name":               {func(r *wire.Registration) { r.Hostname = "web1" }, true},
		"another address":        {func(r *wire.Registration) { r.IPAddress = "192.0.2.8" }, false},
		"a new card":             {func(r *wire.Registration) { r.MACAddress = "52:54:00:00:aa:aa" }, true},
	} {
		s := at(t, t.TempDir(), deadCentral{})
		r := same
		c.edit(&r)
		s.Sight(&n, r)
		if got := len(s.facts) == 1; got != c.news {
			t.Errorf("%s: passed on is %v", name, got)
		}
	}
}

func TestSightsArePassedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, central := machine(1).Node, newCentral(machine(1))
		way := &line{to: deadCentral{}}
		s := ticking(t, t.TempDir(), way)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.Run(ctx) }()

		s.Sight(&m, wire.Registration{MACAddress: m.MACAddress, Vendor: "lost"}) // a failure ends nothing
		synctest.Wait()
		way.plug(central)
		s.mustFind(t, m.MACAddress)
		s.Sight(&m, wire.Registration{MACAddress: m.MACAddress, Vendor: "ACME"})
		synctest.Wait()
		if rec := s.mustFind(t, m.MACAddress); rec.Node.Vendor != "ACME" || rec.Source != Fresh {
			t.Errorf("the copy has %q, from %q", rec.Node.Vendor, rec.Source)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestSightNeverWaits(t *testing.T) {
	s := at(t, t.TempDir(), deadCentral{}) // and nobody runs it
	n := machine(1).Node
	for i := range 2 * arrivalsAtOnce {
		s.Sight(&n, wire.Registration{MACAddress: n.MACAddress, Vendor: fmt.Sprint(i)})
	}
	if len(s.facts) != arrivalsAtOnce {
		t.Errorf("%d facts wait", len(s.facts))
	}
}

func TestSeenMachines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		two := machine(1)
		two.Node.Interfaces = []wire.Interface{{MACAddress: two.Node.MACAddress}, {MACAddress: "52:54:00:00:99:99"}}
		s := ticking(t, t.TempDir(), newCentral(two, machine(2)))
		s.mustFind(t, two.Node.MACAddress)
		s.mustFind(t, "52:54:00:00:99:99") // the same machine's other card
		time.Sleep(40 * time.Minute)
		s.mustFind(t, machine(2).Node.MACAddress)
		if n := s.SeenWithin(time.Hour); n != 2 {
			t.Errorf("%d machines in the last hour", n)
		}
		time.Sleep(40 * time.Minute)
		if n := s.SeenWithin(time.Hour); n != 1 {
			t.Errorf("%d machines in the last hour, 40 minutes later", n)
		}
		for i := range 2 * maxSeen {
			s.Saw(fmt.Sprint(i))
		}
		if len(s.seen) > maxSeen {
			t.Errorf("%d machines are remembered", len(s.seen))
		}
		time.Sleep(2 * time.Hour)
		s.Saw("after a long night")
		if n := s.SeenWithin(time.Hour); n != 1 || len(s.seen) != 1 {
			t.Errorf("%d machines in the last hour, %d remembered", n, len(s.seen))
		}
	})
}
