package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pureboot/pureboot/central/wire"
)

// lookupTime bounds one question to central. The machine that asked may have gone by then; the answer is kept for
// the next one.
const lookupTime = 10 * time.Second

// ByMAC returns the node that has the MAC address, or else the system UUID (empty if not known), and notes that its
// machine is there. Errors: ErrUnknown, ErrUnavailable, ErrTooMany.
func (s *Store) ByMAC(ctx context.Context, mac, uuid string) (Record, error) {
	rec, err := s.lookup(ctx, question{which: byMAC, arg: mac, uuid: uuid, ask: func(ctx context.Context) (wire.Boot, error) {
		return s.opt.Central.BootByMAC(ctx, mac, uuid)
	}})
	if err == nil {
		s.Saw(rec.Node.MACAddress)
	}
	return rec, err
}

// ByID returns a node. Errors: ErrUnknown, ErrUnavailable, ErrTooMany.
func (s *Store) ByID(ctx context.Context, id string) (Record, error) {
	return s.lookup(ctx, question{which: byID, arg: id, ask: func(ctx context.Context) (wire.Boot, error) {
		return s.opt.Central.BootByID(ctx, id)
	}})
}

// question is one that central can answer and perhaps a copy too.
type question struct {
	verb       string // tells apart what is asked of central about the same copy
	which, arg string // the copy, as for copyOf
	uuid       string // the system UUID of a machine whose card may be new
	ask        func(context.Context) (wire.Boot, error)
}

// lookup answers with the copy while it is fresh, else with what central says, else with the copy.
func (s *Store) lookup(ctx context.Context, q question) (Record, error) {
	rec, fresh, err := s.local(ctx, q)
	if fresh {
		return rec, nil
	}
	have := err == nil
	if s.opt.Central == nil {
		err = errors.New("not enrolled")
	} else {
		patience := s.opt.Patience
		if have && !s.opt.Central.Online() {
			patience /= 10 // the answer still comes to be kept, if there is one
		}
		wait, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		var answer Record
		if answer, err = s.ask(wait, q); err == nil {
			return answer, nil
		}
	}
	switch refusal, _ := errors.AsType[*wire.Refusal](err); {
	case refusal != nil && refusal.Gone():
		return Record{}, ErrUnknown
	case have:
		s.opt.Log.Warn("serving an old record", "mac", rec.Node.MACAddress, "node", rec.Node.ID, "fetched", rec.FetchedAt,
			"err", err, "request", wire.RequestID(ctx))
		rec.Source = Stale
		return rec, nil
	case errors.Is(err, ErrTooMany):
		return Record{}, err
	}
	return Record{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// local returns the copy, and whether it can be served without asking central. An error means that there is none.
func (s *Store) local(ctx context.Context, q question) (rec Record, fresh bool, err error) {
	rec, expired, err := copyOf(ctx, s.read, q.which, q.arg)
	if errors.Is(err, ErrUnknown) && q.uuid != "" {
		// Whose machine the new card is in is central's to say, however fresh the copy.
		rec, _, err = copyOf(ctx, s.read, byUUID, q.uuid)
		expired = true
	}
	if err != nil {
		if !errors.Is(err, ErrUnknown) && ctx.Err() == nil {
			s.opt.Log.Error("copy of a node not readable", "copy", q.arg, "err", err, "request", wire.RequestID(ctx)) // as good as none
		}
		return Record{}, false, err
	}
	rec.Source = Fresh
	age := time.Since(rec.FetchedAt) // below zero once the clock was set back
	fresh = !expired && age >= 0 && age < s.opt.TTL && rec.FetchedAt.UnixMilli() > s.doubt.Load()
	return rec, fresh, nil
}

// ask puts a question to central for all who ask it at once, and keeps the answer. The question has the values of the
// first asker's context, as its request id, and outlives all who stop waiting.
func (s *Store) ask(wait context.Context, q question) (Record, error) {
	result := s.flight.DoChan(q.verb+" "+q.which+" "+q.arg+" "+q.uuid, func() (any, error) {
		if !s.begin() {
			return Record{}, errors.New("the agent is stopping")
		}
		defer s.work.Done()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(wait), lookupTime)
		defer cancel()
		defer context.AfterFunc(s.ctx, cancel)()

		since := moment{marks: s.marks.Load()}
		rec, fresh, err := s.local(ctx, q)
		if fresh {
			return rec, nil // an answer that came between the asker's look and its question
		}
		if err != nil && !s.strangers.Allow() {
			return Record{}, ErrTooMany
		}
		since.version = rec.Node.Version
		boot, err := q.ask(ctx)
		if refusal, ok := errors.AsType[*wire.Refusal](err); ok && refusal.Gone() {
			return Record{}, errors.Join(err, s.forget(ctx, q.which, q.arg))
		}
		if err != nil {
			return Record{}, err
		}
		return s.put(ctx, boot, since)
	})
	select {
	case <-wait.Done():
		return Record{}, context.Cause(wait)
	case r := <-result:
		rec, _ := r.Val.(Record)
		return rec, r.Err
	}
}
