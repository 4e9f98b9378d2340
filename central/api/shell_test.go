package api

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/pureboot/pureboot/central/wire"
)

func TestARequestKeepsItsName(t *testing.T) {
	c := newCentral(t)
	if r := c.do("GET", "/api/v1/nodes", c.viewer, nil, "X-Request-Id", "node-7.boot_1"); r.header.Get("X-Request-Id") != "node-7.boot_1" {
		t.Errorf("answered as %q", r.header.Get("X-Request-Id"))
	}
	if lines := c.log.lines("node-7.boot_1"); len(lines) != 1 || !strings.Contains(lines[0], "status=200") || !strings.Contains(lines[0], "who=admin:viewer") {
		t.Errorf("logged: %q", lines)
	}
	for _, bad := range []string{"", "a b", strings.Repeat("x", 65), "a\"b"} {
		if got := c.do("GET", "/healthz", "", nil, "X-Request-Id", bad).header.Get("X-Request-Id"); got == bad || !wire.GoodRequestID(got) {
			t.Errorf("%q was answered as %q", bad, got)
		}
	}
}

func TestAWrongMethodIsToldWhichAreRight(t *testing.T) {
	c := newCentral(t)
	for path, allow := range map[string]string{
		"/healthz": "GET, HEAD", "/api/v1/sites": "GET, HEAD, POST", wire.PathHeartbeat: "POST",
		"/api/v1/content/images/a": "DELETE, GET, HEAD, POST, PUT",
	} {
		if r := c.do("PATCH", path, c.admin, "{}"); r.status != 405 || r.header.Get("Allow") != allow {
			t.Errorf("%s: %d, Allow %q", path, r.status, r.header.Get("Allow"))
		}
	}
}

func TestAPanicEndsOneRequest(t *testing.T) {
	c := newCentral(t)
	c.api.handle("GET", "/early", access{open: true}, func(http.ResponseWriter, *http.Request) { panic("inner secret") })
	c.api.handle("GET", "/late", access{open: true}, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = w.Write([]byte("half"))
		panic("inner secret")
	})
	r := c.do("GET", "/early", "", nil)
	if r.status != 500 || strings.Contains(string(r.body), "secret") || !strings.Contains(string(r.body), r.header.Get("X-Request-Id")) {
		t.Errorf("%d %s", r.status, r.body)
	}
	if lines := c.log.lines("inner secret"); len(lines) != 1 || !strings.Contains(lines[0], r.header.Get("X-Request-Id")) {
		t.Errorf("logged: %q", lines)
	}
	if res, err := c.client.Get(c.url + "/late"); err == nil {
		defer res.Body.Close()
		if n, err := res.Body.Read(make([]byte, 200)); err == nil && n > 4 {
			t.Errorf("half an answer looked whole")
		}
	}
	if r := c.do("GET", "/healthz", "", nil); r.status != 200 {
		t.Errorf("afterwards: %d", r.status)
	}
}

func TestAFailureTellsTheLogAndNotTheClient(t *testing.T) {
	c := newCentral(t)
	c.store.Close()
	for _, path := range []string{"/api/v1/nodes", "/api/v1/content/images/a"} {
		r := c.do("GET", path, c.viewer, nil)
		if r.status != 500 || strings.Contains(string(r.body), "sql") || strings.Contains(string(r.body), "database") {
			t.Errorf("%s: %d %s", path, r.status, r.body)
		}
		if lines := c.log.lines(r.header.Get("X-Request-Id")); len(lines) < 2 || !strings.Contains(strings.Join(lines, ""), "closed") {
			t.Errorf("%s: logged %q", path, lines)
		}
	}
	if r := c.do("GET", "/readyz", "", nil); r.status != 503 || r.header.Get("Retry-After") == "" {
		t.Errorf("/readyz: %d", r.status)
	}
	if r := c.do("GET", "/healthz", "", nil); r.status != 200 {
		t.Errorf("/healthz: %d", r.status)
	}
}

func TestTheOpenAPIDocumentHasEveryRoute(t *testing.T) {
	c := newCentral(t)
	doc := must[struct {
		OpenAPI string `json:"openapi"`
		Paths   map[string]map[string]json.RawMessage
	}](c, 200, "GET", "/openapi.json", c.viewer, nil)
	if !strings.HasPrefix(doc.OpenAPI, "3.1") {
		t.Errorf("OpenAPI %s", doc.OpenAPI)
	}
	for pattern := range c.api.access {
		method, path, ok := strings.Cut(pattern, " ")
		path = strings.Replace(path, "...", "", 1)
		if !ok || !strings.HasPrefix(path, "/api/") {
			continue
		}
		if pattern == "POST "+wire.PathContent+"/{category}/{path...}" {
			path += "/rollback" // a path of the ServeMux cannot go on after one with slashes
		}
		operation := doc.Paths[path][strings.ToLower(method)]
		if operation == nil {
			t.Errorf("%s is not in the document", pattern)
		} else if pattern != "POST "+wire.PathRegister && !strings.Contains(string(operation), `"security"`) {
			t.Errorf("%s says nothing of its token", pattern)
		}
	}
}
