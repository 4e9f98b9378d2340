// Package gateway is the HTTP that a site's machines talk to: boot scripts, boot files, templates and reports. It
// keeps the firmware's rules: no route redirects, a boot route answers with a script whatever is wrong, and a body is
// whole or visibly cut.
package gateway

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pureboot/pureboot/agent/content"
	"github.com/pureboot/pureboot/agent/node"
	"github.com/pureboot/pureboot/central/wire"
)

// bootTime bounds the answer of a boot route: firmware that waits longer may give up for good.
const bootTime = 2500 * time.Millisecond

// maxActive is how many requests are worked on at once. The rest is asked to come back, which iPXE does.
const maxActive = 4096

// Options of a Gateway.
type Options struct {
	Nodes    *node.Store
	Files    *content.Files
	Key      node.Key
	Enrolled bool // otherwise the scripts say what is missing
	Log      *slog.Logger
}

// Gateway is an http.Handler. It is safe for concurrent use.
type Gateway struct {
	Options
	mux    *http.ServeMux
	active atomic.Int64

	hits, lookups atomic.Int64 // content requests served from the cache, and all
}

// New returns the gateway's routes.
func New(o Options) *Gateway {
	g := &Gateway{Options: o, mux: http.NewServeMux()}
	// Methods are checked by the handlers, since a ServeMux answers HEAD where GET is meant to act.
	for pattern, h := range map[string]http.HandlerFunc{
		"/boot.ipxe":                          g.bootstrap,
		"/boot/{mac}":                         g.boot,
		"/boot/{mac}/started":                 g.started,
		"/api/v1/boot":                        g.boot,
		"/grub/{mac}":                         g.grub,
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
	} {
		g.mux.HandleFunc(pattern, h)
	}
	return g
}

// Active returns how many requests are being answered.
func (g *Gateway) Active() int { return int(g.active.Load()) }

// HitRate returns the share of content requests since the start that the cache answered.
func (g *Gateway) HitRate() float64 {
	if all := g.lookups.Load(); all > 0 {
		return float64(g.hits.Load()) / float64(all)
	}
	return 0
}

func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	id := requestID(r)
	w.Header().Set(wire.HeaderRequestID, id)
	w.Header().Set("Server", "PureBoot")
	out := &response{ResponseWriter: w}
	log := g.Log.With("request", id, "client", r.RemoteAddr, "method", r.Method, "path", redact(r.URL.Path))
	defer func() {
		p := recover()
		if p != nil && p != http.ErrAbortHandler { //nolint:errorlint // it is compared by identity
			log.Error("handler panicked", "panic", p)
			p = http.ErrAbortHandler
			if out.status == 0 {
				problem(out, http.StatusInternalServerError, "This is a fault of the agent; its log says more.")
				p = nil
			}
		}
		log.Info("request", "status", out.status, "bytes", out.bytes, "took", time.Since(began),
			"cache", w.Header().Get("Cache-Status"))
		if p != nil {
			panic(p)
		}
	}()
	defer g.active.Add(-1)
	if g.active.Add(1) > maxActive {
		w.Header().Set("Retry-After", "2")
		problem(out, http.StatusServiceUnavailable, "Too many requests at once.")
		return
	}

	path, err := cleanPath(r.URL)
	if err != nil {
		problem(out, http.StatusBadRequest, err.Error())
		return
	}
	clean := r.Clone(wire.WithRequestID(r.Context(), id))
	clean.URL.Path, clean.URL.RawPath = path, ""
	g.route(out, clean)
}

// route finds the handler of a clean path. A ServeMux would redirect the name of a folder to its slash and answer
// what it does not know in plain text; here neither happens.
func (g *Gateway) route(w http.ResponseWriter, r *http.Request) {
	_, pattern := g.mux.Handler(r)
	if pattern == "" || strings.HasSuffix(pattern, "...}") && !strings.Contains(r.URL.Path[1:], "/") {
		problem(w, http.StatusNotFound, "There is nothing at this path.")
		return
	}
	g.mux.ServeHTTP(w, r)
}

// allow answers 405 unless the method is one of those.
func allow(w http.ResponseWriter, r *http.Request, methods ...string) bool {
	for _, m := range methods {
		if r.Method == m {
			return true
		}
	}
	w.Header().Set("Allow", strings.Join(methods, ", "))
	problem(w, http.StatusMethodNotAllowed, fmt.Sprintf("%s is not for this path.", r.Method))
	return false
}

// serverURL returns the agent's address as the client reached it, from the socket: a Host header is the client's word.
func serverURL(r *http.Request) string {
	addr, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return ""
	}
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	return scheme + "://" + hostPort(addr.String())
}

// hostPort leaves out port 80, which GRUB and some firmware cannot write.
func hostPort(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || port != "80" {
		return addr
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return host
}

// clientIP returns the address the request came from.
func clientIP(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return ""
	}
	return host
}

// requestID returns the caller's name for the request if it is harmless, else a new one.
func requestID(r *http.Request) string {
	id := r.Header.Get(wire.HeaderRequestID)
	if id == "" || len(id) > 64 || strings.ContainsFunc(id, func(c rune) bool { return c <= ' ' || c > '~' || c == '"' }) {
		return rand.Text()
	}
	return id
}

// redact shortens what a stranger made long.
func redact(path string) string {
	if len(path) > 300 {
		return path[:300] + "…"
	}
	return path
}

// response remembers what was sent, for the log.
type response struct {
	http.ResponseWriter
	status int
	bytes  int64
	err    error // the first that a write met
}

func (w *response) WriteHeader(status int) {
	if w.status == 0 || w.status < 200 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// errorStatus is the one place where an error becomes a status.
func errorStatus(w http.ResponseWriter, err error) {
	refusal, refused := errors.AsType[*wire.Refusal](err)
	switch {
	case refused && refusal.Gone(), errors.Is(err, node.ErrUnknown):
		problem(w, http.StatusNotFound, "No such node.")
	case refused && refusal.Final():
		// Central judged the request itself; its words are for whoever made it.
		problem(w, refusal.Status, refusal.Problem.Detail, refusal.Problem.Errors...)
	case errors.Is(err, errNoToken):
		w.Header().Set("WWW-Authenticate", "Bearer")
		problem(w, http.StatusUnauthorized, "Want the token that the node's boot script was given.")
	case errors.Is(err, node.ErrToken):
		problem(w, http.StatusForbidden, "The token is not valid for this node, or no longer.")
	case errors.Is(err, context.Canceled):
		problem(w, 499, "The client has gone.")
	default:
		w.Header().Set("Retry-After", "5")
		problem(w, http.StatusServiceUnavailable, "Central cannot be reached and this site does not know the answer.")
	}
}
