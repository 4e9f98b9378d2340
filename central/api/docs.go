package api

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"maps"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

//go:embed docs.html
var docsText string

//go:embed docs.css
var docsStyle string

// docsTemplate returns what the OpenAPI document becomes a page by, and the policy of that page: it may use its own
// style, and nothing else.
func docsTemplate() (t *template.Template, policy string, err error) {
	t, err = template.New("docs").Funcs(template.FuncMap{
		"type": typeOf, "limits": limitsOf, "properties": propertiesOf, "errors": documentedErrors, "answers": documentedAnswers,
	}).Parse(docsText)
	if err != nil {
		return nil, "", fmt.Errorf("make the docs page: %w", err)
	}
	sum := sha256.Sum256([]byte(docsStyle))
	return t, "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'", nil
}

// docsPage returns the OpenAPI document as a page.
func docsPage(t *template.Template, spec *huma.OpenAPI) ([]byte, error) {
	var out bytes.Buffer
	err := t.Execute(&out, map[string]any{
		"Info": spec.Info, "Tags": tagsOf(spec), "Schemas": spec.Components.Schemas.Map(), "Style": template.CSS(docsStyle),
	})
	if err != nil {
		return nil, fmt.Errorf("make the docs page: %w", err)
	}
	return out.Bytes(), nil
}

// docType is what a value is: a text, then the name of a schema of the document, if it is one.
type docType struct{ Text, Ref string }

func typeOf(s *huma.Schema) docType {
	if s == nil {
		return docType{Text: "anything"}
	}
	if name, ok := strings.CutPrefix(s.Ref, "#/components/schemas/"); ok {
		return docType{Ref: name}
	}
	switch {
	case s.Type == huma.TypeArray:
		of := typeOf(s.Items)
		return docType{"list of " + of.Text, of.Ref}
	case s.Type == huma.TypeObject && len(s.Properties) == 0:
		if values, ok := s.AdditionalProperties.(*huma.Schema); ok {
			of := typeOf(values)
			return docType{"map of " + of.Text, of.Ref}
		}
	case len(s.AnyOf) == 2: // of documentNulls
		of := typeOf(s.AnyOf[0])
		return docType{"null or " + of.Text, of.Ref}
	case s.Type == "":
		return docType{Text: "anything"}
	}
	return docType{Text: s.Type}
}

// limitsOf says what a value may be beside its type.
func limitsOf(s *huma.Schema) string {
	if s == nil {
		return ""
	}
	var said []string
	say := func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) }
	if s.Format != "" {
		say("%s", s.Format)
	}
	if len(s.Enum) > 0 {
		say("one of %s", joined(s.Enum))
	} else if s.Items != nil && len(s.Items.Enum) > 0 {
		say("each one of %s", joined(s.Items.Enum))
	}
	bound := func(format string, n *int) {
		if n != nil {
			say(format, *n)
		}
	}
	if s.Minimum != nil {
		say("at least %v", *s.Minimum)
	}
	if s.Maximum != nil {
		say("at most %.0f", *s.Maximum)
	}
	bound("at least %d characters", s.MinLength)
	bound("at most %d characters", s.MaxLength)
	bound("at least %d items", s.MinItems)
	bound("at most %d items", s.MaxItems)
	if s.Pattern != "" {
		say("matches %s", s.Pattern)
	}
	if s.Nullable {
		say("may be null")
	}
	if s.Default != nil {
		say("default %v", s.Default)
	}
	return strings.Join(said, ", ")
}

func joined(values []any) string {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = fmt.Sprint(v)
	}
	return strings.Join(texts, " ")
}

// docProperty is a member of an object.
type docProperty struct {
	Name     string
	Required bool
	Schema   *huma.Schema
}

func propertiesOf(s *huma.Schema) []docProperty {
	var list []docProperty
	if s == nil {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		list = append(list, docProperty{name, slices.Contains(s.Required, name), s.Properties[name]})
	}
	return list
}

// documentedErrors returns the statuses of an operation from 400 on.
func documentedErrors(op *huma.Operation) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(op.Responses)), func(status string) bool { return status < "400" })
}

// documentedAnswers returns those below.
func documentedAnswers(op *huma.Operation) map[string]*huma.Response {
	found := maps.Clone(op.Responses)
	maps.DeleteFunc(found, func(status string, _ *huma.Response) bool { return status >= "400" })
	return found
}
