// Package gateway is the HTTP that a site's machines talk to: boot scripts, boot files, templates and reports. It
// keeps the firmware's rules: no route redirects, a boot route answers with a script whatever is wrong, and a body is
// whole or visibly cut.
package gateway

import (
	"log/slog"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/pureboot/pureboot/agent/boot"
	"github.com/pureboot/pureboot/agent/content"
	"github.com/pureboot/pureboot/agent/node"
	"github.com/pureboot/pureboot/central/wire"
)

// Options of a Gateway.
type Options struct {
	Nodes    *node.Store
	Files    *content.Files
	Key      node.Key
	Enrolled bool // otherwise the scripts say what is missing

	Traces    *node.Traces // of what machines ask for; nil: nobody wants them
	Upstreams []Upstream   // what is not this gateway's own goes to the one with the longest prefix
	Log       *slog.Logger
}

// Gateway is an http.Handler. It is safe for concurrent use.
type Gateway struct {
	Options
	mux       *http.ServeMux
	visitors  visitors
	count     counters
	names     names
	pieceTime time.Duration
}

const (
	serverName = "PureBoot"
	autoexec   = "/bootloaders/autoexec.ipxe"
)

// New returns the gateway's routes.
func New(o Options) *Gateway {
	g := &Gateway{Options: o, mux: http.NewServeMux(), pieceTime: pieceTime}
	g.count.init()
	g.names.begin()
	// Methods are checked by the handlers, since a ServeMux answers HEAD where GET is meant to act.
	for pattern, h := range map[string]http.HandlerFunc{
		"/boot.ipxe":                          g.bootstrap,
		"/autoexec.ipxe":                      g.bootstrap, // which iPXE asks for by itself, beside the file it is
		autoexec:                              g.bootstrap,
		"/boot/{mac...}":                      g.boot,
		"/boot/{mac}/started":                 g.started,
		"/api/v1/boot":                        g.boot,
		"/grub/{mac...}":                      g.grub,
		"/render/{mac}/{path...}":             g.render,
		"/api/v1/nodes":                       g.find,
		"/api/v1/nodes/register":              g.register,
		"/api/v1/nodes/{id}":                  g.read,
		"/api/v1/nodes/{id}/state":            g.changeState,
		"/api/v1/nodes/{id}/event":            g.event,
		"/" + wire.Bootloaders + "/{path...}": g.content(wire.Bootloaders),
		"/" + wire.Scripts + "/{path...}":     g.content(wire.Scripts),
		"/" + wire.Templates + "/{path...}":   g.content(wire.Templates),
		"/" + wire.Images + "/{path...}":      g.content(wire.Images),
		// The mux redirects to a folder's slash unless the folder has a handler too, and answers in plain text
		// what it does not know.
		"/boot":                g.boot,
		"/grub":                g.grub,
		"/render/{mac}":        nothing,
		"/" + wire.Bootloaders: nothing,
		"/" + wire.Scripts:     nothing,
		"/" + wire.Templates:   nothing,
		"/" + wire.Images:      nothing,
		"/":                    nothing,
	} {
		g.mux.HandleFunc(pattern, h)
	}
	return g
}

// Active returns how many requests are being answered.
func (g *Gateway) Active() int { return g.visitors.count() }

// Clients returns the addresses of the machines whose requests are being answered.
func (g *Gateway) Clients() []string { return g.visitors.clients() }

func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	admitted := g.visitors.enter(r.RemoteAddr)
	if admitted {
		defer g.visitors.leave(r.RemoteAddr)
	}
	if !admitted || !g.sendHot(w, r) {
		g.serve(w, r, admitted)
	}
}

