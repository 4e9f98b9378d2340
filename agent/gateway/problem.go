package gateway

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/pureboot/pureboot/central/wire"
)

// maxBody bounds a machine's request, in bytes.
const maxBody = 128 << 10

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
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n')) // a client that has gone is not told
}

// decode reads a JSON body into v, strictly, or answers why not.
func decode(w http.ResponseWriter, r *http.Request, v any) bool {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		problem(w, http.StatusUnsupportedMediaType, "Want Content-Type: application/json.")
		return false
	}
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
		problem(w, http.StatusRequestEntityTooLarge, "The body is larger than 128 KiB.")
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
