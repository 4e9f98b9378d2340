package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/pureboot/pureboot/central/content"
	"github.com/pureboot/pureboot/central/fleet"
	"github.com/pureboot/pureboot/central/lifecycle"
	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/ent"
)

// problem turns an error into what the client is told of it. What is our own fault goes to the log, with the
// request's id, and the client is told no more than that id.
func (a *api) problem(ctx context.Context, err error) error {
	model := &huma.ErrorModel{Detail: err.Error()}
	header := http.Header{}
	var invalid *store.Invalid
	var conflict *store.Conflict
	var transition *lifecycle.TransitionError
	var limited *fleet.Limited
	var overloaded *fleet.Overloaded
	var column *ent.ValidationError
	var path *content.PathError
	var offset *content.OffsetError
	switch {
	case errors.As(err, &invalid):
		model.Status, model.Detail = http.StatusUnprocessableEntity, "validation failed"
		for _, f := range invalid.Fields {
			model.Errors = append(model.Errors, &huma.ErrorDetail{Message: f.Message, Location: f.Location, Value: f.Value})
		}
	case errors.As(err, &conflict):
		model.Status, model.Detail = http.StatusConflict, conflict.Message
		if conflict.Field != "" {
			model.Errors = []*huma.ErrorDetail{{Message: conflict.Message, Location: conflict.Field}}
		}
	case errors.As(err, &transition):
		model.Status = http.StatusConflict
		model.Errors = []*huma.ErrorDetail{{Message: err.Error(), Location: "body.state", Value: transition.To}}
	case errors.Is(err, store.ErrNotFound), errors.Is(err, content.ErrNotFound):
		model.Status, model.Detail = http.StatusNotFound, "there is no such thing here"
	case errors.Is(err, store.ErrNoAgent):
		model.Status = http.StatusNotFound
	case errors.Is(err, store.ErrUnauthorized):
		model.Status, model.Detail = http.StatusUnauthorized, "a valid token is needed"
		header.Set("WWW-Authenticate", `Bearer realm="PureBoot"`)
	case errors.Is(err, store.ErrRevoked):
		model.Status, model.Type = http.StatusUnauthorized, wire.ProblemRevoked
		header.Set("WWW-Authenticate", `Bearer realm="PureBoot"`)
	case errors.Is(err, store.ErrFenced):
		model.Status, model.Type = http.StatusForbidden, wire.ProblemFenced
	case errors.Is(err, store.ErrJoinToken):
		model.Status = http.StatusUnauthorized
		header.Set("WWW-Authenticate", `Bearer realm="PureBoot"`)
	case errors.Is(err, store.ErrJoinTokenUsed), errors.Is(err, store.ErrJoinTokenExpired):
		model.Status = http.StatusConflict
	case errors.Is(err, store.ErrForbidden):
		model.Status, model.Detail = http.StatusForbidden, strings.ReplaceAll(err.Error(), "\n", ": ")
	case errors.Is(err, store.ErrVersion):
		model.Status, model.Detail = http.StatusPreconditionFailed, "it has changed since it was read: read it again"
	case errors.As(err, &path):
		model.Status, model.Detail = http.StatusBadRequest, content.ErrPath.Error()
		for _, f := range path.Fields {
			model.Errors = append(model.Errors, &huma.ErrorDetail{Message: f.Message, Location: f.Location, Value: clip(fmt.Sprint(f.Value))})
		}
	case errors.As(err, &offset):
		model.Status, model.Type = http.StatusConflict, "https://iana.org/assignments/http-problem-types#mismatching-upload-offset"
		model.Detail = offset.Error()
		header.Set("Upload-Offset", strconv.FormatInt(offset.Have, 10))
	case errors.Is(err, content.ErrLength):
		model.Status = http.StatusBadRequest
	case errors.Is(err, content.ErrBusy):
		model.Status = http.StatusServiceUnavailable
		header.Set("Retry-After", "30")
	case errors.Is(err, content.ErrGlob):
		model.Status = http.StatusUnprocessableEntity
		model.Errors = []*huma.ErrorDetail{{Message: err.Error(), Location: "query.glob"}}
	case errors.Is(err, content.ErrDigest):
		model.Status = http.StatusUnprocessableEntity
		model.Errors = []*huma.ErrorDetail{{Message: "not the digest of the bytes received", Location: "header.Repr-Digest"}}
	case errors.Is(err, content.ErrCursor):
		model.Status, model.Detail = http.StatusUnprocessableEntity, "validation failed"
		model.Errors = []*huma.ErrorDetail{{Message: "not a cursor of this list, or of an earlier life of it", Location: "query.cursor"}}
	case errors.Is(err, store.ErrNoSpace):
		model.Status, model.Detail = http.StatusInsufficientStorage, "central's disk is full; nothing was stored"
		a.Log.Error("disk full", "err", err, "request", wire.RequestID(ctx))
	case store.Away(err):
		model.Status, model.Detail = http.StatusServiceUnavailable, "the database does not answer"
		header.Set("Retry-After", "5")
		a.Log.Error("the database does not answer", "err", err, "request", wire.RequestID(ctx))
	case errors.As(err, &limited):
		model.Status = http.StatusTooManyRequests
		header.Set("Retry-After", strconv.Itoa(int(math.Ceil(limited.RetryAfter.Seconds()))))
	case errors.As(err, &overloaded):
		model.Status = http.StatusServiceUnavailable
		header.Set("Retry-After", strconv.Itoa(int(math.Ceil(overloaded.RetryAfter.Seconds()))))
	case errors.As(err, &column):
		model.Status, model.Detail = http.StatusUnprocessableEntity, "validation failed"
		model.Errors = []*huma.ErrorDetail{{Message: "not a value that can be kept: too long, or not one of the choices", Location: "body." + column.Name}}
	case ctx.Err() != nil:
		model.Status, model.Detail = http.StatusServiceUnavailable, "the request was given up"
		header.Set("Retry-After", "1")
	default:
		model.Status, model.Detail = http.StatusInternalServerError, "central failed; its log says more under request "+wire.RequestID(ctx)
		a.Log.Error("request failed", "err", err, "request", wire.RequestID(ctx))
	}
	model.Title = http.StatusText(model.Status)
	if len(header) > 0 {
		return huma.ErrorWithHeaders(model, header)
	}
	return model
}

