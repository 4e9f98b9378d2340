package api

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"mime"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"

	"github.com/pureboot/pureboot/central/wire"
)

// TestEachRouteIsDescribed compares what the ServeMux has with what the OpenAPI document says, in both directions.
func TestEachRouteIsDescribed(t *testing.T) {
	c := newCentral(t)
	described := operations(c.api.huma.OpenAPI())
	var left []string // to be described
	for pattern := range c.api.access {
		switch pattern = strings.Replace(pattern, "...}", "}", 1); pattern {
		case wire.PathContent + "/{category}": // answers 404 alone
		case "POST " + wire.PathContent + "/{category}/{path}":
			left = append(left, pattern+"/rollback", pattern+"/verify")
		default:
			left = append(left, pattern)
		}
	}
	for _, pattern := range left {
		if described[pattern] == nil {
			t.Errorf("%s is not described", pattern)
		}
	}
	for pattern, op := range described {
		if !slices.Contains(left, pattern) {
			t.Errorf("%s is described, and no route", pattern)
		}
		_, path, _ := strings.Cut(pattern, " ")
		who, routed := c.api.access[pattern]
		if !routed {
			who, routed = c.api.access[strings.Replace(pattern, "{path}", "{path...}", 1)]
		}
		if !routed && !strings.HasPrefix(path, wire.PathContent+"/") {
			t.Errorf("%s: nobody knows whom it is for", pattern)
		}
		if op.Summary == "" || op.OperationID == "" || len(op.Tags) == 0 {
			t.Errorf("%s has no summary, no id or no tag", pattern)
		}
		if routed && who.open != (len(op.Security) == 0) {
			t.Errorf("%s: open %v, security %v", pattern, who.open, op.Security)
		}
		if len(op.Security) > 0 && !strings.Contains(op.Description, "For the role ") && !strings.Contains(op.Description, "For an agent") {
			t.Errorf("%s does not say whom it is for: %s", pattern, op.Description)
		}
		for _, name := range strings.FieldsFunc(path, func(r rune) bool { return r == '/' }) {
			if name[0] == '{' && !slices.ContainsFunc(op.Parameters, func(p *huma.Param) bool { return "{"+p.Name+"}" == name && p.In == "path" && p.Required }) {
				t.Errorf("%s does not describe %s", pattern, name)
			}
		}
		if len(documentedAnswers(op)) == 0 || len(documentedErrors(op)) == 0 {
			t.Errorf("%s has no answer or no error", pattern)
		}
		for _, status := range documentedErrors(op) {
			if m := op.Responses[status].Content[wire.MediaTypeProblem]; m == nil || m.Schema == nil {
				t.Errorf("%s: %s is no problem", pattern, status)
			}
		}
	}
}

// spec is the document that a test holds central to.
type spec struct {
	*central
	doc *huma.OpenAPI
	ids map[string]string // of things that are there, by the path that lists them
	rng *rand.Rand
}

