package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
)

// A field's name is what it is: Name is not name, and huma would take it for that.
func init() { huma.ValidateStrictCasing = true }

// patches applies merge patches (RFC 7396) to resources that are a T: what is left out stays, null clears or
// inherits, and a map is patched key by key. The result is checked as a whole, like what POST takes.
type patches[T any] struct {
	registry huma.Registry
	schema   *huma.Schema
	check    func(*T) []wire.ProblemField
}

func newPatches[T any](a *api, check func(*T) []wire.ProblemField) patches[T] {
	registry := a.huma.OpenAPI().Components.Schemas
	return patches[T]{registry: registry, schema: registry.Schema(reflect.TypeFor[T](), false, ""), check: check}
}

// patchRoute adds the route of a patch. huma checks no more of the body than that it is an object: its fields are checked
// with those that they are put among, so that one answer names all faults of both.
func patchRoute[T, I, O any](a *api, p patches[T], op huma.Operation, who access, h func(context.Context, *I) (*O, error)) {
	object := &huma.Schema{Type: huma.TypeObject}
	op.RequestBody = &huma.RequestBody{
		Description: "A merge patch (RFC 7396): what is left out stays, null clears or inherits.",
		Content:     map[string]*huma.MediaType{"application/json": {Schema: object}, "application/merge-patch+json": {Schema: object}},
	}
	route(a, op, who, h)
	described := p.describe()
	for _, media := range op.RequestBody.Content {
		media.Schema = described
	}
}

// describe describes a patch: the same fields, none of which is needed and each of which may be null.
func (p patches[T]) describe() *huma.Schema {
	s := &huma.Schema{Type: huma.TypeObject, Properties: map[string]*huma.Schema{}, AdditionalProperties: false}
	for name, field := range p.schema.Properties {
		field := *field
		field.Nullable = true
		if values, ok := field.AdditionalProperties.(*huma.Schema); ok {
			values := *values
			values.Nullable = true
			field.AdditionalProperties = &values
		}
		s.Properties[name] = &field
	}
	return s
}

// edit returns the function that applies a patch.
func (p patches[T]) edit(patch map[string]any) func(T) (T, error) {
	return func(current T) (T, error) { return p.apply(current, patch) }
}

func (p patches[T]) apply(current T, patch map[string]any) (T, error) {
	var changed T
	text, err := json.Marshal(current)
	if err != nil {
		return changed, fmt.Errorf("patch: %w", err)
	}
	var doc map[string]any
	if err := json.Unmarshal(text, &doc); err != nil {
		return changed, fmt.Errorf("patch: %w", err)
	}
	doc = merge(doc, patch)
	invalid := &store.Invalid{}
	for name, value := range patch { // the schema sees no null, which merge has taken out
		if p.schema.Properties[name] == nil && value == nil {
			invalid.Fields = append(invalid.Fields, wire.ProblemField{Message: "unexpected property", Location: "body." + clip(name)})
		}
	}

	var result huma.ValidateResult
	at := huma.NewPathBuffer(nil, 0)
	at.Push("body")
	huma.Validate(p.registry, p.schema, at, huma.ModeWriteToServer, doc, &result)
	for _, err := range result.Errors {
		d, _ := errors.AsType[*huma.ErrorDetail](err)
		invalid.Fields = append(invalid.Fields, wire.ProblemField{Message: d.Message, Location: d.Location, Value: d.Value})
	}
	if text, err = json.Marshal(doc); err != nil {
		return changed, fmt.Errorf("patch: %w", err)
	}
	if err := unmarshal(text, &changed); err != nil && len(invalid.Fields) == 0 {
		invalid.Fields = append(invalid.Fields, wire.ProblemField{Message: err.Error(), Location: "body"})
	}
	invalid.Fields = append(invalid.Fields, given(p.check(&changed))...)
	if len(invalid.Fields) > 0 {
		return changed, invalid
	}
	return changed, nil
}

// merge is MergePatch of RFC 7396, section 2, for a patch that is an object. It changes doc and returns it.
func merge(doc, patch map[string]any) map[string]any {
	if doc == nil {
		doc = map[string]any{}
	}
	for name, value := range patch {
		switch value := value.(type) {
		case nil:
			delete(doc, name)
		case map[string]any:
			below, _ := doc[name].(map[string]any)
			doc[name] = merge(below, value)
		default:
			doc[name] = value
		}
	}
	return doc
}

// given leaves out what a check found in texts that are not there: the schema complains of those.
func given(found []wire.ProblemField) []wire.ProblemField {
	return slices.DeleteFunc(found, func(f wire.ProblemField) bool { return f.Value == "" })
}

// resolve makes huma's errors of what a check found.
func resolve(found []wire.ProblemField) []error {
	var errs []error
	for _, f := range given(found) {
		errs = append(errs, &huma.ErrorDetail{Message: f.Message, Location: f.Location, Value: f.Value})
	}
	return errs
}

// ifMatch returns the version that an If-Match header asks for: 0 without one, and none that any resource has for
// what is no ETag of ours.
func ifMatch(header string) int64 {
	if header == "" || header == "*" {
		return 0
	}
	version, err := strconv.ParseInt(strings.Trim(header, `"`), 10, 64)
	if err != nil || version < 1 || etag(version) != header {
		return -1
	}
	return version
}

// etag returns the ETag of a version.
func etag(version int64) string { return `"` + strconv.FormatInt(version, 10) + `"` }
