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
	"github.com/pureboot/pureboot/ent"
)

func (a *api) contentRoutes() {
	const path = wire.PathContent + "/{category}/{path...}"
	route(a, huma.Operation{
		OperationID: "list-content", Method: "GET", Path: wire.PathContent, Summary: "List the files by category and path", Tags: []string{"content"},
	}, access{least: store.Viewer}, func(ctx context.Context, in *struct {
		Paging
		Category string `query:"category" enum:"bootloaders,scripts,templates,images"`
		Prefix   string `query:"prefix" maxLength:"512" doc:"Of the path"`
	},
	) (*answer[store.Page[wire.File]], error) {
		page, err := a.Content.List(ctx, content.Query{
			Category: in.Category, Prefix: in.Prefix, Cursor: in.Cursor, Limit: in.Limit,
		})
		return &answer[store.Page[wire.File]]{store.Page[wire.File]{Items: page.Items, NextCursor: page.Next, Total: page.Total}}, err
	})

	reads, writes := access{least: store.Viewer, agents: true}, access{least: store.Operator}
	a.handle("GET", path, reads, a.getContent) // HEAD as well
	a.handle("PUT", path, writes, a.putContent)
	a.handle("DELETE", path, writes, a.deleteContent)
	// Without this one the ServeMux would redirect a category without a path to one with an empty path.
	a.handle("", wire.PathContent+"/{category}", reads, func(w http.ResponseWriter, r *http.Request) {
		a.writeError(w, r, content.ErrNotFound)
	})
	a.documentContent(reads, writes)
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
	out := &download{ResponseWriter: w, control: http.NewResponseController(w)}
	if a.sendEncoded(out, r, file) {
		return
	}
	// What looks at the bytes finds the ETag; Last-Modified would let two files of one second be taken for one.
	http.ServeContent(out, r, "", time.Time{}, body)
}

// putContent stores a file.
func (a *api) putContent(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-cache")
	digest, err := reprDigest(r.Header.Values("Repr-Digest"))
	if err != nil {
		writeProblem(w, wire.Problem{Status: http.StatusBadRequest, Detail: err.Error(), Errors: []wire.ProblemField{{Location: "header.Repr-Digest", Message: err.Error()}}})
		return
	}
	who := caller(r.Context())
	file, change, err := a.Content.Put(r.Context(), content.Upload{
		Category: r.PathValue("category"), Path: r.PathValue("path"), SHA256: digest,
		Body: &upload{body: http.MaxBytesReader(w, r.Body, maxUpload), control: http.NewResponseController(w)},
		Also: func(ctx context.Context, tx *ent.Tx, f wire.File, c content.Change) error {
			return store.Audit(ctx, tx, who.Actor, store.Act{
				Action: "content.put", Subject: "content/" + f.Category + "/" + f.Path, Detail: string(c), After: f,
			})
		},
	})
	if err != nil {
		a.contentError(w, r, err)
		return
	}
	if !a.setEpoch(w, r) {
		return
	}
	status := http.StatusOK
	if change == content.Created {
		status = http.StatusCreated
	}
	describe(w, file)
	a.writeJSON(w, r, status, file)
}

// deleteContent removes a file.
func (a *api) deleteContent(w http.ResponseWriter, r *http.Request) {
	category, path := r.PathValue("category"), r.PathValue("path")
	who := caller(r.Context())
	err := content.CheckPath(category, path)
	if err == nil {
		err = a.Content.Remove(r.Context(), category, path, func(ctx context.Context, tx *ent.Tx) error {
			return store.Audit(ctx, tx, who.Actor, store.Act{Action: "content.delete", Subject: "content/" + category + "/" + path})
		})
	}
	if err != nil {
		a.contentError(w, r, err)
		return
	}
	if a.setEpoch(w, r) {
		w.WriteHeader(http.StatusNoContent)
	}
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
	w.Header().Set("ETag", `"`+f.SHA256+`"`)
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

// reprDigest reads Repr-Digest (RFC 9530, section 3), a dictionary of digests. Without a sha-256 there is nothing to
// check: nil.
func reprDigest(values []string) (*[32]byte, error) {
	for member := range strings.SplitSeq(strings.Join(values, ","), ",") {
		algorithm, value, _ := strings.Cut(strings.TrimSpace(member), "=")
		if algorithm != "sha-256" {
			continue
		}
		value, _, _ = strings.Cut(value, ";") // parameters
		text, isBytes := strings.CutPrefix(value, ":")
		text, ended := strings.CutSuffix(text, ":")
		sum, err := base64.StdEncoding.Strict().DecodeString(text)
		if !isBytes || !ended || err != nil || len(sum) != 32 {
			return nil, errors.New("the header Repr-Digest is not of the form sha-256=:BASE64:, as RFC 9530 has it")
		}
		return (*[32]byte)(sum), nil
	}
	return nil, nil
}

// documentContent describes the routes beside huma.
func (a *api) documentContent(reads, writes access) {
	name := []*huma.Param{
		{Name: "category", In: "path", Required: true, Schema: &huma.Schema{Type: huma.TypeString, Enum: []any{wire.Bootloaders, wire.Scripts, wire.Templates, wire.Images}}},
		{Name: "path", In: "path", Required: true, Description: "With slashes", Schema: &huma.Schema{Type: huma.TypeString}},
	}
	binary := map[string]*huma.MediaType{"application/octet-stream": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}}
	file := map[string]*huma.MediaType{"application/json": {Schema: &huma.Schema{Ref: "#/components/schemas/File"}}}
	for _, op := range []struct {
		huma.Operation
		who access
	}{
		{huma.Operation{
			OperationID: "get-content", Method: "GET", Summary: "Download a file",
			Description: "With Range, If-Match, If-None-Match and If-Range by its ETag, the SHA-256. With ?chunks, the digests of its pieces.",
			Responses: map[string]*huma.Response{
				"200": {Description: "The file", Content: binary}, "206": {Description: "A part of it", Content: binary},
				"304": {Description: "It is the one that the client has"},
			},
		}, reads},
		{huma.Operation{
			OperationID: "put-content", Method: "PUT", Summary: "Upload a file",
			Description: "Repr-Digest: sha-256=:BASE64: is checked; on a mismatch nothing is stored.",
			RequestBody: &huma.RequestBody{Required: true, Content: binary},
			Responses: map[string]*huma.Response{
				"200": {Description: "Replaced", Content: file}, "201": {Description: "Stored", Content: file},
			},
		}, writes},
		{huma.Operation{
			OperationID: "delete-content", Method: "DELETE", Summary: "Remove a file",
			Responses: map[string]*huma.Response{"204": {Description: "Removed"}},
		}, writes},
	} {
		op.Path, op.Parameters, op.Tags = wire.PathContent+"/{category}/{path}", name, []string{"content"}
		op.Responses["default"] = &huma.Response{Description: "Error", Content: map[string]*huma.MediaType{wire.MediaTypeProblem: {}}}
		a.document(&op.Operation, op.who)
		a.huma.OpenAPI().AddOperation(&op.Operation)
	}
}