// TestRoutesKeepToTheirDescription calls each JSON route with bodies and parameters made from its description, good and
// bad, and holds every answer to it.
func TestRoutesKeepToTheirDescription(t *testing.T) {
	c := newCentral(t)
	site := c.site("berlin")
	s := &spec{central: c, doc: c.api.huma.OpenAPI(), rng: rand.New(rand.NewPCG(1, 2)), ids: map[string]string{"/api/v1/sites": site.ID.String()}}
	agent := c.enrol(site)
	for path, body := range map[string]object{
		"/api/v1/groups": {"name": "rack"}, "/api/v1/nodes": {"mac_address": "52:54:00:00:00:01", "home_site_id": site.ID},
		"/api/v1/workflows": {"name": "debian", "install_method": "sanboot", "boot_url": "http://127.0.0.1/a.iso"},
		"/api/v1/tokens":    {"name": "ci", "role": "viewer"}, "/api/v1/content-uploads": {"category": "images", "path": "a", "size": 1, "sha256": strings.Repeat("0", 64)},
	} {
		made := c.do("POST", path, c.admin, body)
		var out struct {
			ID     string
			Upload struct{ ID string }
		}
		if err := json.Unmarshal(made.body, &out); err != nil || made.status != 201 {
			t.Fatalf("%s: %d %s", path, made.status, made.body)
		}
		s.ids[path] = out.ID + out.Upload.ID
	}

	all := operations(s.doc)
	// What deletes comes last, so that the others find something.
	order := slices.SortedFunc(maps.Keys(all), func(a, b string) int {
		deletes := func(pattern string) int { return strings.Count(pattern[:6], "DELETE") }
		if d := deletes(a) - deletes(b); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	calls, fine := 0, map[string]bool{}
	for _, pattern := range order {
		op := all[pattern]
		if strings.HasPrefix(op.Path, wire.PathContent+"/{category}/") || op.OperationID == "append-upload" {
			continue // files: see below
		}
		token := c.admin
		if !strings.Contains(op.Description, "For the role") {
			token = agent
		}
		call := func(what, path string, body any, bad bool) {
			t.Helper()
			calls++
			r := s.do(op.Method, path, token, body)
			s.hold(t, op, what+" "+path, r)
			if bad && (r.status < 400 || r.status == 404) {
				t.Errorf("%s %s: %s is answered with %d", op.Method, path, what, r.status)
			}
			fine[pattern] = fine[pattern] || r.status < 400
		}
		there := s.path(op.Path, true)
		schema := s.body(op)
		call("nothing", there, nil, schema != nil && op.RequestBody.Required)
		call("another id", s.path(op.Path, false), s.make(schema, true), false)
		for _, p := range op.Parameters {
			for what, value := range s.badTexts(p) {
				call("query "+p.Name+": "+what, there+"?"+url.Values{p.Name: {value}}.Encode(), s.make(schema, true), true)
			}
			if value, ok := s.make(p.Schema, true).(string); ok && p.In == "query" {
				call("query "+p.Name, there+"?"+url.Values{p.Name: {value}}.Encode(), s.make(schema, true), false)
			}
		}
		if schema == nil {
			continue
		}
		if op.Method != "DELETE" {
			call("a good body", there, s.make(schema, true), false)
			call("a full body", there, s.make(schema, false), false)
		}
		open := schema.AdditionalProperties == true // of agents, who may be newer
		call("malformed JSON", there, `{"a":`, true)
		call("a list", there, []int{1}, true)
		call("a text", there, `"x"`, true)
		if !open {
			call("an unknown field", there, s.with(schema, "no_such_field", 1), true)
		}
		for name, field := range schema.Properties {
			for what, value := range s.badValues(field) {
				call(name+": "+what, there, s.with(schema, name, value), !open || what == "another type")
			}
			if slices.Contains(schema.Required, name) {
				less := s.make(schema, true).(object)
				delete(less, name)
				call(name+": missing", there, less, true)
			}
		}
	}
	if calls < 500 {
		t.Errorf("only %d calls", calls)
	}
	good := 0
	for _, well := range fine {
		if well {
			good++
		}
	}
	t.Logf("%d calls, %d of %d operations answered well", calls, good, len(fine))
	if 2*good < len(fine) {
		t.Errorf("only %d of %d operations were ever answered well", good, len(fine))
	}
}

// TestFilesKeepToTheirDescription calls the routes of files, whose bodies are no JSON, so that each of their good answers
// and the errors of their own come, and holds every answer to the description.
func TestFilesKeepToTheirDescription(t *testing.T) {
	c := newCentral(t)
	s := &spec{central: c, doc: c.api.huma.OpenAPI()}
	const file = wire.PathContent + "/images/a/b"
	first, second := strings.Repeat("x", 1000), strings.Repeat("y", 1000)
	tag := `"` + sha256hex(first) + `"`
	begin := func(data string) string {
		r := c.do("POST", pathUploads, c.operator, announcement("a/b", []byte(data)))
		if r.header.Get("Location") == "" {
			t.Fatalf("an upload: %d %s", r.status, r.body)
		}
		return r.header.Get("Location")
	}
	all, seen := operations(s.doc), map[string][]string{}
	call := func(status int, id, method, path string, body any, headers ...string) {
		t.Helper()
		var op *huma.Operation
		for _, o := range all {
			if o.OperationID == id {
				op = o
			}
		}
		r := c.do(method, path, c.admin, body, headers...)
		if r.status != status {
			t.Errorf("%s %s %v: %d, want %d: %s", method, path, headers, r.status, status, r.body)
		}
		s.hold(t, op, path, r)
		seen[id] = append(seen[id], strconv.Itoa(r.status))
	}
	call(400, "put-content", "PUT", wire.PathContent+"/nothing/a", first)
	call(400, "put-content", "PUT", file+"?x=1", first)
	call(422, "put-content", "PUT", file, first, "Repr-Digest", "sha-256=:"+strings.Repeat("A", 43)+"=:")
	call(404, "get-content", "GET", file, nil)
	call(201, "put-content", "PUT", file, first)
	call(412, "put-content", "PUT", file, second, "If-None-Match", "*")
	call(200, "get-content", "GET", file, nil)
	call(200, "get-content", "GET", file+"?chunks", nil, "Accept", "application/json")
	call(206, "get-content", "GET", file, nil, "Range", "bytes=0-9")
	call(304, "get-content", "GET", file, nil, "If-None-Match", tag)
	call(412, "get-content", "GET", file, nil, "If-Match", `"x"`)
	call(416, "get-content", "GET", file, nil, "Range", "bytes=1000-")
	call(200, "put-content", "PUT", file, second, "If-Match", tag)
	call(412, "roll-back-content", "POST", file+"/rollback", nil, "If-Match", tag)
	call(200, "roll-back-content", "POST", file+"/rollback", nil)
	call(404, "roll-back-content", "POST", file+"c/rollback", nil)
	call(200, "verify-content", "POST", file+"/verify", nil)
	call(404, "verify-content", "POST", file+"c/verify", nil)
	call(412, "delete-content", "DELETE", file, nil, "If-Match", `"x"`)
	must[object](c, 201, "POST", "/api/v1/workflows", c.admin, object{"name": "a", "install_method": "kernel", "kernel": "images/a/b"})
	call(409, "delete-content", "DELETE", file, nil)
	call(204, "delete-content", "DELETE", file+"?force", nil)
	call(404, "delete-content", "DELETE", file, nil)

	third, fourth := strings.Repeat("z", 1000), strings.Repeat("Z", 1000) // of which central has no bytes
	at := begin(third)
	piece := func(status, offset int, at, data string) {
		t.Helper()
		call(status, "append-upload", "PATCH", at, data, "Upload-Offset", strconv.Itoa(offset), "Content-Type", partialUpload)
	}
	piece(404, 0, pathUploads+"/7c9e6679-7425-40de-944b-e07fc1f90ae7", third)
	call(400, "append-upload", "PATCH", at, third, "Upload-Offset", "-1")
	piece(204, 0, at, third[:500])
	piece(409, 10, at, third[:500])
	piece(201, 500, at, third[500:])
	piece(200, 0, begin(fourth), fourth)

	for pattern, op := range all {
		if strings.HasPrefix(op.Path, wire.PathContent+"/{category}/") || op.OperationID == "append-upload" {
			for status := range documentedAnswers(op) {
				if !slices.Contains(seen[op.OperationID], status) {
					t.Errorf("%s never answers %s", pattern, status)
				}
			}
		}
	}
}

// hold compares an answer with the description of its operation.
func (s *spec) hold(t *testing.T, op *huma.Operation, what string, r reply) {
	t.Helper()
	if r.status >= 500 {
		t.Errorf("%s %s: %d %s", op.Method, what, r.status, r.body)
	}
	answer := op.Responses[strconv.Itoa(r.status)]
	if answer == nil {
		t.Errorf("%s %s: %d is not described: %s", op.Method, what, r.status, r.body)
		return
	}
	if len(answer.Content) == 0 {
		if len(r.body) > 0 {
			t.Errorf("%s %s: %d has a body", op.Method, what, r.status)
		}
		return
	}
	kind, _, _ := mime.ParseMediaType(r.header.Get("Content-Type"))
	media := answer.Content[kind]
	if media == nil {
		t.Errorf("%s %s: %d comes as %s", op.Method, what, r.status, kind)
		return
	}
	if !strings.HasSuffix(kind, "json") {
		return
	}
	var doc any
	if err := json.Unmarshal(r.body, &doc); err != nil {
		t.Errorf("%s %s: %v", op.Method, what, err)
		return
	}
	var result huma.ValidateResult
	huma.Validate(s.doc.Components.Schemas, media.Schema, huma.NewPathBuffer(nil, 0), huma.ModeReadFromServer, doc, &result)
	for _, err := range result.Errors {
		t.Errorf("%s %s: %d is not as described: %v in %s", op.Method, what, r.status, err, r.body)
	}
}

// path fills in the parameters of a path, with what is there or with what is not.
func (s *spec) path(path string, there bool) string {
	id := "7c9e6679-7425-40de-944b-e07fc1f90ae7"
	if strings.HasPrefix(path, "/api/v1/tokens") {
		id = "0123456789abcdef"
	}
	list, _, _ := strings.Cut(path, "/{")
	if there && s.ids[list] != "" {
		id = s.ids[list]
	}
	return strings.NewReplacer("{id}", id, "{n}", "1", "{tag}", "rack", "{path}", "templates/preseed.cfg").Replace(path)
}

// body returns the schema of a JSON body, or nil.
func (s *spec) body(op *huma.Operation) *huma.Schema {
	if op.RequestBody == nil || op.RequestBody.Content["application/json"] == nil {
		return nil
	}
	return s.resolved(op.RequestBody.Content["application/json"].Schema)
}

func (s *spec) resolved(schema *huma.Schema) *huma.Schema {
	if schema != nil && schema.Ref != "" {
		return s.doc.Components.Schemas.SchemaFromRef(schema.Ref)
	}
	return schema
}

// make returns a value that a schema allows, with what is required alone or with all there may be.
func (s *spec) make(schema *huma.Schema, least bool) any {
	schema = s.resolved(schema)
	if schema == nil {
		return nil
	}
	if len(schema.Enum) > 0 {
		return schema.Enum[s.rng.IntN(len(schema.Enum))]
	}
	switch schema.Type {
	case huma.TypeObject:
		out := object{}
		for name, field := range schema.Properties {
			if !least || slices.Contains(schema.Required, name) {
				out[name] = s.named(name, field, least)
			}
		}
		return out
	case huma.TypeArray:
		if least && schema.MinItems == nil {
			return []any{}
		}
		return []any{s.make(schema.Items, least)}
	case huma.TypeInteger, huma.TypeNumber:
		if schema.Minimum != nil {
			return int(*schema.Minimum)
		}
		return 1
	case huma.TypeBoolean:
		return s.rng.IntN(2) == 0
	case huma.TypeString:
		return s.text(schema)
	}
	return object{}
}

func (s *spec) text(schema *huma.Schema) string {
	switch schema.Format {
	case "uuid":
		return s.ids["/api/v1/nodes"]
	case "date-time":
		return "2031-02-03T04:05:06Z"
	case "uri":
		return "http://127.0.0.1/x"
	}
	text := "x" + strconv.Itoa(s.rng.IntN(1_000_000))
	if schema.MinLength != nil && len(text) < *schema.MinLength {
		text += strings.Repeat("0", *schema.MinLength-len(text))
	}
	if schema.MaxLength != nil && len(text) > *schema.MaxLength {
		text = text[:*schema.MaxLength]
	}
	return text
}

// named is make for a field of which more is known than its schema says.
func (s *spec) named(name string, schema *huma.Schema, least bool) any {
	switch name {
	case "mac_address":
		return fmt.Sprintf("52:54:00:%02x:%02x:%02x", s.rng.IntN(256), s.rng.IntN(256), s.rng.IntN(256))
	case "install_method":
		return "chain"
	case "parent_id", "home_site_id", "group_id":
		return s.ids["/api/v1/sites"]
	case "workflow_id":
		return s.ids["/api/v1/workflows"]
	}
	return s.make(schema, least)
}

// with is a good body but for one field.
func (s *spec) with(schema *huma.Schema, name string, value any) object {
	out := s.make(schema, true).(object)
	out[name] = value
	return out
}

// badValues returns values that a schema does not allow, by what is wrong with them.
func (s *spec) badValues(schema *huma.Schema) map[string]any {
	schema = s.resolved(schema)
	bad := map[string]any{}
	switch schema.Type {
	case huma.TypeString:
		bad["another type"] = 5
		if schema.MaxLength != nil {
			bad["too long"] = strings.Repeat("x", *schema.MaxLength+1)
		}
		if len(schema.Enum) > 0 || schema.Format != "" {
			bad["none of them"] = "no such"
		}
	case huma.TypeInteger, huma.TypeNumber:
		bad["another type"] = "x"
		if schema.Minimum != nil {
			bad["too small"] = *schema.Minimum - 1
		}
		if schema.Maximum != nil {
			bad["too large"] = *schema.Maximum + 1
		}
	case huma.TypeBoolean:
		bad["another type"] = "x"
	case huma.TypeArray:
		bad["another type"] = object{}
		if schema.MaxItems != nil && *schema.MaxItems <= 10_000 {
			bad["too many"] = slices.Repeat([]any{s.make(schema.Items, true)}, *schema.MaxItems+1)
		}
	case huma.TypeObject:
		bad["another type"] = "x"
	}
	return bad
}

// badTexts is badValues for a parameter of the query.
func (s *spec) badTexts(p *huma.Param) map[string]string {
	bad := map[string]string{}
	if p.In != "query" {
		return bad
	}
	for what, value := range s.badValues(p.Schema) {
		if _, isObject := value.(object); !isObject && (p.Schema.Type != huma.TypeString || what != "another type") && p.Schema.Type != huma.TypeArray {
			bad[what] = fmt.Sprint(value)
		}
	}
	return bad
}
