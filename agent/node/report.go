package node

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"github.com/pureboot/pureboot/central/lifecycle"
	"github.com/pureboot/pureboot/central/wire"
)

// Event passes a machine's report on and reflects it in the site's copy. When central does not answer, or earlier
// reports of the node wait for it, the report takes effect here and waits too (provisional): a machine that was
// installed while central was away must not be installed again at its next boot.
// Errors: central's *wire.Refusal, ErrUnavailable, ErrFull.
func (s *Store) Event(ctx context.Context, id string, e wire.Event) (n wire.Node, provisional bool, err error) {
	if e.EventID == "" {
		e.EventID = rand.Text() // so that a report which is sent again counts once
	}
	behind, err := s.waitingOf(ctx, id)
	if err != nil {
		return n, false, err
	}
	if behind == 0 && s.opt.Central != nil && s.opt.Central.Online() {
		call, cancel := context.WithTimeout(ctx, 2*s.opt.Patience)
		n, err = s.opt.Central.Event(call, id, e)
		cancel()
		if refusal, ok := errors.AsType[*wire.Refusal](err); err == nil || ok && refusal.Final() {
			s.learn(ctx, id, n, err)
			return n, false, err
		}
		s.opt.Log.Warn("report waits for central", "node", id, "event", e.EventType, "err", err, "request", wire.RequestID(ctx))
	}
	// The machine has said it, whether or not it waits for the answer.
	n, err = s.enqueue(context.WithoutCancel(ctx), id, e)
	return n, err == nil, err
}

// ChangeState passes a transition that a machine asks for on to central and reflects it in the site's copy.
// Errors: central's *wire.Refusal, ErrUnavailable.
func (s *Store) ChangeState(ctx context.Context, id string, change wire.StateChange) (wire.Node, error) {
	if s.opt.Central == nil {
		return wire.Node{}, ErrUnavailable
	}
	call, cancel := context.WithTimeout(ctx, 2*s.opt.Patience)
	defer cancel()
	n, err := s.opt.Central.ChangeState(call, id, change)
	s.learn(ctx, id, n, err)
	if refusal, ok := errors.AsType[*wire.Refusal](err); err != nil && !(ok && refusal.Final()) {
		s.opt.Log.Warn("transition not passed on", "node", id, "state", change.State, "err", err, "request", wire.RequestID(ctx))
		return wire.Node{}, ErrUnavailable
	}
	return n, err
}

// learn takes over how central answered a write. Without success the copy is to be asked for: either it misled
// whoever wrote, or the answer was lost and the write was not. The machine may be gone, and its write stands: so the
// end of its request ends nothing here, and what cannot be kept here is no fault of the write.
func (s *Store) learn(ctx context.Context, id string, n wire.Node, err error) {
	ctx = context.WithoutCancel(ctx)
	if err == nil && n.ID == id {
		err = s.reflect(ctx, n)
	} else {
		err = s.Expire(ctx, []string{id})
	}
	if err != nil {
		// As on a full disk. A machine must not be installed again because of what could not be written.
		s.doubt.Store(time.Now().UnixMilli())
		s.opt.Log.Error("answer of central not kept", "node", id, "err", err, "request", wire.RequestID(ctx))
	}
}

// apply does to a node what central does when the report arrives.
func apply(n *wire.Node, e wire.Event, at time.Time) {
	if e.InstallSeq != 0 && e.InstallSeq != n.InstallSeq {
		return // of an installation that is over
	}
	in, steps := install(n).On(lifecycle.Event{
		Type: lifecycle.EventType(e.EventType), Status: lifecycle.EventStatus(e.Status), Message: e.Message,
		Order: lifecycle.NextBoot(e.NextBoot),
	}, at)
	n.NextBoot = string(in.Next)
	n.State, n.InstallSeq, n.InstallAttempts, n.LastInstallError = string(in.State), in.Seq, in.Attempts, in.LastError
	n.InstallStartedAt = nil
	if !in.StartedAt.IsZero() {
		n.InstallStartedAt = &in.StartedAt
	}
	if len(steps) > 0 {
		n.StateChangedAt = at
	}
}
