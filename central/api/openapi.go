package api

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"

	"github.com/pureboot/pureboot/central/wire"
)

// specRoutes serve what the API is, to whoever asks: it says nothing of what central holds. They come last.
func (a *api) specRoutes() error {
	everybody := access{open: true}
	text := func(media, doc string) map[string]*huma.Response {
		return map[string]*huma.Response{"200": {
			Description: doc, Content: map[string]*huma.MediaType{media: {Schema: &huma.Schema{Type: huma.TypeString}}},
		}}
	}
	a.specify(huma.Operation{
		OperationID: "get-openapi", Method: "GET", Path: "/openapi.json", Summary: "Read this document", Tags: []string{"central"},
		Responses: map[string]*huma.Response{"200": {
			Description: "OpenAPI 3.1", Content: map[string]*huma.MediaType{mediaOpenAPI: {Schema: &huma.Schema{Type: huma.TypeObject}}},
		}},
	}, everybody)
	a.specify(huma.Operation{
		OperationID: "get-docs", Method: "GET", Path: "/docs", Summary: "Read this document as a page", Tags: []string{"central"},
		Responses: text("text/html", "A page without scripts and without anything from elsewhere"),
	}, everybody)
	a.documentErrors()
	documentNulls(a.huma.OpenAPI().Components.Schemas)

	// Both are made when somebody asks for the first time: central starts sooner than they are.
	document := sync.OnceValues(func() ([]byte, error) { return json.Marshal(a.huma.OpenAPI()) })
	a.handle("GET", "/openapi.json", everybody, func(w http.ResponseWriter, r *http.Request) {
		spec, err := document()
		if err != nil {
			a.writeError(w, r, fmt.Errorf("make the OpenAPI document: %w", err))
			return
		}
		w.Header().Set("Content-Type", mediaOpenAPI)
		_, _ = w.Write(spec) // a client that is gone needs no answer
	})
	t, policy, err := docsTemplate()
	if err != nil {
		return err
	}
	rendered := sync.OnceValues(func() ([]byte, error) { return docsPage(t, a.huma.OpenAPI()) })
	a.handle("GET", "/docs", everybody, func(w http.ResponseWriter, r *http.Request) {
		page, err := rendered()
		if err != nil {
			a.writeError(w, r, err)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", policy)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Referrer-Policy", "no-referrer")
		_, _ = w.Write(page) // a client that is gone needs no answer
	})
	return nil
}

const mediaOpenAPI = "application/openapi+json"

// specify describes a route beside huma.
func (a *api) specify(op huma.Operation, who access) {
	a.document(&op, who)
	a.huma.OpenAPI().AddOperation(&op)
}

// operations returns what the document describes, by pattern: method and path.
func operations(spec *huma.OpenAPI) map[string]*huma.Operation {
	found := map[string]*huma.Operation{}
	for path, item := range spec.Paths {
		for method, op := range map[string]*huma.Operation{
			"GET": item.Get, "PUT": item.Put, "POST": item.Post, "PATCH": item.Patch, "DELETE": item.Delete,
		} {
			if op != nil {
				found[method+" "+path] = op
			}
		}
	}
	return found
}

// eitherStatus describes an operation with the answer O that chooses its status: 201 for what it made, 200 for what was
// there.
func (a *api) eitherStatus(op huma.Operation, answer reflect.Type) {
	if _, ok := answer.FieldByName("Status"); !ok {
		return
	}
	responses := operations(a.huma.OpenAPI())[op.Method+" "+op.Path].Responses
	for _, pair := range [][2]int{{http.StatusOK, http.StatusCreated}, {http.StatusCreated, http.StatusOK}} {
		if known := responses[strconv.Itoa(pair[0])]; known != nil && responses[strconv.Itoa(pair[1])] == nil {
			other := *known
			other.Description = http.StatusText(pair[1])
			responses[strconv.Itoa(pair[1])] = &other
		}
	}
}

// documentErrors names for every operation the errors that it may be answered with, by what it takes. Those that are
// particular to one it names itself.
func (a *api) documentErrors() {
	spec := a.huma.OpenAPI()
	model := spec.Components.Schemas.Schema(reflect.TypeFor[huma.ErrorModel](), true, "ErrorModel")
	body := map[string]*huma.MediaType{wire.MediaTypeProblem: {Schema: model}}
	for _, op := range operations(spec) {
		delete(op.Responses, "default")
		for _, status := range append(errorsOf(op), op.Errors...) {
			text := strconv.Itoa(status)
			if op.Responses[text] == nil {
				op.Responses[text] = &huma.Response{Description: http.StatusText(status), Content: body}
			}
		}
	}
}

// documentNulls says of the members of objects that refer to another schema which of them may be null: those that Go has
// as pointers, and that are not left out then. huma has no word for it beside a
// reference. They are in answers alone: what a request has as a pointer may be left out.
func documentNulls(schemas huma.Registry) {
	for name, schema := range schemas.Map() {
		of := schemas.TypeFromRef("#/components/schemas/" + name)
		for of != nil && of.Kind() == reflect.Pointer {
			of = of.Elem()
		}
		if of == nil || of.Kind() != reflect.Struct {
			continue
		}
		for _, field := range reflect.VisibleFields(of) {
			member, options, _ := strings.Cut(field.Tag.Get("json"), ",")
			property := schema.Properties[member]
			if field.Type.Kind() != reflect.Pointer || strings.Contains(options, "omit") || property == nil || property.Ref == "" {
				continue
			}
			either := &huma.Schema{
				AnyOf: []*huma.Schema{{Ref: property.Ref}, {Enum: []any{nil}}}, Description: cmp.Or(property.Description, field.Tag.Get("doc")),
			}
			either.PrecomputeMessages()
			schema.Properties[member] = either
		}
	}
}

func errorsOf(op *huma.Operation) []int {
	found := []int{http.StatusBadRequest, http.StatusInternalServerError}
	takes := func(in, name string) bool {
		return slices.ContainsFunc(op.Parameters, func(p *huma.Param) bool { return p.In == in && (name == "" || p.Name == name) })
	}
	if len(op.Security) > 0 {
		found = append(found, http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests, http.StatusServiceUnavailable)
	}
	if takes("path", "") {
		found = append(found, http.StatusNotFound)
	}
	if takes("header", "If-Match") {
		found = append(found, http.StatusPreconditionFailed)
	}
	if len(op.Security) > 0 || len(op.Parameters) > 0 || op.RequestBody != nil { // an unknown query parameter as well
		found = append(found, http.StatusUnprocessableEntity)
	}
	if op.RequestBody != nil {
		found = append(found, http.StatusRequestTimeout, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType)
	}
	if op.Method != http.MethodGet {
		found = append(found, http.StatusConflict, http.StatusInsufficientStorage)
	}
	return found
}

// tagsOf returns the operations by tag, each in the order of paths and then methods.
func tagsOf(spec *huma.OpenAPI) map[string][]*huma.Operation {
	byTag := map[string][]*huma.Operation{}
	all := operations(spec)
	order := slices.SortedFunc(maps.Keys(all), func(a, b string) int {
		methodA, pathA, _ := strings.Cut(a, " ")
		methodB, pathB, _ := strings.Cut(b, " ")
		if c := strings.Compare(pathA, pathB); c != 0 {
			return c
		}
		return strings.Compare(methodA, methodB)
	})
	for _, pattern := range order {
		op := all[pattern]
		byTag[op.Tags[0]] = append(byTag[op.Tags[0]], op)
	}
	return byTag
}
