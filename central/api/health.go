package api

import (
	"context"
	"maps"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/pureboot/pureboot/central/wire"
)

// healthRoutes are for what watches central and may hold no token: they say nothing but yes or no.
func (a *api) healthRoutes() {
	everybody := access{open: true}
	ok := &huma.Schema{
		Type: huma.TypeObject, Required: []string{"status"}, AdditionalProperties: false,
		Properties: map[string]*huma.Schema{"status": {Type: huma.TypeString, Enum: []any{"ok"}}},
	}
	fineThen := map[string]*huma.Response{"200": {Description: "It does", Content: map[string]*huma.MediaType{"application/json": {Schema: ok}}}}
	a.specify(huma.Operation{
		OperationID: "get-healthz", Method: "GET", Path: "/healthz", Summary: "Ask whether central runs", Tags: []string{"central"},
		Responses: maps.Clone(fineThen),
	}, everybody)
	a.specify(huma.Operation{
		OperationID: "get-readyz", Method: "GET", Path: "/readyz", Summary: "Ask whether central and its database answer", Tags: []string{"central"},
		Responses: maps.Clone(fineThen), Errors: []int{http.StatusServiceUnavailable},
	}, everybody)
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
