// Package api is central's REST API, for administrators and agents alike.
//
// A request passes the shell (an id, a clean path, the log, a net for panics), then the guard (who asks, and whether
// the route is for him), then a handler that decodes, checks, acts through package store, content or fleet, and
// encodes. Errors become problem+json (RFC 9457) in one place, problem.go. JSON routes are huma's, which makes the
// OpenAPI document of them; files go through the plain ServeMux beside it.
package api

import (
	"log/slog"
	"net/http"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/pureboot/pureboot/central/content"
	"github.com/pureboot/pureboot/central/fleet"
	"github.com/pureboot/pureboot/central/store"
)

// Options says what the API serves.
type Options struct {
	Store     *store.Store
	Content   *content.Repository
	Encodings *content.Encodings // nil: files go out as they are
	Fleet     *fleet.Fleet
	PublicURL string       // how agents and people reach central; empty leaves it out of the OpenAPI document
	Version   string       // of this build
	Logins    int          // failed ones of an address at once, and one a second after them; 0 means 20
	Log       *slog.Logger // nil means slog.Default()
}

// api holds what the handlers share. After New it is only read.
type api struct {
	Options
	mux      *http.ServeMux
	huma     huma.API
	access   map[string]access // by the pattern of the route
	creates  map[string]int64  // the bytes that a body may have, by the pattern of a route that honours Idempotency-Key
	metrics  *metrics
	logins   fleet.Limiter       // of those that failed
	encoders sync.Pool           // of *zstd.Encoder
	single   map[string][]string // the parameters of the query that take one value, by the pattern that they are described under
	running  sync.Map            // of runningKey: the requests with an Idempotency-Key that are under way
}

// New returns the handler of the whole API.
func New(o Options) (http.Handler, error) {
	a, err := build(o)
	if err != nil {
		return nil, err
	}
	return a.shell(), nil
}

func build(o Options) (*api, error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	o.Log = o.Log.With("room", "api")
	a := &api{Options: o, mux: http.NewServeMux(), access: map[string]access{}, creates: map[string]int64{}, logins: fleet.Limiter{Burst: o.Logins}}

	config := huma.DefaultConfig("PureBoot central", o.Version)
	config.DocsPath, config.OpenAPIPath, config.SchemasPath, config.CreateHooks = "", "", "", nil
	config.Formats = map[string]huma.Format{"application/json": strictJSON, "json": strictJSON}
	config.Transformers = []huma.Transformer{clipValues}
	if o.PublicURL != "" {
		config.Servers = []*huma.Server{{URL: o.PublicURL}}
	}
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"token": {Type: "http", Scheme: "bearer", Description: "pbt_… of an administrator, pba_… of an agent"},
	}
	a.metrics = newMetrics(a)
	a.huma = humago.New(a.mux, config)

	a.healthRoutes()
	a.metricsRoutes()
	a.groupRoutes()
	a.siteRoutes()
	a.credentialRoutes()
	a.commandRoutes()
	a.nodeRoutes()
	a.workflowRoutes()
	a.contentRoutes()
	a.agentRoutes()
	a.tokenRoutes()
	a.auditRoutes()
	a.migrationRoutes()
	a.conflictRoutes()

	if err := a.specRoutes(); err != nil {
		return nil, err
	}
	a.single = single(a.huma.OpenAPI())
	return a, nil
}
