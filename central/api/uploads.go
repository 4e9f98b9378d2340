package api

import (
	"context"
	"errors"
	"mime"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/content"
	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
)

// pathUploads is where uploads are that may be continued. Their headers are those of Resumable Uploads for HTTP
// (draft-ietf-httpbis-resumable-upload); only that an upload begins with a request of its own, which announces what
// will come, and so may find that it is here already.
const pathUploads = "/api/v1/content-uploads"

// partialUpload is the type of a piece.
const partialUpload = "application/partial-upload"

// newUpload announces a file.
type newUpload struct {
	Category string `json:"category" enum:"bootloaders,scripts,templates,images"`
	Path     string `json:"path" maxLength:"4096" doc:"Within the category"`
	Size     int64  `json:"size" minimum:"0" doc:"Bytes"`
	SHA256   string `json:"sha256" minLength:"64" maxLength:"64" doc:"Hexadecimal, in lower case"`
	Again    bool   `json:"again,omitempty" doc:"Upload the bytes although central has them, to repair them"`
}

// uploadState is how far an upload is. One that is complete is a file, and no longer an upload.
type uploadState struct {
	Status       int
	Location     string `header:"Location"`
	Offset       string `header:"Upload-Offset"`
	Length       string `header:"Upload-Length"`
	Complete     string `header:"Upload-Complete" doc:"?1 when the file is stored, else ?0"`
	CacheControl string `header:"Cache-Control"`
	Body         struct {
		Upload *content.Session `json:"upload" doc:"Null once the file is stored"`
		File   *wire.File       `json:"file" doc:"Null until it is stored"`
	}
}

func (a *api) uploadRoutes() {
	const path = pathUploads + "/{id}"
	tags, who := []string{"content"}, access{least: store.Operator}
	route(a, huma.Operation{
		OperationID: "create-upload", Method: "POST", Path: pathUploads, DefaultStatus: http.StatusCreated, Tags: tags,
		Summary: "Announce a file, to be uploaded in pieces",
		Description: "If central has the bytes already, under whatever name, the file is stored at once. Else its bytes go to the Location with PATCH, " +
			"from Upload-Offset on; after a break HEAD tells where to continue. Without a byte for 24 hours an upload is given up.",
	}, who, func(ctx context.Context, in *struct{ Body newUpload }) (*uploadState, error) {
		s, stored, err := a.Content.Begin(ctx, content.Announcement{
			Category: in.Body.Category, Path: in.Body.Path, Size: in.Body.Size, SHA256: in.Body.SHA256, Again: in.Body.Again,
			By: caller(ctx).Name, Also: a.auditFile(ctx, "content.put"),
		})
		if err != nil {
			return nil, err
		}
		out := showUpload(s, stored)
		if out.Status = http.StatusCreated; stored == nil {
			out.Location = pathUploads + "/" + s.ID.String()
		} else if stored.Change != content.Created {
			out.Status = http.StatusOK
		}
		return out, nil
	})
	route(a, huma.Operation{
		OperationID: "list-uploads", Method: "GET", Path: pathUploads, Summary: "List the uploads that wait for bytes", Tags: tags,
	}, access{least: store.Viewer}, func(ctx context.Context, _ *struct{}) (*answer[store.Page[content.Session]], error) {
		list, err := a.Content.Sessions(ctx)
		return &answer[store.Page[content.Session]]{store.Page[content.Session]{Items: list, Total: len(list)}}, err
	})
	route(a, huma.Operation{
		OperationID: "get-upload", Method: "GET", Path: path, Tags: tags,
		Summary:     "Read how far an upload is",
		Description: "A request that still sends bytes for it is ended first. One that is not there is done, or was given up.",
	}, who, func(ctx context.Context, in *ByID) (*uploadState, error) {
		s, err := a.Content.Session(ctx, in.ID)
		if err != nil {
			return nil, err
		}
		return showUpload(s, nil), nil
	})
	route(a, huma.Operation{
		OperationID: "cancel-upload", Method: "DELETE", Path: path, DefaultStatus: http.StatusNoContent, Summary: "Give an upload up", Tags: tags,
	}, who, func(ctx context.Context, in *ByID) (*nothing, error) {
		return nil, a.Content.Cancel(ctx, in.ID)
	})
	a.handle("PATCH", path, who, a.patchUpload)
	a.documentPatchUpload(who)
}

