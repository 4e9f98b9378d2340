package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
)

const (
	headerKey      = "Idempotency-Key"     // draft-ietf-httpapi-idempotency-key-header
	headerReplayed = "Idempotent-Replayed" // true on an answer that was kept

	maxKey      = 255     // bytes
	maxRoute    = 300     // bytes of method, path and query
	maxAnswer   = 1 << 20 // bytes of an answer's body that are kept
	readKeyed   = 5 * time.Second
	keepTimeout = 5 * time.Second
)

// repeatable has a route honour Idempotency-Key if it makes something, and says so in the OpenAPI document.
func (a *api) repeatable(op *huma.Operation, who access) {
	if op.Method != http.MethodPost || who.open || op.DefaultStatus != http.StatusCreated && op.DefaultStatus != http.StatusAccepted {
		return
	}
	op.MaxBodyBytes = max(op.MaxBodyBytes, 1<<20)
	a.creates[op.Method+" "+op.Path] = op.MaxBodyBytes
	longest := maxKey + 2
	op.Parameters = append(op.Parameters, &huma.Param{
		Name: headerKey, In: "header", Schema: &huma.Schema{Type: huma.TypeString, MaxLength: &longest},
		Description: "Any text of the client's own, as a UUID, best in quotes. Sent again with the same key within 24 hours, the same request " +
			"takes effect once and gets the same answer, with " + headerReplayed + ": true; 409 if that is not known or was a secret, 422 for another request.",
	})
}

// runningKey names a request under way.
type runningKey struct{ principal, key string }

// serveOnce answers a request that its client may send again. The effect and the key are written in one transaction,
// the answer after it and before the client gets it. Should central end between the two, a repetition is told that the
// request took effect, and has no second one.
func (a *api) serveOnce(w http.ResponseWriter, r *http.Request, limit int64) {
	key, ok := idempotencyKey(r.Header.Values(headerKey))
	route := r.Method + " " + r.URL.RequestURI()
	if !ok || len(route) > maxRoute {
		malformed(w, []wire.ProblemField{{
			Location: "header." + headerKey, Message: fmt.Sprintf("want one text of 1 to %d printable ASCII characters, and a short query", maxKey),
		}})
		return
	}
	body, ok := readBody(w, r, limit)
	if !ok {
		return
	}
	who, sum := caller(r.Context()).id, sha256.Sum256(body)
	mine := runningKey{who, key}
	if _, busy := a.running.LoadOrStore(mine, nil); busy {
		w.Header().Set("Retry-After", "1")
		a.writeError(w, r, &store.Conflict{Field: "header." + headerKey, Message: "the first request with this key is still under way"})
		return
	}
	defer a.running.Delete(mine)

	request := &store.Repeatable{Principal: who, Key: key, Route: route, Hash: hex.EncodeToString(sum[:])}
	before, err := a.Store.AnswerTo(r.Context(), request)
	if err != nil {
		a.writeError(w, r, err)
		return
	}
	if before != nil {
		a.replay(w, r, before)
		return
	}
	first := r.WithContext(store.WithRepeatable(r.Context(), request))
	first.Body = io.NopCloser(bytes.NewReader(body))
	out := &held{header: w.Header(), status: http.StatusOK}
	a.mux.ServeHTTP(out, first)
	if request.Taken() && out.status < http.StatusInternalServerError {
		a.keep(r, request, out)
	}
	w.WriteHeader(out.status)
	_, _ = w.Write(out.body.Bytes()) // a client that is gone asks again
}

// readBody returns the whole body, or answers what is wrong with it.
func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, bool) {
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(readKeyed)) // where deadlines are not supported the server has others
	defer control.SetReadDeadline(time.Time{})
	body, err := io.ReadAll(io.LimitReader(r.Body, limit+1))
	switch {
	case int64(len(body)) > limit:
		w.Header().Set("Connection", "close")
		writeProblem(w, wire.Problem{Status: http.StatusRequestEntityTooLarge, Detail: fmt.Sprintf("the body holds at most %d bytes", limit)})
		return nil, false
	case err != nil:
		writeProblem(w, wire.Problem{Status: http.StatusBadRequest, Detail: "the body was cut off; nothing was done"})
		return nil, false
	}
	return body, true
}

// keep keeps an answer to repeat it. One that is to be stored nowhere is not: it holds a secret, or what is soon untrue.
func (a *api) keep(r *http.Request, request *store.Repeatable, out *held) {
	answer := store.Answer{Status: out.status, Header: map[string]string{}}
	for _, name := range []string{"Content-Type", "Location", "ETag"} {
		if v := out.header.Get(name); v != "" {
			answer.Header[name] = v
		}
	}
	if out.header.Get("Cache-Control") != noStore && out.body.Len() <= maxAnswer {
		answer.Body = append([]byte{}, out.body.Bytes()...)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), keepTimeout) // also for a client that is gone
	defer cancel()
	if err := a.Store.KeepAnswer(ctx, request, answer); err != nil {
		a.Log.Warn("an answer was not kept", "err", err, "request", wire.RequestID(r.Context()))
	}
}

// replay answers as before.
func (a *api) replay(w http.ResponseWriter, r *http.Request, before *store.Answer) {
	if before.Status == 0 || len(before.Body) == 0 {
		message := "the request took effect, and its answer is not known: look for what it made"
		if before.Status != 0 {
			message = fmt.Sprintf("the request was answered with %d, and the answer is not kept: it held a secret, or what is soon untrue", before.Status)
		}
		if at := before.Header["Location"]; at != "" {
			w.Header().Set("Location", at)
		}
		a.writeError(w, r, &store.Conflict{Field: "header." + headerKey, Message: message})
		return
	}
	for name, v := range before.Header {
		w.Header().Set(name, v)
	}
	w.Header().Set(headerReplayed, "true")
	w.WriteHeader(before.Status)
	_, _ = w.Write(before.Body) // a client that is gone asks again
}

// idempotencyKey reads the header: a string of RFC 9651, section 3.3.3, or, as many clients send it, the text alone.
func idempotencyKey(values []string) (string, bool) {
	if len(values) != 1 {
		return "", false
	}
	key := strings.TrimSpace(values[0])
	if text, ok := strings.CutPrefix(key, `"`); ok {
		if key, ok = strings.CutSuffix(text, `"`); !ok {
			return "", false
		}
	}
	strange := strings.ContainsFunc(key, func(c rune) bool { return c < 0x20 || c > 0x7e || c == '"' || c == '\\' })
	return key, key != "" && len(key) <= maxKey && !strange
}

// held holds an answer back until it is kept.
type held struct {
	header http.Header
	status int
	begun  bool
	body   bytes.Buffer
}

func (h *held) Header() http.Header { return h.header }

func (h *held) WriteHeader(status int) {
	if !h.begun {
		h.status, h.begun = status, true
	}
}

func (h *held) Write(p []byte) (int, error) {
	h.begun = true
	return h.body.Write(p)
}
