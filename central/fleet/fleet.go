// Package fleet is what central does for its agents: it enrols them with join tokens, knows them by their
// credentials, hears their heartbeats and judges by them how a site is. It says nothing of HTTP, which is package
// api's.
package fleet

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pureboot/pureboot/central/content"
	"github.com/pureboot/pureboot/central/store"
)

// Options says what a fleet works with.
type Options struct {
	Store   *store.Store
	Content *content.Repository
	Pin     [32]byte     // SHA-256 of the SubjectPublicKeyInfo of the CA that agents trust; part of each join token
	CA      CA           // of the certificates of agents; nil: this central makes none
	Log     *slog.Logger // nil means slog.Default()
}

// Fleet serves the agents of all sites. Its methods may be called at once from many goroutines.
type Fleet struct {
	Options
	joins Limiter
	live  liveness
	busy  atomic.Int32 // heartbeats that are worked on
	heard atomic.Int64 // heartbeats that were answered
	sent  atomic.Int64 // heartbeats that were sent back
	stuck bool         // Run's own: the last write failed

	mu      sync.Mutex
	hearing time.Time // since when central hears its agents without a gap
	watched time.Time // when it last looked after them
}

// New returns a fleet. Its start is when central began to listen: for a while after it, silence means nothing. Whoever
// does not Run it must Close it all the same.
func New(o Options) *Fleet {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	o.Log = o.Log.With("room", "fleet")
	now := time.Now()
	return &Fleet{Options: o, hearing: now, watched: now}
}
