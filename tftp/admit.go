package tftp

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
)

// transfer is what a server holds new requests against.
type transfer struct {
	request  request // what is or will be answered; under the server's mu
	answered bool    // Open is over; under the server's mu
	cancel   context.CancelCauseFunc
	silent   atomic.Bool // the client has acknowledged a packet, but not what was since sent twice
}

// admit starts the transfer of r, unless r repeats one that runs or the server is full.
//
// A client has one transfer at a time: its port is its end of it (RFC 1350 section 4). So a request that is no
// repetition means that the client has given up the transfer before, which ends without a word: an error packet would
// reach the client in the middle of its new request.
func (s *Server) admit(ctx context.Context, r request, transfers *sync.WaitGroup) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.running[r.Client]
	if old != nil && old.repeated(r) {
		return
	}
	if s.live >= s.opt.MaxTransfers || old == nil && s.held(r) >= max(1, s.opt.MaxTransfers/2) {
		if !s.full {
			s.full = true
			s.log.Warn("tftp requests dropped at the limit of transfers", "limit", s.opt.MaxTransfers, "client", r.Client)
		}
		return
	}
	s.full = false
	if old != nil {
		old.cancel(errMovedOn)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	t := &transfer{request: r, cancel: cancel}
	s.running[r.Client] = t
	s.live++
	transfers.Go(func() {
		defer cancel(nil)
		s.run(ctx, t, r.Request)
	})
}

// repeated reports whether r is a repetition of what t answers or will answer. The caller holds the server's mu.
func (t *transfer) repeated(r request) bool {
	switch {
	case !t.answered && t.request.Request == r.Request:
		// The client waits for Open. It may have dropped its options by now: the answer is to fit its newest words.
		t.request = r
		return true
	case t.request != r:
		return false
	default:
		// These very words again. They may have crossed our answer, and the client now holds on to that: the transfer
		// must live. But a client that had begun to acknowledge and then fell silent for a whole Timeout has been
		// reset, and asks from the same port as before.
		return !t.silent.Load()
	}
}

// held counts the transfers of r's client address. The caller holds mu.
func (s *Server) held(r request) int {
	n := 0
	for client := range s.running {
		if client.Addr() == r.Client.Addr() {
			n++
		}
	}
	return n
}

// Clients returns the addresses and ports of the clients whose transfers run.
func (s *Server) Clients() []netip.AddrPort {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.running))
}

// answer ends the phase of Open and returns the request that is to be answered.
func (s *Server) answer(t *transfer) request {
	s.mu.Lock()
	defer s.mu.Unlock()
	t.answered = true
	return t.request
}

// release gives up the place of an ended transfer.
func (s *Server) release(t *transfer, r Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live--
	if s.running[r.Client] == t {
		delete(s.running, r.Client)
	}
}

// report tells the log and Done of an ended transfer.
func (s *Server) report(d Transfer) {
	log := s.log.With("key", d.Name, "client", d.Client, "bytes", d.Bytes, "took", d.Took)
	switch {
	case d.Err == nil:
		log.Info("tftp file sent")
	case errors.Is(d.Err, ErrAborted):
		log.Debug("tftp transfer ended by the client", "err", d.Err)
	case errors.Is(d.Err, fs.ErrNotExist), errors.Is(d.Err, fs.ErrPermission), errors.Is(d.Err, fs.ErrInvalid):
		log.Info("tftp file refused", "err", d.Err)
	default:
		log.Warn("tftp transfer broken off", "err", d.Err)
	}
	if s.opt.Done != nil {
		s.opt.Done(d)
	}
}
