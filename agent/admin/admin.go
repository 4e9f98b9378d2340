// Package admin is the API for whoever operates the appliance, on a unix socket that only its user and group reach, and
// over HTTPS for whoever has a token: how the agent is doing, what its cache holds and is to hold, its machines, its metrics. A file holds one resource: what
// it looks like in JSON, its routes, and what they do.
package admin

import (
	"context"
	"log/slog"
	"net/http"
	"path/filepath"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/pureboot/pureboot/agent/cache"
	"github.com/pureboot/pureboot/agent/content"
	"github.com/pureboot/pureboot/agent/httpcache"
	"github.com/pureboot/pureboot/agent/node"
)

// Root begins the paths of all routes but /metrics.
const Root = "/api/v1/agent"

// Options of an API.
type Options struct {
	Status    func(context.Context) Status // asked each time
	Cache     *cache.Store
	Files     *content.Files
	Nodes     *node.Store
	Traces    *node.Traces                  // nil: there are none
	Upstreams map[string]*httpcache.Handler // by prefix
	Sync      Syncer                        // nil while the agent is not enrolled
	Metrics   http.Handler                  // of /metrics; nil: there are none
	Dir       string                        // of the lists that an operator has made
	Log       *slog.Logger
}

// API is an http.Handler. It is safe for concurrent use.
type API struct {
	Options
	mux      *http.ServeMux
	pins     *pins
	prefetch *prefetcher
	verify   *verifier
	tokens   *tokens

	retention atomic.Int64 // days; 0: as content.Retention says
}

// New reads the lists in Dir and has the cache observe the pins. A list that cannot be read is no reason not to boot
// machines: it is empty until somebody changes it.
func New(o Options) *API {
	if o.Traces == nil {
		o.Traces = new(node.Traces)
	}
	a := &API{Options: o, mux: http.NewServeMux(), verify: newVerifier(o.Cache)}
	a.tokens = a.loadTokens()
	a.pins = &pins{list: a.load("pins.json")}
	a.pin()
	a.prefetch = a.newPrefetcher(a.load("prefetch.json"))
	a.routes()
	return a
}

func (a *API) load(name string) *list {
	l, err := loadList(filepath.Join(a.Dir, name))
	if err != nil {
		a.Log.Error("list not readable, going on without it", "err", err)
	}
	return l
}

// Run does what goes on in the background until ctx ends: prefetching, and checks that were asked for.
func (a *API) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return a.prefetch.run(ctx) })
	group.Go(func() error { return a.verify.run(ctx) })
	return group.Wait()
}

func (a *API) routes() {
	for pattern, h := range map[string]http.HandlerFunc{
		"GET " + PathStatus:                  a.getStatus,
		"GET " + PathTokens:                  a.listTokens,
		"POST " + PathTokens:                 a.postToken,
		"DELETE " + PathTokens + "/{id}":     a.deleteToken,
		"GET " + PathNodes:                   a.listNodes,
		"GET " + PathNodes + "/{mac}/trace":  a.getTrace,
		"GET " + PathCache:                   a.getCache,
		"GET " + PathEntries:                 a.listEntries,
		"DELETE " + PathCache + "/{path...}": a.deleteEntry,
		"POST " + PathPurge:                  a.postPurge,
		"POST " + PathEvict:                  a.postEvict,
		"GET " + PathPins:                    a.getPins,
		"PUT " + PathPins:                    a.putPins,
		"POST " + PathPins:                   a.addPins,
		"DELETE " + PathPins:                 a.deletePins,
		"GET " + PathPrefetch:                a.getPrefetch,
		"PUT " + PathPrefetch:                a.putPrefetch,
		"POST " + PathPrefetch:               a.addPrefetch,
		"DELETE " + PathPrefetch:             a.deletePrefetch,
		"GET " + PathSync:                    a.getSync,
		"POST " + PathSync:                   a.postSync,
		"GET " + PathVerify:                  a.getVerify,
		"POST " + PathVerify:                 a.postVerify,
	} {
		a.mux.HandleFunc(pattern, h)
	}
	new(profiles).add(a.mux)
	if a.Metrics != nil {
		a.mux.Handle("GET /metrics", a.Metrics)
	}
}

// ServeHTTP implements http.Handler. What the mux itself refuses becomes a problem too.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if _, pattern := a.mux.Handler(r); pattern != "" {
		a.mux.ServeHTTP(w, r)
		return
	}
	refused := &refusal{header: w.Header()}
	a.mux.ServeHTTP(refused, r)
	switch refused.status {
	case http.StatusMethodNotAllowed:
		problem(w, refused.status, "This path wants another method: "+w.Header().Get("Allow")+".")
	default:
		problem(w, http.StatusNotFound, "There is nothing at this path.")
	}
}

// refusal takes the status and header of an answer, and drops its body.
type refusal struct {
	header http.Header
	status int
}

func (r *refusal) Header() http.Header         { return r.header }
func (r *refusal) WriteHeader(status int)      { r.status = status }
func (r *refusal) Write(b []byte) (int, error) { return len(b), nil }
