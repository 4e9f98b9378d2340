package api

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/ent"
	"github.com/pureboot/pureboot/ent/auditentry"
)

// scene is a central with something of everything to write to. Each call of a method makes a fresh one.
type scene struct {
	*central
	n       int
	secrets []string
}

func (s *scene) name() string { s.n++; return fmt.Sprintf("x%d", s.n) }
func (s *scene) mac() string  { s.n++; return fmt.Sprintf("52:54:00:00:%02x:%02x", s.n>>8, s.n&255) }

func (s *scene) made(path string, body object) string {
	s.t.Helper()
	return path + "/" + must[struct{ ID string }](s.central, 201, "POST", path, s.admin, body).ID
}

func (s *scene) aSite() string { return s.made("/api/v1/sites", object{"name": s.name()}) }

// anAgent is a site with one.
func (s *scene) anAgent() string {
	site := s.site(s.name())
	s.keep(s.enrol(site))
	return "/api/v1/sites/" + site.ID.String()
}

func (s *scene) aGroup() string { return s.made("/api/v1/groups", object{"name": s.name()}) }
func (s *scene) aNode() string {
	return s.made("/api/v1/nodes", object{"mac_address": s.mac(), "params": object{"root_password": "hunter2hunter2"}})
}

func (s *scene) aWorkflow() string {
	return s.made("/api/v1/workflows", object{"name": s.name(), "install_method": "chain", "boot_url": "http://x/"})
}

func (s *scene) aToken() string {
	made := must[newToken](s.central, 201, "POST", "/api/v1/tokens", s.admin, object{"name": s.name(), "role": "viewer"})
	s.keep(made.Text)
	return "/api/v1/tokens/" + made.ID
}

// keep remembers a token whose secret nothing may hold.
func (s *scene) keep(token string) {
	if admin, ok := strings.CutPrefix(token, "pbt_"); ok {
		_, token, _ = strings.Cut(admin, "_")
	}
	s.secrets = append(s.secrets, token[strings.LastIndex(token, ".")+1:])
}

func (s *scene) aFile() string {
	path := wire.PathContent + "/images/" + s.name()
	if r := s.do("PUT", path, s.admin, s.name()); r.status != 201 {
		s.t.Fatalf("PUT %s: %d %s", path, r.status, r.body)
	}
	return path
}

func (s *scene) anUpload(text string) string {
	r := s.do("POST", pathUploads, s.admin, object{"category": "images", "path": s.name(), "size": len(text), "sha256": sha256hex(text)})
	if r.status != 201 {
		s.t.Fatalf("announce: %d %s", r.status, r.body)
	}
	return r.header.Get("Location")
}

// aClaim is a claim that waits.
func (s *scene) aClaim() string {
	s.t.Helper()
	home, other := strings.TrimPrefix(s.aSite(), "/api/v1/sites/"), strings.TrimPrefix(s.aSite(), "/api/v1/sites/")
	node := must[wire.Node](s.central, 201, "POST", "/api/v1/nodes", s.admin, object{"mac_address": s.mac(), "home_site_id": home})
	claim, err := s.store.ClaimNode(s.t.Context(), store.Actor{Name: "site:x", Site: uuid.MustParse(other)}, uuid.MustParse(node.ID))
	if err != nil {
		s.t.Fatal(err)
	}
	return "/api/v1/migrations/" + claim.ID.String()
}

// anApproval is what a claim that waits asked for.
func (s *scene) anApproval() string {
	claim := must[store.Claim](s.central, 200, "GET", s.aClaim(), s.admin, nil)
	return "/api/v1/approvals/" + claim.ApprovalID.String()
}

// aConflict is one over the host name of a node, and open.
func (s *scene) aConflict() string {
	s.t.Helper()
	home, node := s.aSite(), s.aNode()
	id := s.conflict(strings.TrimPrefix(home, "/api/v1/sites/"), strings.TrimPrefix(node, "/api/v1/nodes/"), `{"hostname":"there"}`, "hostname")
	return "/api/v1/sync/conflicts/" + id.String()
}

func (s *scene) aCommand() string {
	site := s.aSite()
	c := must[store.Command](s.central, 201, "POST", site+"/commands", s.admin, object{"command": "sync"})
	return fmt.Sprintf("%s/commands/%d", site, c.Seq)
}

// images is which states of the subject an audit entry has.
type images struct{ before, after bool }

