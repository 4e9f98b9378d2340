package api

import (
	"context"
	"net/http"
	"time"

	"github.com/pureboot/pureboot/central/wire"
)

// healthRoutes are for what watches central and may hold no token: they say nothing but yes or no.
func (a *api) healthRoutes() {
	everybody := access{open: true}
	a.handle("GET", "/healthz", everybody, func(w http.ResponseWriter, r *http.Request) { fine(w) })
	a.handle("GET", "/readyz", everybody, a.ready)
}

func fine(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write([]byte(`{"status":"ok"}` + "\n")) // a client that is gone needs no answer
}

// ready says whether the database answers.
func (a *api) ready(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	if err := a.Store.Ping(ctx); err != nil {
		a.Log.Warn("not ready", "err", err, "request", wire.RequestID(r.Context()))
		w.Header().Set("Retry-After", "5")
		writeProblem(w, wire.Problem{Status: http.StatusServiceUnavailable, Detail: "the database does not answer"})
		return
	}
	fine(w)
}