// serve is the long way, which knows all.
func (g *Gateway) serve(w http.ResponseWriter, r *http.Request, admitted bool) {
	began := time.Now()
	id := g.requestID(r)
	w.Header().Set(wire.HeaderRequestID, id)
	w.Header().Set("Server", serverName)
	setCacheStatus(w, "")
	out := newResponse(w, g.pieceTime)
	count := g.count.of(r.URL.Path)
	if r.Method != http.MethodHead { // whose bodies are written, but not sent
		out.sent = &count.sent
	}
	defer func() {
		p := recover()
		defer func() {
			count.ended(out.status)
			g.traceLong(r, out, count == g.count.routes[RouteUpstream])
		}()
		out.renew() // for what net/http still writes: a header without a body, or a body's end
		if p == nil && out.err == nil && out.status < 400 && !g.Log.Enabled(r.Context(), out.level) {
			return
		}
		log := g.Log.With("request", id, "client", r.RemoteAddr, "method", r.Method, "path", clip(r.URL.Path))
		if p != nil && p != http.ErrAbortHandler { //nolint:errorlint // it is compared by identity
			log.Error("handler panicked", "panic", p, "stack", string(debug.Stack()))
			if out.status == 0 {
				refuse(out, r, http.StatusInternalServerError, "This is a fault of the agent. Its log says more.")
				p = nil
			}
		}
		if out.err != nil {
			log = log.With("err", out.err) // the client left, or the file could not be read to its end
		}
		if p != nil || out.err != nil || out.status >= 400 {
			out.level = slog.LevelInfo
		}
		log.Log(r.Context(), out.level, "request", "status", out.status, "bytes", out.bytes, "took", time.Since(began),
			"cache", w.Header().Get("Cache-Status"))
		if p != nil || out.err != nil {
			// The status has left; what remains is to make the body's end no end.
			panic(http.ErrAbortHandler)
		}
	}()
	if !admitted {
		g.count.refused.Add(1)
		w.Header().Set("Retry-After", "2")
		problem(out, http.StatusServiceUnavailable, "Too many requests at once.")
		return
	}
	if r.Method == http.MethodOptions && r.URL.Path == "*" {
		out.WriteHeader(http.StatusNoContent) // about the server as a whole there is nothing to tell (RFC 9110 section 9.3.7)
		return
	}
	path, err := cleanPath(r.URL)
	if u := g.upstream(r, path); u != nil {
		if count = g.count.routes[RouteUpstream]; out.sent != nil {
			out.sent = &count.sent
		}
		out.level = slog.LevelDebug // an installation asks for thousands of packages: what went well is a metric
		u.ServeHTTP(out, r.WithContext(wire.WithRequestID(r.Context(), id)))
		return
	}
	if err != nil {
		refuse(out, r, http.StatusBadRequest, err.Error())
		return
	}
	clean, target := r.WithContext(wire.WithRequestID(r.Context(), id)), *r.URL
	target.Path, target.RawPath = path, ""
	clean.URL = &target
	g.mux.ServeHTTP(out, clean)
}

// refuse answers what no handler can: on a boot route with a script that shows the reason, else with a problem.
func refuse(w http.ResponseWriter, r *http.Request, status int, reason string) {
	route, _, _ := strings.Cut(strings.TrimLeft(r.URL.Path, "/"), "/")
	switch read := r.Method == http.MethodGet || r.Method == http.MethodHead; {
	case read && route == "boot":
		sendScript(w, r, boot.Safe(reason))
	case read && route == "grub":
		sendScript(w, r, boot.GrubSafe(reason))
	default:
		problem(w, status, reason)
	}
}

// nothing is at the paths that mean nothing.
func nothing(w http.ResponseWriter, _ *http.Request) {
	problem(w, http.StatusNotFound, "There is nothing at this path.")
}

// allow answers 405 unless the method is one of those.
func allow(w http.ResponseWriter, r *http.Request, methods ...string) bool {
	if slices.Contains(methods, r.Method) {
		return true
	}
	w.Header().Set("Allow", strings.Join(methods, ", "))
	problem(w, http.StatusMethodNotAllowed, "Want "+strings.Join(methods, " or ")+" at this path.")
	return false
}

// requestID returns the caller's name for the request if it is harmless, else a new one.
func (g *Gateway) requestID(r *http.Request) string {
	id := r.Header.Get(wire.HeaderRequestID)
	if !wire.GoodRequestID(id) {
		return string(g.names.next(nil))
	}
	return id
}

// log names the request in what a handler has to say of it.
func (g *Gateway) log(r *http.Request) *slog.Logger {
	return g.Log.With("request", wire.RequestID(r.Context()))
}

// clip shortens for the log what a stranger made long.
func clip(path string) string {
	if len(path) > 300 {
		return path[:300] + "…"
	}
	return path
}