// writes carries each write route out. A route that writes and is neither here nor in unaudited fails the test.
var writes = map[string]struct {
	has  images
	call func(*scene) reply
}{
	"POST /api/v1/sites":        {images{after: true}, func(s *scene) reply { return s.do("POST", "/api/v1/sites", s.admin, object{"name": s.name()}) }},
	"PATCH /api/v1/sites/{id}":  {images{true, true}, func(s *scene) reply { return s.do("PATCH", s.aSite(), s.admin, object{"description": "d"}) }},
	"DELETE /api/v1/sites/{id}": {images{before: true}, func(s *scene) reply { return s.do("DELETE", s.aSite(), s.admin, nil) }},
	"POST /api/v1/groups":       {images{after: true}, func(s *scene) reply { return s.do("POST", "/api/v1/groups", s.admin, object{"name": s.name()}) }},
	"PATCH /api/v1/groups/{id}": {images{true, true}, func(s *scene) reply { return s.do("PATCH", s.aGroup(), s.admin, object{"description": "d"}) }},
	"DELETE /api/v1/groups/{id}": {images{before: true}, func(s *scene) reply {
		return s.do("DELETE", s.aGroup(), s.admin, nil)
	}},
	"POST /api/v1/sites/{id}/agent-token": {images{}, func(s *scene) reply {
		r := s.do("POST", s.aSite()+"/agent-token", s.admin, nil)
		var token wire.JoinToken
		if err := json.Unmarshal(r.body, &token); err != nil {
			s.t.Fatal(err)
		}
		s.keep(token.Token)
		return r
	}},
	"POST /api/v1/sites/{id}/agent-credential/rotate": {images{true, true}, func(s *scene) reply {
		return s.do("POST", s.anAgent()+"/agent-credential/rotate", s.admin, nil)
	}},
	"POST /api/v1/sites/{id}/agent-credential/revoke": {images{true, true}, func(s *scene) reply {
		return s.do("POST", s.anAgent()+"/agent-credential/revoke", s.admin, nil)
	}},
	"PUT /api/v1/sites/{id}/assigned-content": {images{after: true}, func(s *scene) reply {
		file := strings.TrimPrefix(s.aFile(), wire.PathContent+"/images/")
		return s.do("PUT", s.aSite()+"/assigned-content", s.admin, object{"content": []string{"images/" + file}})
	}},
	"POST /api/v1/sites/{id}/sync": {images{after: true}, func(s *scene) reply { return s.do("POST", s.aSite()+"/sync", s.admin, object{}) }},
	"POST /api/v1/sites/{id}/commands": {images{after: true}, func(s *scene) reply {
		return s.do("POST", s.aSite()+"/commands", s.admin, object{"command": "sync"})
	}},
	"POST /api/v1/sites/{id}/commands/{n}/cancel": {images{true, true}, func(s *scene) reply {
		return s.do("POST", s.aCommand()+"/cancel", s.admin, nil)
	}},

	"POST /api/v1/nodes": {images{after: true}, func(s *scene) reply {
		return s.do("POST", "/api/v1/nodes", s.operator, object{"mac_address": s.mac()})
	}},
	"PATCH /api/v1/nodes/{id}":  {images{true, true}, func(s *scene) reply { return s.do("PATCH", s.aNode(), s.operator, object{"hostname": "h"}) }},
	"DELETE /api/v1/nodes/{id}": {images{before: true}, func(s *scene) reply { return s.do("DELETE", s.aNode(), s.operator, nil) }},
	"POST /api/v1/nodes/bulk": {images{true, true}, func(s *scene) reply {
		id := strings.TrimPrefix(s.aNode(), "/api/v1/nodes/")
		return s.do("POST", "/api/v1/nodes/bulk", s.operator, object{"ids": []string{id}, "state": object{"state": "pending"}})
	}},
	"POST /api/v1/nodes/import": {images{after: true}, func(s *scene) reply {
		return s.do("POST", "/api/v1/nodes/import", s.operator, "mac_address\n"+s.mac()+"\n", "Content-Type", "text/csv")
	}},
	"PUT /api/v1/nodes/{id}/tags/{tag}": {images{true, true}, func(s *scene) reply {
		return s.do("PUT", s.aNode()+"/tags/x", s.operator, nil)
	}},
	"DELETE /api/v1/nodes/{id}/tags/{tag}": {images{true, true}, func(s *scene) reply {
		node := s.aNode()
		if r := s.do("PUT", node+"/tags/x", s.operator, nil); r.status != 200 {
			s.t.Fatalf("tag: %d %s", r.status, r.body)
		}
		return s.do("DELETE", node+"/tags/x", s.operator, nil)
	}},
	"POST /api/v1/nodes/register": {images{after: true}, func(s *scene) reply {
		return s.do("POST", "/api/v1/nodes/register", s.operator, object{"mac_address": s.mac()})
	}},
	"PATCH /api/v1/nodes/{id}/state": {images{true, true}, func(s *scene) reply {
		return s.do("PATCH", s.aNode()+"/state", s.operator, object{"state": "pending"})
	}},

	"POST /api/v1/workflows": {images{after: true}, func(s *scene) reply {
		return s.do("POST", "/api/v1/workflows", s.admin, object{"name": s.name(), "install_method": "chain", "boot_url": "http://x/"})
	}},
	"PATCH /api/v1/workflows/{id}": {images{true, true}, func(s *scene) reply {
		return s.do("PATCH", s.aWorkflow(), s.admin, object{"cmdline": "quiet"})
	}},
	"DELETE /api/v1/workflows/{id}": {images{before: true}, func(s *scene) reply { return s.do("DELETE", s.aWorkflow(), s.admin, nil) }},

	"POST /api/v1/tokens": {images{after: true}, func(s *scene) reply {
		r := s.do("POST", "/api/v1/tokens", s.admin, object{"name": s.name(), "role": "viewer"})
		var made newToken
		if err := json.Unmarshal(r.body, &made); err != nil {
			s.t.Fatal(err)
		}
		s.keep(made.Text)
		return r
	}},
	"PATCH /api/v1/tokens/{id}":  {images{true, true}, func(s *scene) reply { return s.do("PATCH", s.aToken(), s.admin, object{"name": "n"}) }},
	"DELETE /api/v1/tokens/{id}": {images{true, true}, func(s *scene) reply { return s.do("DELETE", s.aToken(), s.admin, nil) }},

	"PUT /api/v1/content/{category}/{path...}": {images{true, true}, func(s *scene) reply {
		return s.do("PUT", s.aFile(), s.operator, s.name())
	}},
	"DELETE /api/v1/content/{category}/{path...}": {images{before: true}, func(s *scene) reply { return s.do("DELETE", s.aFile(), s.operator, nil) }},
	"POST /api/v1/content/{category}/{path...}": {images{true, true}, func(s *scene) reply {
		file := s.aFile()
		if r := s.do("PUT", file, s.operator, "other"); r.status != 200 {
			s.t.Fatalf("replace: %d %s", r.status, r.body)
		}
		return s.do("POST", file+"/rollback", s.operator, nil)
	}},
	"POST /api/v1/content-uploads": {images{after: true}, func(s *scene) reply { // whose bytes are here
		file := s.name()
		if r := s.do("PUT", wire.PathContent+"/images/"+s.name(), s.admin, file); r.status != 201 {
			s.t.Fatalf("upload: %d %s", r.status, r.body)
		}
		return s.do("POST", pathUploads, s.operator, object{"category": "images", "path": s.name(), "size": len(file), "sha256": sha256hex(file)})
	}},
	"PATCH /api/v1/content-uploads/{id}": {images{after: true}, func(s *scene) reply {
		return s.do("PATCH", s.anUpload("abc"), s.operator, "abc", "Content-Type", partialUpload, "Upload-Offset", "0")
	}},

	"POST /api/v1/migrations/{id}/approve": {images{true, true}, func(s *scene) reply { return s.do("POST", s.aClaim()+"/approve", s.operator, nil) }},
	"POST /api/v1/migrations/{id}/reject": {images{true, true}, func(s *scene) reply {
		return s.do("POST", s.aClaim()+"/reject", s.operator, object{"comment": "no"})
	}},

	"POST /api/v1/approvals/{id}/approve": {images{true, true}, func(s *scene) reply {
		return s.do("POST", s.anApproval()+"/approve", s.operator, nil)
	}},
	"POST /api/v1/approvals/{id}/reject": {images{true, true}, func(s *scene) reply {
		return s.do("POST", s.anApproval()+"/reject", s.operator, object{"comment": "no"})
	}},

	"POST /api/v1/sync/conflicts/{id}/resolve": {images{true, true}, func(s *scene) reply {
		return s.do("POST", s.aConflict()+"/resolve", s.operator, object{"resolution": "accepted_central"})
	}},

	"POST /api/v1/agents/register": {images{}, func(s *scene) reply {
		token := must[wire.JoinToken](s.central, 201, "POST", s.aSite()+"/agent-token", s.admin, nil)
		s.keep(token.Token)
		return s.do("POST", wire.PathRegister, "", wire.Register{JoinToken: token.Token, CredentialSHA256: sha256hex("x")})
	}},
}

