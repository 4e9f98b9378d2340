package node

import (
	"context"
	"errors"
	"time"

	"github.com/pureboot/pureboot/central/wire"
)

// lookupTime bounds one question to central. The machine that asked may have gone by then; the answer is kept for
// the next one.
const lookupTime = 10 * time.Second

// ByMAC returns the node that has the MAC address, or else the system UUID (empty if not known).
// Errors: ErrUnknown, ErrUnavailable.
func (s *Store) ByMAC(ctx context.Context, mac, uuid string) (Record, error) {
	s.Saw(mac)
	rec, expired, err := s.copyOf(ctx, byMAC, mac)
	if errors.Is(err, ErrUnknown) && uuid != "" {
		rec, expired, err = s.copyOf(ctx, byUUID, uuid)
		// Central has to learn of the new card, so its answer is wanted however fresh the copy is.
		expired = true
	}
	return s.lookup(ctx, mac+" "+uuid, rec, expired, err, func(ctx context.Context) (wire.Boot, error) {
		return s.opt.Central.BootByMAC(ctx, mac, uuid)
	})
}

// ByID returns a node. Errors: ErrUnknown, ErrUnavailable.
func (s *Store) ByID(ctx context.Context, id string) (Record, error) {
	rec, expired, err := s.copyOf(ctx, byID, id)
	return s.lookup(ctx, id, rec, expired, err, func(ctx context.Context) (wire.Boot, error) {
		return s.opt.Central.BootByID(ctx, id)
	})
}

// lookup answers with the copy while it is fresh, else with what central says, else with the copy.
func (s *Store) lookup(ctx context.Context, flight string, rec Record, expired bool, err error,
	ask func(context.Context) (wire.Boot, error),
) (Record, error) {
	have := err == nil
	switch {
	case err != nil && !errors.Is(err, ErrUnknown):
		// A damaged copy is as good as none: central may have the truth.
		s.opt.Log.Error("node copy not readable", "err", err)
	case have && !expired && time.Since(rec.FetchedAt) < s.opt.TTL && time.Since(rec.FetchedAt) >= 0:
		rec.Source = Fresh
		return rec, nil
	}
	stale := func() (Record, error) {
		if !have {
			return Record{}, ErrUnavailable
		}
		rec.Source = Stale
		return rec, nil
	}
	if s.opt.Central == nil {
		return stale()
	}
	patience := s.opt.Patience
	if have && !s.opt.Central.Online() {
		patience = s.opt.Patience / 10 // the answer still comes to be kept, if there is one
	}
	wait, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	answer, err := s.ask(wait, flight, rec.Node.ID, ask)
	if refusal, ok := errors.AsType[*wire.Refusal](err); ok && refusal.Gone() {
		return Record{}, ErrUnknown
	}
	if err != nil {
		s.opt.Log.Warn("node not asked for", "mac", rec.Node.MACAddress, "node", rec.Node.ID, "err", err)
		return stale()
	}
	return answer, nil
}

// ask puts one question to central for all who ask it at once, and keeps the answer. The question outlives whoever
// stops waiting.
func (s *Store) ask(wait context.Context, flight, copyID string, ask func(context.Context) (wire.Boot, error)) (Record, error) {
	result := s.flight.DoChan(flight, func() (any, error) {
		s.work.Add(1)
		defer s.work.Done()
		ctx, cancel := context.WithTimeout(wire.WithRequestID(s.ctx, wire.RequestID(wait)), lookupTime)
		defer cancel()
		boot, err := ask(ctx)
		if refusal, ok := errors.AsType[*wire.Refusal](err); ok && refusal.Gone() && copyID != "" {
			return nil, errors.Join(err, s.forget(ctx, copyID))
		}
		if err != nil {
			return nil, err
		}
		return s.put(ctx, boot)
	})
	select {
	case <-wait.Done():
		return Record{}, context.Cause(wait)
	case r := <-result:
		rec, _ := r.Val.(Record)
		return rec, r.Err
	}
}

// Saw remembers that a machine was there now.
func (s *Store) Saw(mac string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if len(s.seen) >= 10_000 { // strangers choose the keys
		for m, at := range s.seen {
			if now.Sub(at) > time.Hour {
				delete(s.seen, m)
			}
		}
		if len(s.seen) >= 10_000 {
			return
		}
	}
	s.seen[mac] = now
}

// SeenWithin returns how many machines were there in that time.
func (s *Store) SeenWithin(d time.Duration) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, at := range s.seen {
		if time.Since(at) <= d {
			n++
		}
	}
	return n
}

// Count returns how many nodes the site has a copy of.
func (s *Store) Count(ctx context.Context) (int, error) {
	var n int
	return n, s.read.QueryRowContext(ctx, "SELECT count(*) FROM nodes").Scan(&n)
}
