// Package fleet is what central does for its agents: it enrols them with join tokens, knows them by their
// credentials, hears their heartbeats and judges by them how a site is. It says nothing of HTTP, which is package
// api's.
package fleet

import (
	"log/slog"
	"time"

	"github.com/pureboot/pureboot/central/content"
	"github.com/pureboot/pureboot/central/store"
)

// Options says what a fleet works with.
type Options struct {
	Store   *store.Store
	Content *content.Repository
	Pin     [32]byte     // SHA-256 of the SubjectPublicKeyInfo of the CA that agents trust; part of each join token
	Log     *slog.Logger // nil means slog.Default()
}

// Fleet serves the agents of all sites. Its methods may be called at once from many goroutines.
type Fleet struct {
	Options
	started time.Time
	joins   Limiter
}

// New returns a fleet. Its start is when central began to listen: for a while after it, silence means nothing.
func New(o Options) *Fleet {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	o.Log = o.Log.With("room", "fleet")
	return &Fleet{Options: o, started: time.Now()}
}
