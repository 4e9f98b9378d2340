package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"github.com/pureboot/pureboot/central/wire"
)

// strictJSON is how bodies are read.
var strictJSON = huma.Format{Marshal: huma.DefaultJSONFormat.Marshal, Unmarshal: unmarshal}

// unmarshal decodes a body, which huma asks for twice: into an any for the schema, then into what the handler takes. A
// name that is there twice in an object is an error of the first: parsers differ in which of the two they believe
// (RFC 8259, section 4). The second decodes all fields that it can even if there are some that it cannot, so that
// their faults are found too.
func unmarshal(body []byte, v any) error {
	err := legible(json.Unmarshal(body, v))
	if _, first := v.(*any); first && err == nil {
		if !utf8.Valid(body) {
			return errors.New("not UTF-8")
		}
		return distinct(json.NewDecoder(bytes.NewReader(body)))
	}
	var fields map[string]json.RawMessage
	if err == nil || json.Unmarshal(body, &fields) != nil {
		return err
	}
	for name, value := range fields {
		if one, failed := json.Marshal(map[string]json.RawMessage{name: value}); failed == nil {
			_ = json.Unmarshal(one, v) // its error is part of err
		}
	}
	return err
}

// legible says which value does not fit without the names of Go's types, which are no client's.
func legible(err error) error {
	e, ok := errors.AsType[*json.UnmarshalTypeError](err)
	if !ok {
		return err
	}
	name := e.Field[strings.LastIndexByte(e.Field, '.')+1:]
	return fmt.Errorf("%s%s is not of the form that is wanted", strings.TrimPrefix(name+": ", ": "), e.Value)
}

// distinct reads a value and says whether an object in it has a name twice.
func distinct(d *json.Decoder) error {
	begin, err := d.Token()
	if err != nil || begin != json.Delim('{') && begin != json.Delim('[') {
		return err
	}
	seen := map[string]bool{}
	for d.More() {
		if begin == json.Delim('{') {
			token, err := d.Token()
			if err != nil {
				return err
			}
			name, _ := token.(string)
			if seen[name] {
				return fmt.Errorf("the name %q is there twice", clip(name))
			}
			seen[name] = true
		}
		if err := distinct(d); err != nil {
			return err
		}
	}
	_, err = d.Token() // the end
	return err
}

// single returns the parameters of the query that take one value each, by route. It needs all routes to be there.
func single(spec *huma.OpenAPI) map[string][]string {
	found := map[string][]string{}
	for pattern, op := range operations(spec) {
		for _, p := range op.Parameters {
			if p.In == "query" && p.Schema != nil && p.Schema.Type != huma.TypeArray {
				found[pattern] = append(found[pattern], p.Name)
			}
		}
	}
	return found
}

// ambiguous returns what a query says twice and may say once.
func (a *api) ambiguous(pattern string, u *url.URL) []wire.ProblemField {
	if u.RawQuery == "" {
		return nil
	}
	var faults []wire.ProblemField
	names := a.single[strings.Replace(pattern, "...}", "}", 1)]
	for name, values := range u.Query() {
		if len(values) > 1 && slices.Contains(names, name) {
			faults = append(faults, wire.ProblemField{Location: "query." + name, Message: "given more than once"})
		}
	}
	return faults
}
