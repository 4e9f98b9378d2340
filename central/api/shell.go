package api

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path"
	"runtime/debug"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
)

// shell is what every request passes first and every answer last.
func (a *api) shell() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get(wire.HeaderRequestID)
		if !wire.GoodRequestID(id) {
			id = rand.Text()
		}
		w.Header().Set(wire.HeaderRequestID, id)
		r = r.WithContext(wire.WithRequestID(r.Context(), id))
		answer := &recorder{ResponseWriter: w}
		began := time.Now()
		who := "-"
		defer func() { a.metrics.answered(answer.route, answer.status, time.Since(began)) }() // also when the next one panics, to cut the connection
		defer func() {
			if failed := recover(); failed != nil {
				a.afterPanic(answer, r, failed)
			}
			a.Log.Log(r.Context(), level(r, answer.status), "request", "method", r.Method, "path", r.URL.Path, "status", answer.status, "bytes", answer.bytes,
				"took", time.Since(began), "who", who, "from", address(r), "request", id)
		}()
		who = a.serve(answer, r)
	})
}

// level is that of a request's line in the log: what comes every few seconds whether or not anybody wants anything, and
// goes well, is not what an operator looks for.
func level(r *http.Request, status int) slog.Level {
	switch r.URL.Path {
	case "/healthz", "/readyz", "/metrics", wire.PathHeartbeat:
		if status < 400 {
			return slog.LevelDebug
		}
	}
	return slog.LevelInfo
}

// unreadable returns what in a query is no text: escapes that are none, no UTF-8, or a NUL, over which PostgreSQL fails.
func unreadable(u *url.URL) []wire.ProblemField {
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return []wire.ProblemField{{Location: "query", Message: "not well formed"}}
	}
	var faults []wire.ProblemField
	for name, values := range query {
		for _, text := range append(values, name) {
			if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
				faults = append(faults, wire.ProblemField{Location: "query." + clip(strings.ToValidUTF8(name, "")), Message: "no UTF-8, or a NUL in it"})
				break
			}
		}
	}
	return faults
}

// serve answers a request and returns who asked.
func (a *api) serve(w *recorder, r *http.Request) string {
	if !cleanPath(r) {
		writeProblem(w, wire.Problem{Status: http.StatusBadRequest, Detail: "the path holds an empty, . or .. element, an encoded slash or a control character"})
		return "-"
	}
	if faults := unreadable(r.URL); malformed(w, faults) {
		return "-"
	}
	h, pattern := a.mux.Handler(r)
	if pattern == "" {
		a.noRoute(w, r, h)
		return "-"
	}
	w.route = pattern
	p, err := a.admit(r, pattern)
	if err != nil {
		a.writeError(w, r, err)
		return p.Name
	}
	if faults := a.ambiguous(pattern, r.URL); faults != nil {
		a.writeError(w, r, &store.Invalid{Fields: faults})
		return p.Name
	}
	out, end := a.compact(w, r, p)
	r = r.WithContext(context.WithValue(r.Context(), principalKey{}, p))
	if limit, ok := a.creates[pattern]; ok && len(r.Header.Values(headerKey)) > 0 {
		a.serveOnce(out, r, limit)
	} else {
		a.mux.ServeHTTP(out, r)
	}
	end()
	return p.Name
}

// admit is guard, which a heartbeat passes only if central has time for it.
func (a *api) admit(r *http.Request, pattern string) (principal, error) {
	if r.URL.Path == wire.PathHeartbeat {
		leave, err := a.Fleet.Enter()
		if err != nil {
			return principal{}, err
		}
		defer leave()
	}
	return a.guard(r, a.access[pattern])
}

// cleanPath says whether a path is its own shortest form, so that what is matched, logged and opened is the same.
func cleanPath(r *http.Request) bool {
	p, escaped := r.URL.Path, strings.ToLower(r.URL.EscapedPath())
	return strings.HasPrefix(p, "/") &&
		(path.Clean(p) == p || path.Clean(p)+"/" == p) &&
		!strings.Contains(escaped, "%2f") && !strings.Contains(p, `\`) && !strings.ContainsFunc(p, unicode.IsControl)
}

// noRoute answers what no route is for. The ServeMux's own handler knows whether another method would be.
func (a *api) noRoute(w http.ResponseWriter, r *http.Request, h http.Handler) {
	probe := &silent{header: http.Header{}}
	h.ServeHTTP(probe, r)
	p := wire.Problem{Status: http.StatusNotFound, Detail: "there is nothing at this path"}
	if allow := probe.header.Get("Allow"); allow != "" {
		w.Header().Set("Allow", allow)
		p = wire.Problem{Status: http.StatusMethodNotAllowed, Detail: "this path takes " + allow}
	}
	writeProblem(w, p)
}

// afterPanic answers 500 if nothing has been answered yet; else it cuts the connection, so that the client does not
// take what it has for all there is.
func (a *api) afterPanic(w *recorder, r *http.Request, failed any) {
	if failed == http.ErrAbortHandler {
		panic(failed)
	}
	a.Log.Error("panic", "err", failed, "method", r.Method, "path", r.URL.Path, "request", wire.RequestID(r.Context()),
		"stack", string(debug.Stack()))
	if w.status != 0 {
		panic(http.ErrAbortHandler)
	}
	clear(w.Header())
	w.Header().Set(wire.HeaderRequestID, wire.RequestID(r.Context()))
	writeProblem(w, wire.Problem{
		Status: http.StatusInternalServerError, Detail: "central failed; its log says more under request " + wire.RequestID(r.Context()),
	})
}

// address returns where a request comes from, without the port.
func address(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// recorder notes what was answered.
type recorder struct {
	http.ResponseWriter
	route  string // its pattern; empty: there is none
	status int
	bytes  int64
}

func (w *recorder) WriteHeader(status int) {
	if status >= 200 && w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}

// Unwrap is for http.ResponseController.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// silent takes an answer that nobody shall see.
type silent struct{ header http.Header }

func (s *silent) Header() http.Header         { return s.header }
func (s *silent) Write(p []byte) (int, error) { return len(p), nil }
func (s *silent) WriteHeader(int)             {}
