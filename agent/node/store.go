// Package node knows the machines of this site. Central has the truth; what it said is kept here, so that a machine
// is booted from this copy while central is slow or away. A lookup goes the same way each time: a fresh copy, else
// central, else the copy however old it is. What machines report while central is away takes effect in the copy and
// waits in the outbox; until it is delivered, the copy is central's word with the waiting reports on top.
package node

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"

	"github.com/pureboot/pureboot/central/wire"
)

// Central is what the store needs of central. An answer that is no success is a *wire.Refusal; any other error means
// that central was not reached.
type Central interface {
	BootByMAC(ctx context.Context, mac, uuid string) (wire.Boot, error)
	BootByID(ctx context.Context, id string) (wire.Boot, error)
	Register(ctx context.Context, r wire.Registration) (wire.Node, error)
	ChangeState(ctx context.Context, id string, change wire.StateChange) (wire.Node, error)
	Event(ctx context.Context, id string, e wire.Event) (wire.Node, error)
	Online() bool // whether it is worth waiting for an answer
}

// Options of a Store.
type Options struct {
	Dir      string        // of nodes.db
	Central  Central       // nil while the agent is not enrolled
	TTL      time.Duration // for which a copy is fresh; zero means 5 minutes
	Patience time.Duration // for central while a machine waits; zero means 2 seconds
	Log      *slog.Logger  // nil means slog.Default()
}

// Store is the site's copy of its nodes in SQLite. It is safe for concurrent use.
type Store struct {
	opt    Options
	write  *sql.DB            // one connection: writers wait here, not in SQLite
	read   *sql.DB            // connections that cannot write
	flight singleflight.Group // questions to central, by what is asked
	marks  atomic.Int64       // how often copies were marked as changed at central; see put
	doubt  atomic.Int64       // Unix milliseconds up to which copies may lack a write; see learn

	strangers *rate.Limiter // of questions about machines of which there is no copy
	arrivals  *rate.Limiter // of registrations
	facts     chan wire.Registration
	delivery  sync.Mutex // held by Deliver

	ctx  context.Context // of the questions to central; ends with Close
	stop context.CancelFunc
	work sync.WaitGroup // questions to central

	mu     sync.Mutex
	closed bool                 // no question begins any more
	seen   map[string]time.Time // primary MAC -> when the machine last was there
	pruned time.Time            // when seen was last cleared of old entries
}

var (
	// ErrUnknown means that central knows no such node.
	ErrUnknown = errors.New("no such node")
	// ErrUnavailable means that central could not be asked and there is no copy.
	ErrUnavailable = errors.New("central cannot be reached, and this site has no record of the machine")
	// ErrTooMany means that unknown machines arrive faster than the site asks for them or registers them.
	ErrTooMany = errors.New("too many unknown machines at once")
)

// Anybody at the site can claim to be a machine nobody knows. Such claims reach central at these paces: first a few
// racks at once, then so many a second.
const (
	strangersPerSecond, strangersAtOnce = 50, 1000
	arrivalsPerSecond, arrivalsAtOnce   = 5, 256
)

// Open opens or creates the store. A damaged database is set aside, with an error in the log: central has the truth.
func Open(ctx context.Context, opt Options) (*Store, error) {
	if opt.TTL == 0 {
		opt.TTL = 5 * time.Minute
	}
	if opt.Patience == 0 {
		opt.Patience = 2 * time.Second
	}
	if opt.Log == nil {
		opt.Log = slog.Default()
	}
	if err := os.MkdirAll(opt.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the state folder: %w", err)
	}
	s := &Store{
		opt:       opt,
		strangers: rate.NewLimiter(strangersPerSecond, strangersAtOnce),
		arrivals:  rate.NewLimiter(arrivalsPerSecond, arrivalsAtOnce),
		facts:     make(chan wire.Registration, arrivalsAtOnce),
		seen:      map[string]time.Time{},
	}
	s.ctx, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	if err := s.openDatabase(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open the node store: %w", err), s.Close())
	}
	return s, nil
}

// Close ends the questions to central and closes the database.
func (s *Store) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.stop()
	s.work.Wait()
	return s.closeDatabase()
}

// begin counts a question to central; it says no once the store closes.
func (s *Store) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.work.Add(1)
	}
	return !s.closed
}