func showUpload(s content.Session, stored *content.Stored) *uploadState {
	out := &uploadState{Status: http.StatusOK, CacheControl: noStore, Complete: "?0"}
	if stored != nil {
		out.Body.File, out.Complete = &stored.File, "?1"
		out.Offset = strconv.FormatInt(stored.File.Size, 10)
		out.Length = out.Offset
		return out
	}
	out.Body.Upload = &s
	out.Offset, out.Length = strconv.FormatInt(s.Offset, 10), strconv.FormatInt(s.Size, 10)
	return out
}

// patchUpload takes a piece. The last one is answered with the file.
func (a *api) patchUpload(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", noStore)
	id, err := uuid.Parse(r.PathValue("id"))
	if err != nil {
		a.writeError(w, r, store.ErrNotFound)
		return
	}
	offset, faults := piece(r)
	if malformed(w, faults) {
		return
	}
	body := a.receiving(w, r)
	s, stored, err := a.Content.Append(r.Context(), content.Piece{
		ID: id, Offset: offset, Body: body, Interrupt: body.interrupt, Also: a.auditFile(r.Context(), "content.put"),
	})
	switch {
	case errors.Is(err, content.ErrDigest):
		writeProblem(w, wire.Problem{
			Status: http.StatusUnprocessableEntity, Detail: err.Error(),
			Errors: []wire.ProblemField{{Location: "body", Message: "not the digest that was announced; the upload is given up"}},
		})
	case err != nil:
		a.contentError(w, r, err)
	case stored != nil:
		w.Header().Set("Upload-Complete", "?1")
		w.Header().Set("Upload-Offset", strconv.FormatInt(stored.File.Size, 10))
		a.stored(w, r, stored.File, stored.Change)
	default:
		w.Header().Set("Upload-Complete", "?0")
		w.Header().Set("Upload-Offset", strconv.FormatInt(s.Offset, 10))
		w.WriteHeader(http.StatusNoContent)
	}
}

// piece returns where a piece begins, or what is wrong with its headers.
func piece(r *http.Request) (offset int64, faults []wire.ProblemField) {
	faults = append(plain(r.Header), parameters(r.URL.Query())...)
	text := r.Header.Get("Upload-Offset")
	offset, err := strconv.ParseInt(text, 10, 64)
	if err != nil || offset < 0 {
		faults = append(faults, wire.ProblemField{Location: "header.Upload-Offset", Message: "not a number of bytes", Value: clip(text)})
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != partialUpload {
		faults = append(faults, wire.ProblemField{Location: "header.Content-Type", Message: "not " + partialUpload, Value: clip(r.Header.Get("Content-Type"))})
	}
	return offset, faults
}

// documentPatchUpload describes the route beside huma.
func (a *api) documentPatchUpload(who access) {
	text := func(in, name, doc string) *huma.Param {
		return &huma.Param{Name: name, In: in, Required: true, Description: doc, Schema: &huma.Schema{Type: huma.TypeString}}
	}
	a.specify(huma.Operation{
		OperationID: "append-upload", Method: "PATCH", Path: pathUploads + "/{id}", Summary: "Upload a piece of a file", Tags: []string{"content"},
		Description: "What came of a piece that breaks off is kept. With the last byte the digest is checked and the file stored.",
		Parameters:  []*huma.Param{text("path", "id", "UUID"), text("header", "Upload-Offset", "Of the first byte; 409 if it is not the next one, and the answer says which is")},
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{partialUpload: {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}}},
		Responses: map[string]*huma.Response{
			"200": {Description: "The file replaced another", Content: map[string]*huma.MediaType{"application/json": {Schema: &huma.Schema{Ref: "#/components/schemas/File"}}}},
			"201": {Description: "The file is stored", Content: map[string]*huma.MediaType{"application/json": {Schema: &huma.Schema{Ref: "#/components/schemas/File"}}}},
			"204": {Description: "There is more to come"},
		},
	}, who)
}