// unaudited are the routes that write and leave no audit entry, each with the reason.
var unaudited = map[string]string{
	"POST /api/v1/agents/heartbeat":       "an agent's report of itself, each minute",
	"POST /api/v1/agents/certificate":     "as the agent's: TestAnAgentGetsACertificate",
	"POST /api/v1/nodes/{id}/event":       "kept in the node's own log, with who reported it",
	"DELETE /api/v1/content-uploads/{id}": "an upload is nothing until its file is stored",
}

func TestEachWriteIsAudited(t *testing.T) {
	onBoth(t, func(t *testing.T, c *central) {
		var routes []string
		for route := range c.api.access {
			if method, _, ok := strings.Cut(route, " "); ok && method != "GET" {
				routes = append(routes, route)
			}
		}
		slices.Sort(routes)
		known := slices.Sorted(maps.Keys(writes))
		known = append(known, slices.Sorted(maps.Keys(unaudited))...)
		slices.Sort(known)
		if !slices.Equal(routes, known) {
			t.Errorf("the routes that write are\n%s\nand the test knows\n%s", strings.Join(routes, "\n"), strings.Join(known, "\n"))
		}
		s := &scene{central: c}
		for _, token := range []string{c.admin, c.operator, c.viewer} {
			s.keep(token)
		}
		for route, write := range writes {
			r := write.call(s)
			if r.status >= 300 {
				t.Errorf("%s: %d %s", route, r.status, r.body)
				continue
			}
			s.check(route, r.header.Get(wire.HeaderRequestID), write.has)
		}
		s.keep("hunter2hunter2") // of a node's parameters
		all := s.store.Read().AuditEntry.Query().AllX(context.Background())
		for _, entry := range all {
			for _, secret := range s.secrets {
				if text := entry.String(); strings.Contains(text, secret) || bytes.Contains(entry.Before, []byte(secret)) || bytes.Contains(entry.After, []byte(secret)) {
					t.Errorf("%s holds a secret: %s", entry.Action, text)
				}
			}
		}
	})
}

