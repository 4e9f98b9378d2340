package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/pureboot/pureboot/central/wire"
)

// maxBody bounds a request, in bytes.
const maxBody = 4 << 20

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	writeJSON(w, status, v)
}

// problem answers with an RFC 9457 body.
func problem(w http.ResponseWriter, status int, detail string, fields ...wire.ProblemField) {
	w.Header().Set("Content-Type", wire.MediaTypeProblem)
	writeJSON(w, status, wire.Problem{Title: http.StatusText(status), Status: status, Detail: detail, Errors: fields})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // every type here is ours and can be marshalled
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)+1))
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n')) // a client that has gone is not told
}

// invalid is a request that cannot be meant: each fault with where it is.
type invalid []wire.ProblemField

func (e *invalid) add(location, format string, args ...any) {
	*e = append(*e, wire.ProblemField{Location: location, Message: fmt.Sprintf(format, args...)})
}

// refuse answers 422 if there are faults.
func (e invalid) refuse(w http.ResponseWriter) bool {
	if len(e) > 0 {
		problem(w, http.StatusUnprocessableEntity, "The request is not valid.", e...)
	}
	return len(e) > 0
}

// fail answers for what went wrong here. The socket is the operator's own: it hears the reason.
func (a *API) fail(w http.ResponseWriter, r *http.Request, err error) {
	a.Log.Error("operator's request not carried out", "method", r.Method, "path", r.URL.Path, "err", err)
	problem(w, http.StatusInternalServerError, err.Error())
}

// decode reads a JSON body into v, strictly, or answers why not.
func decode(w http.ResponseWriter, r *http.Request, v any) bool {
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
		problem(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("The body is larger than %d bytes.", maxBody))
		return false
	}
	problem(w, http.StatusBadRequest, "The body is not what was expected: "+err.Error())
	return false
}
