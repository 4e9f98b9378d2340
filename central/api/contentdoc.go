package api

import (
	"maps"
	"net/http"
	"reflect"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/pureboot/pureboot/central/content"
	"github.com/pureboot/pureboot/central/wire"
)

// documentContent describes the routes of files, which are beside huma.
func (a *api) documentContent(reads, writes access) {
	name := []*huma.Param{
		{Name: "category", In: "path", Required: true, Schema: &huma.Schema{Type: huma.TypeString, Enum: []any{wire.Bootloaders, wire.Scripts, wire.Templates, wire.Images}}},
		{Name: "path", In: "path", Required: true, Description: "With slashes", Schema: &huma.Schema{Type: huma.TypeString}},
	}
	flag := func(name, doc string) *huma.Param {
		return &huma.Param{Name: name, In: "query", Description: doc, Schema: &huma.Schema{Type: huma.TypeString}}
	}
	header := func(name, doc string) *huma.Param {
		return &huma.Param{Name: name, In: "header", Description: doc, Schema: &huma.Schema{Type: huma.TypeString}}
	}
	match := []*huma.Param{header("If-Match", "ETags: 412 unless it is one of them"), header("If-None-Match", "*: 412 if there is a file")}
	binary := map[string]*huma.MediaType{"application/octet-stream": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}}
	file := map[string]*huma.MediaType{"application/json": {Schema: &huma.Schema{Ref: "#/components/schemas/File"}}}
	verdict := map[string]*huma.MediaType{"application/json": {Schema: a.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[content.Verdict](), true, "")}}
	either := maps.Clone(binary)
	either["application/json"] = &huma.MediaType{Schema: a.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[wire.Chunks](), true, "")}
	for _, op := range []struct {
		huma.Operation
		who access
	}{
		{huma.Operation{
			OperationID: "get-content", Method: "GET", Summary: "Download a file", Parameters: []*huma.Param{flag("chunks", "The digests of its pieces instead, as JSON")},
			Description: "With Range, If-Match, If-None-Match and If-Range by its ETag, the SHA-256.",
			Responses: map[string]*huma.Response{
				"200": {Description: "The file", Content: either}, "206": {Description: "A part of it", Content: binary},
				"304": {Description: "It is the one that the client has"},
			},
			Errors: []int{http.StatusPreconditionFailed, http.StatusRequestedRangeNotSatisfiable},
		}, reads},
		{huma.Operation{
			OperationID: "put-content", Method: "PUT", Summary: "Upload a file",
			Description: "Repr-Digest or Content-Digest: sha-256=:BASE64: is checked; on a mismatch nothing is stored. The version before is kept.",
			Parameters:  append(match, header("Repr-Digest", "RFC 9530"), header("Content-Digest", "RFC 9530")),
			RequestBody: &huma.RequestBody{Required: true, Content: binary},
			Responses: map[string]*huma.Response{
				"200": {Description: "Replaced", Content: file}, "201": {Description: "Stored", Content: file},
			},
		}, writes},
		{huma.Operation{
			OperationID: "delete-content", Method: "DELETE", Summary: "Remove a file",
			Description: "One that workflows name or that is assigned to sites is refused with 409. The last version is kept for 30 days, to be rolled back to.",
			Parameters:  append(match[:1:1], flag("purge", "Keep no version"), flag("force", "Although it is in use; for admins")),
			Responses:   map[string]*huma.Response{"204": {Description: "Removed"}},
		}, writes},
		{huma.Operation{
			OperationID: "roll-back-content", Method: "POST", Path: "/rollback", Summary: "Exchange a file for its previous version, or bring a removed one back",
			Parameters: match[:1], Responses: map[string]*huma.Response{"200": {Description: "The file as it is now", Content: file}},
		}, writes},
		{huma.Operation{
			OperationID: "verify-content", Method: "POST", Path: "/verify", Summary: "Read a file from central's disk and compare it with its digests",
			Responses: map[string]*huma.Response{"200": {Description: "What was found", Content: verdict}},
		}, writes},
	} {
		op.Path, op.Parameters, op.Tags = wire.PathContent+"/{category}/{path}"+op.Path, slices.Concat(name, op.Parameters), []string{"content"}
		a.specify(op.Operation, op.who)
	}
}
