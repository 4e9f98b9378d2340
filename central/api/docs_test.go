package api

import (
	"encoding/json"
	"encoding/xml"
	"io"
	"regexp"
	"strings"
	"testing"
)

func TestTheDocumentIsOpenToEverybody(t *testing.T) {
	c := newCentral(t)
	r := c.do("GET", "/openapi.json", "", nil)
	var spec struct {
		OpenAPI string
		Paths   map[string]any
	}
	if err := json.Unmarshal(r.body, &spec); r.status != 200 || err != nil || !strings.HasPrefix(spec.OpenAPI, "3.1") || len(spec.Paths) < 20 {
		t.Errorf("%d %v %q with %d paths", r.status, err, spec.OpenAPI, len(spec.Paths))
	}
}

// The page names every operation, parses, links to what is there, and needs nothing from anywhere.
func TestTheDocsPageStandsAlone(t *testing.T) {
	c := newCentral(t)
	r := c.do("GET", "/docs", "", nil)
	if r.status != 200 || r.header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Fatalf("%d %v", r.status, r.header)
	}
	if policy := r.header.Get("Content-Security-Policy"); !strings.HasPrefix(policy, "default-src 'none'; style-src 'sha256-") || strings.Contains(policy, "unsafe") {
		t.Errorf("the policy is %q", policy)
	}
	page := string(r.body)
	for _, op := range operations(c.api.huma.OpenAPI()) {
		if !strings.Contains(page, `id="`+op.OperationID+`"`) || !strings.Contains(page, op.Path) {
			t.Errorf("%s is not on the page", op.OperationID)
		}
	}
	for _, want := range []string{"For the role admin.", "an agent, within its site", "Idempotency-Key", "at most 257 characters"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}

	links, ids := map[string]bool{}, map[string]bool{}
	d := xml.NewDecoder(strings.NewReader(page)) // strict: each element is closed where it has to be
	d.Entity = xml.HTMLEntity
	for {
		token, err := d.Token()
		if err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		start, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		switch start.Name.Local {
		case "script", "img", "link", "iframe", "object", "form":
			t.Errorf("the page holds a %s", start.Name.Local)
		}
		for _, a := range start.Attr {
			switch name := a.Name.Local; {
			case name == "id" && ids[a.Value]:
				t.Errorf("%s is there twice", a.Value)
			case name == "id":
				ids[a.Value] = true
			case name == "href":
				links[a.Value] = true
			case name == "src" || name == "style" || strings.HasPrefix(name, "on"):
				t.Errorf("%s %s=%s", start.Name.Local, name, a.Value)
			}
		}
	}
	for link := range links {
		if id, ok := strings.CutPrefix(link, "#"); ok && !ids[id] || !ok && link != "/openapi.json" {
			t.Errorf("%s leads nowhere", link)
		}
	}
	if outside := regexp.MustCompile(`url\(|@import`).FindString(page); outside != "" {
		t.Errorf("the style fetches by %s", outside)
	}
}
