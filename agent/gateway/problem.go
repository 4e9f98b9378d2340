package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/pureboot/pureboot/agent/node"
	"github.com/pureboot/pureboot/central/wire"
)

// statusGone is what the log says of a client that left. Nobody reads it elsewhere.
const statusGone = 499

// maxBody bounds a machine's request, in bytes.
const maxBody = 128 << 10

// bodyTime is how long a machine may take to send it.
const bodyTime = 10 * time.Second

// problem answers with an RFC 9457 body.
func problem(w http.ResponseWriter, status int, detail string, fields ...wire.ProblemField) {
	w.Header().Set("Content-Type", wire.MediaTypeProblem)
	w.Header().Set("Cache-Control", "no-store")
	setCacheStatus(w, "") // a problem is never the cache's
	writeJSON(w, status, wire.Problem{Title: http.StatusText(status), Status: status, Detail: detail, Errors: fields})
}

// answer sends JSON.
func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, status, v)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // every type here is ours and can be marshalled
	}
	text = append(text, '\n')
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	_, _ = w.Write(text) // a client that has gone is not told
}

// fail is the one place where an error about a node becomes a status. What is central's or the agent's own fault
// tells the client little and the log everything.
func (g *Gateway) fail(w http.ResponseWriter, r *http.Request, err error) {
	later := func(status int, seconds, detail string) {
		w.Header().Set("Retry-After", seconds)
		problem(w, status, detail)
	}
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
	case errors.Is(err, node.ErrTooMany):
		later(http.StatusTooManyRequests, "30", "Too many unknown machines at once.")
	case errors.Is(err, node.ErrFull):
		later(http.StatusServiceUnavailable, "60", "Too many reports wait for central.")
	case errors.Is(err, context.Canceled):
		problem(w, statusGone, "The client has gone.")
	default:
		g.log(r).Warn("request not answered", "method", r.Method, "path", clip(r.URL.Path), "err", err)
		later(http.StatusServiceUnavailable, "5", "Central cannot be reached and this site does not know the answer.")
	}
}

// decode reads a JSON body into v, strictly, or answers why not.
func decode(w http.ResponseWriter, r *http.Request, v any) bool {
	// What the wget and curl of an installer call a body unless they are told otherwise is let pass.
	switch kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind {
	case "application/json", "application/x-www-form-urlencoded", "":
	default:
		problem(w, http.StatusUnsupportedMediaType, "Want Content-Type: application/json.")
		return false
	}
	if r.ContentLength > maxBody {
		tooLarge(w)
		return false
	}
	// A connection that cannot have a deadline, as in a test's recorder, does without.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTime))
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if err == nil {
		if _, err = d.Token(); errors.Is(err, io.EOF) {
			return true
		}
		err = errors.New("more than one JSON value")
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		tooLarge(w)
		return false
	}
	if fault, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && fault.Field != "" {
		problem(w, http.StatusUnprocessableEntity, "A field has the wrong type.",
			wire.ProblemField{Location: "body." + fault.Field, Message: "want " + fault.Type.String() + ", not " + fault.Value})
		return false
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		problem(w, http.StatusUnprocessableEntity, "A field is not known.",
			wire.ProblemField{Location: "body." + strings.Trim(name, `"`), Message: "unknown field"})
		return false
	}
	problem(w, http.StatusBadRequest, "The body is not JSON: "+err.Error())
	return false
}

func tooLarge(w http.ResponseWriter) {
	problem(w, http.StatusRequestEntityTooLarge, "The body is larger than 128 KiB.")
}