// writeError answers a request outside of huma with an error.
func (a *api) writeError(w http.ResponseWriter, r *http.Request, err error) {
	err = a.problem(r.Context(), err)
	if with, ok := errors.AsType[huma.HeadersError](err); ok {
		maps.Copy(w.Header(), with.GetHeaders())
	}
	model, _ := errors.AsType[*huma.ErrorModel](err)
	writeProblem(w, wire.Problem{Type: model.Type, Status: model.Status, Detail: model.Detail, Errors: fields(model.Errors)})
}

// maxValue is how many bytes of a faulty value a problem repeats.
const maxValue = 200

// clipValues keeps problems from repeating what a client sent at length.
func clipValues(_ huma.Context, _ string, v any) (any, error) {
	model, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	for _, d := range model.Errors {
		switch value := d.Value.(type) {
		case string:
			d.Value = clip(value)
		case map[string]any, []any:
			d.Value = nil
		}
	}
	return model, nil
}

func clip(value string) string {
	if len(value) > maxValue {
		return value[:maxValue] + "…"
	}
	return value
}

func fields(details []*huma.ErrorDetail) []wire.ProblemField {
	var f []wire.ProblemField
	for _, d := range details {
		f = append(f, wire.ProblemField{Message: d.Message, Location: d.Location, Value: d.Value})
	}
	return f
}

// writeProblem answers with a problem; its title is that of the status.
func writeProblem(w http.ResponseWriter, p wire.Problem) {
	p.Title = http.StatusText(p.Status)
	body, err := json.Marshal(p)
	if err != nil { // of a value in Errors, all of which came out of JSON
		body = []byte(`{}`)
	}
	h := w.Header()
	h.Set("Content-Type", wire.MediaTypeProblem)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(p.Status)
	_, _ = w.Write(body) // a client that is gone needs no answer
}