// Where its audit entry cannot be written, a write has no effect: both are of one transaction.
func TestNoWriteWithoutItsAudit(t *testing.T) {
	c := newCentral(t)
	db, err := sql.Open("sqlite", filepath.Join(c.dir, "pureboot.db")+"?_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	number := func(query string, args ...any) (n int) {
		if err := db.QueryRow(query, args...).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	commits := func() int { return number("PRAGMA data_version") } // grows with those of other connections
	s := &scene{central: c}
	for route, write := range writes {
		if route == "PATCH /api/v1/content-uploads/{id}" {
			continue // which notes how much has come before it stores the file
		}
		refuse := func(action string, from int) string {
			return fmt.Sprintf(`CREATE TRIGGER refuse BEFORE INSERT ON audit_entries WHEN NEW.action = '%s' AND
				(SELECT count(*) FROM audit_entries WHERE action = NEW.action) >= %d BEGIN SELECT RAISE(ABORT, 'no room for it'); END`, action, from)
		}
		r := write.call(s)
		action := c.store.Read().AuditEntry.Query().Where(auditentry.RequestID(r.header.Get(wire.HeaderRequestID))).FirstX(t.Context()).Action
		all := number("SELECT count(*) FROM audit_entries WHERE action = ?", action)
		write.call(s)
		each := number("SELECT count(*) FROM audit_entries WHERE action = ?", action) - all // what is made first has some too
		if _, err := db.Exec(refuse(action, all+2*each-1)); err != nil {
			t.Fatal(err)
		}
		before := 0
		c.before = func() { before = commits() }
		r = write.call(s)
		if after := commits(); r.status < 300 && route != "POST /api/v1/nodes/bulk" || after != before {
			t.Errorf("%s without %s: %d %s, commits %d to %d", route, action, r.status, r.body, before, after)
		}
		c.before = nil
		if _, err := db.Exec("DROP TRIGGER refuse"); err != nil {
			t.Fatal(err)
		}
	}
}

// check says what is wrong with the audit of a request.
func (s *scene) check(route, request string, has images) {
	s.t.Helper()
	var found []*ent.AuditEntry
	for _, entry := range s.store.Read().AuditEntry.Query().AllX(context.Background()) {
		// What waits for an approval is decided with it, and leaves an entry of its own.
		if entry.RequestID == request && !(strings.Contains(route, "/approvals/") && strings.HasPrefix(entry.Subject, "migration/")) {
			found = append(found, entry)
		}
	}
	if len(found) != 1 {
		s.t.Errorf("%s left %d audit entries", route, len(found))
		return
	}
	entry := found[0]
	if entry.FromAddress != "127.0.0.1" || entry.Action == "" || !strings.Contains(entry.Subject, "/") {
		s.t.Errorf("%s left %v", route, entry)
	}
	if who, _, _ := strings.Cut(entry.Who, ":"); who != "admin" && !(route == "POST /api/v1/agents/register" && who == "site") {
		s.t.Errorf("%s was done by %s", route, entry.Who)
	}
	for image, want := range map[string]bool{string(entry.Before): has.before, string(entry.After): has.after} {
		if want && !json.Valid([]byte(image)) {
			s.t.Errorf("%s: before %s, after %s; want %+v", route, entry.Before, entry.After, has)
		}
	}
	if has.before && has.after && bytes.Equal(entry.Before, entry.After) {
		s.t.Errorf("%s: before and after are the same: %s", route, entry.After)
	}
}
