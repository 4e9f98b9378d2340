package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/pureboot/pureboot/central/wire"
)

// Discover registers a machine that central does not know, notes that it is there and returns its record.
// Errors: ErrUnavailable, ErrTooMany, or central's *wire.Refusal.
func (s *Store) Discover(ctx context.Context, r wire.Registration) (Record, error) {
	if s.opt.Central == nil {
		return Record{}, ErrUnavailable
	}
	wait, cancel := context.WithTimeout(ctx, s.opt.Patience)
	defer cancel()
	rec, err := s.ask(wait, question{verb: "register", which: byMAC, arg: r.MACAddress, ask: func(ctx context.Context) (wire.Boot, error) {
		if !s.arrivals.Allow() {
			return wire.Boot{}, ErrTooMany
		}
		n, err := s.opt.Central.Register(ctx, r)
		if err != nil {
			return wire.Boot{}, err
		}
		s.opt.Log.Info("machine registered", "mac", r.MACAddress, "node", n.ID, "state", n.State, "request", wire.RequestID(ctx))
		return s.opt.Central.BootByID(ctx, n.ID)
	}})
	refusal, refused := errors.AsType[*wire.Refusal](err)
	switch {
	case err == nil:
		s.Saw(rec.Node.MACAddress)
		return rec, nil
	case errors.Is(err, ErrTooMany), refused && refusal.Final():
		return Record{}, err
	}
	return Record{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// Sight passes on what a known machine's firmware tells of it, where that is news. It never waits: a site that boots
// more machines at once than it can report tells of the rest at their next boot.
func (s *Store) Sight(n *wire.Node, r wire.Registration) {
	known := wire.Registration{
		MACAddress: r.MACAddress,
		Hostname:   cmp.Or(n.Hostname, r.Hostname),
		IPAddress:  cmp.Or(n.IPAddress, r.IPAddress),
		Arch:       cmp.Or(n.Arch, r.Arch), BootMode: cmp.Or(n.BootMode, r.BootMode),
		Vendor: cmp.Or(n.Vendor, r.Vendor), Model: cmp.Or(n.Model, r.Model),
		SerialNumber: cmp.Or(n.SerialNumber, r.SerialNumber), SystemUUID: cmp.Or(n.SystemUUID, r.SystemUUID),
	}
	news := known.Hostname != n.Hostname || known.IPAddress != n.IPAddress || known.Arch != n.Arch || known.BootMode != n.BootMode ||
		known.Vendor != n.Vendor || known.Model != n.Model ||
		known.SerialNumber != n.SerialNumber || known.SystemUUID != n.SystemUUID ||
		!hasCard(n, r.MACAddress)
	if !news || s.opt.Central == nil {
		return
	}
	select {
	case s.facts <- known:
	default:
	}
}

func hasCard(n *wire.Node, mac string) bool {
	return n.MACAddress == mac || slices.ContainsFunc(n.Interfaces, func(i wire.Interface) bool { return i.MACAddress == mac })
}

// Run passes on the facts of Sight until ctx ends.
func (s *Store) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case r := <-s.facts:
			call, cancel := context.WithTimeout(ctx, lookupTime)
			n, err := s.opt.Central.Register(call, r)
			if err == nil {
				err = s.reflect(call, n)
			}
			cancel()
			if err != nil && ctx.Err() == nil {
				s.opt.Log.Debug("facts not passed on", "mac", r.MACAddress, "err", err)
			}
		}
	}
}
