package api

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/pureboot/pureboot/central/content"
	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
)

func (a *api) contentRoutes() {
	const path = wire.PathContent + "/{category}/{path...}"
	route(a, huma.Operation{
		OperationID: "list-content", Method: "GET", Path: wire.PathContent, Summary: "List the files by category and path", Tags: []string{"content"},
	}, access{least: store.Viewer}, func(ctx context.Context, in *struct {
		Paging
		Category string `query:"category" enum:"bootloaders,scripts,templates,images"`
		Prefix   string `query:"prefix" maxLength:"512" doc:"Of the path"`
		Glob     string `query:"glob" maxLength:"512" doc:"Of the name, CATEGORY/PATH, as images/debian-*/**"`
	},
	) (*answer[store.Page[wire.File]], error) {
		page, err := a.Content.List(ctx, content.Query{
			Category: in.Category, Prefix: in.Prefix, Glob: in.Glob, Cursor: in.Cursor, Limit: in.Limit,
		})
		return &answer[store.Page[wire.File]]{store.Page[wire.File]{Items: page.Items, NextCursor: page.Next, Total: page.Total}}, err
	})

	route(a, huma.Operation{
		OperationID: "get-content-status", Method: "GET", Path: wire.PathContent + "/status", Tags: []string{"content"},
		Summary: "Read how much there is, what is free and what the garbage collection did",
	}, access{least: store.Viewer}, func(ctx context.Context, _ *struct{}) (*answer[content.Status], error) {
		status, err := a.Content.Status(ctx)
		return &answer[content.Status]{status}, err
	})

	reads, writes := access{least: store.Viewer, agents: true}, access{least: store.Operator}
	a.handle("GET", path, reads, a.getContent) // HEAD as well
	a.handle("PUT", path, writes, a.putContent)
	a.handle("DELETE", path, writes, a.deleteContent)
	a.handle("POST", path, writes, a.postContent)
	// Without this one the ServeMux would redirect a category without a path to one with an empty path.
	a.handle("", wire.PathContent+"/{category}", reads, func(w http.ResponseWriter, r *http.Request) {
		a.writeError(w, r, content.ErrNotFound)
	})
	a.documentContent(reads, writes)
	a.assignedRoutes()
	a.uploadRoutes()
}

// getContent sends a file, or with ?chunks the digests of its pieces.
func (a *api) getContent(w http.ResponseWriter, r *http.Request) {
	category, path := r.PathValue("category"), r.PathValue("path")
	w.Header().Set("Cache-Control", "no-cache")
	if err := content.CheckPath(category, path); err != nil {
		a.writeError(w, r, err)
		return
	}
	if r.URL.Query().Has("chunks") {
		chunks, err := a.Content.Chunks(r.Context(), category, path)
		if err != nil {
			a.contentError(w, r, err)
			return
		}
		w.Header().Set(wire.HeaderEpoch, chunks.Epoch.String())
		a.writeJSON(w, r, http.StatusOK, chunks)
		return
	}
	body, file, err := a.Content.Open(r.Context(), category, path)
	if err != nil {
		a.contentError(w, r, err)
		return
	}
	defer body.Close()
	if !a.setEpoch(w, r) {
		return
	}
	describe(w, file)
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Vary", "Accept-Encoding")
	if !strings.HasPrefix(r.Header.Get("Range"), "bytes=") {
		r.Header.Del("Range") // in units that nobody here knows: as if there were none (RFC 9110, section 14.2)
	}
	out := &download{ResponseWriter: w, control: http.NewResponseController(w)}
	if a.sendEncoded(out, r, file) {
		return
	}
	// What looks at the bytes finds the ETag; Last-Modified would let two files of one second be taken for one.
	http.ServeContent(out, r, "", time.Time{}, body)
}

// contentError answers with an error and the epoch: a name that is not there says at which time it is not.
func (a *api) contentError(w http.ResponseWriter, r *http.Request, err error) {
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		writeProblem(w, wire.Problem{Status: http.StatusRequestEntityTooLarge, Detail: fmt.Sprintf("a file holds at most %d bytes", tooLarge.Limit)})
		return
	}
	if cut, ok := errors.AsType[*cutError](err); ok {
		writeProblem(w, wire.Problem{Status: http.StatusBadRequest, Detail: cut.Error()})
		return
	}
	if errors.Is(err, content.ErrNotFound) && !a.setEpoch(w, r) {
		return
	}
	a.writeError(w, r, err)
}

// setEpoch names the content epoch. It is read after the file, so that it is not older than what is sent.
func (a *api) setEpoch(w http.ResponseWriter, r *http.Request) bool {
	epoch, err := a.Content.Epoch(r.Context())
	if err != nil {
		a.writeError(w, r, err)
		return false
	}
	w.Header().Set(wire.HeaderEpoch, epoch.String())
	return true
}

func describe(w http.ResponseWriter, f wire.File) {
	w.Header().Set("ETag", content.ETag(f.SHA256))
	if sum, err := hex.DecodeString(f.SHA256); err == nil {
		w.Header().Set("Repr-Digest", "sha-256=:"+base64.StdEncoding.EncodeToString(sum)+":")
	}
}

func (a *api) writeJSON(w http.ResponseWriter, r *http.Request, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		a.writeError(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // a client that is gone needs no answer
}
