// Package api is central's REST API, for administrators and agents.
package api

import (
	"log/slog"
	"net/http"

	"github.com/pureboot/pureboot/central/content"
	"github.com/pureboot/pureboot/central/fleet"
	"github.com/pureboot/pureboot/central/store"
)

// Options says what the API serves.
type Options struct {
	Store     *store.Store
	Content   *content.Repository
	Fleet     *fleet.Fleet
	PublicURL string       // how agents and people reach central; empty leaves it out of the OpenAPI document
	Version   string       // of this build
	Log       *slog.Logger // nil means slog.Default()
}

// New returns the handler of the whole API.
func New(o Options) (http.Handler, error) {
	mux := http.NewServeMux()
	return mux, nil
}
