package api

import (
	"net/http"
	"strings"
	"testing"

	"github.com/pureboot/pureboot/central/wire"
)

// TestBadInputIsRefusedByName sends what is wrong and expects a problem that names each field at fault, and nothing
// written.
func TestBadInputIsRefusedByName(t *testing.T) {
	c := newCentral(t)
	site := c.site("berlin")
	node := must[wire.Node](c, 201, "POST", "/api/v1/nodes", c.operator, object{"mac_address": "52:54:00:00:00:01", "home_site_id": site.ID})
	agent := c.enrol(site)
	at := "/api/v1/nodes/" + node.ID
	group := must[object](c, 201, "POST", "/api/v1/groups", c.admin, object{"name": "rack 7"})
	const nowhere = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
	long := strings.Repeat("x", 600)

	for name, bad := range map[string]struct {
		method, path, token string
		body                any
		status              int
		fields              string
	}{
		"malformed JSON":           {"POST", "/api/v1/nodes", c.admin, `{"mac_address": `, 400, "body"},
		"two documents":            {"POST", "/api/v1/nodes", c.admin, `{"mac_address":"52:54:00:00:00:09"}{}`, 400, "body"},
		"no body":                  {"POST", "/api/v1/nodes", c.admin, nil, 400, ""},
		"a name twice":             {"POST", "/api/v1/nodes", c.admin, `{"mac_address":"52:54:00:00:00:09","hostname":"a","hostname":"b"}`, 400, "body"},
		"a name twice below":       {"POST", "/api/v1/nodes", c.admin, `{"mac_address":"52:54:00:00:00:09","interfaces":[{"name":"a","\u006eame":"b"}]}`, 400, "body"},
		"no UTF-8":                 {"POST", "/api/v1/nodes", c.admin, "{\"mac_address\":\"52:54:00:00:00:09\",\"vendor\":\"\xff\"}", 400, "body"},
		"a list":                   {"POST", "/api/v1/nodes", c.admin, `[]`, 422, "body"},
		"a number too large":       {"POST", "/api/v1/nodes", c.admin, `{"mac_address":"52:54:00:00:00:09","vendor":1e999}`, 400, "body"},
		"a whole number as none":   {"POST", "/api/v1/sites", c.admin, `{"name":"a","heartbeat_seconds":60.0}`, 422, "body"},
		"patch: as none":           {"PATCH", "/api/v1/sites/" + site.ID.String(), c.admin, `{"heartbeat_seconds":60.5}`, 422, "body.heartbeat_seconds"},
		"an unknown field":         {"POST", "/api/v1/nodes", c.admin, object{"mac_address": "52:54:00:00:00:09", "hostnme": "a"}, 422, "body.hostnme"},
		"a field in capitals":      {"POST", "/api/v1/nodes", c.admin, object{"mac_address": "52:54:00:00:00:09", "Hostname": "a"}, 422, "body.Hostname"},
		"no MAC":                   {"POST", "/api/v1/nodes", c.admin, object{"hostname": "a"}, 422, "body"},
		"a bad MAC":                {"POST", "/api/v1/nodes", c.admin, object{"mac_address": "52:54:00:00:00"}, 422, "body.mac_address"},
		"a group MAC":              {"POST", "/api/v1/nodes", c.admin, object{"mac_address": "ff:ff:ff:ff:ff:ff"}, 422, "body.mac_address"},
		"a number for a MAC":       {"POST", "/api/v1/nodes", c.admin, object{"mac_address": 5}, 422, "body.mac_address"},
		"a state to begin with":    {"POST", "/api/v1/nodes", c.admin, object{"mac_address": "52:54:00:00:00:09", "state": "installed"}, 422, "body.state"},
		"an architecture":          {"POST", "/api/v1/nodes", c.admin, object{"mac_address": "52:54:00:00:00:09", "arch": "z80"}, 422, "body.arch"},
		"a UUID":                   {"POST", "/api/v1/nodes", c.admin, object{"mac_address": "52:54:00:00:00:09", "workflow_id": "debian"}, 422, "body.workflow_id"},
		"references":               {"POST", "/api/v1/nodes", c.admin, object{"mac_address": "52:54:00:00:00:09", "workflow_id": nowhere, "group_id": nowhere, "home_site_id": nowhere}, 422, "body.workflow_id body.group_id body.home_site_id"},
		"a home that is no site":   {"POST", "/api/v1/nodes", c.admin, object{"mac_address": "52:54:00:00:00:09", "home_site_id": group["id"]}, 422, "body.home_site_id"},
		"all at once":              {"POST", "/api/v1/nodes", c.admin, object{"mac_address": "x", "hostname": "a b", "ip_address": "1.2.3", "arch": "z80", "vendor": "a\nb", "tags": []string{""}}, 422, "body.mac_address body.hostname body.ip_address body.arch body.vendor body.tags[0]"},
		"unknown, and others":      {"POST", "/api/v1/nodes", c.admin, object{"mac_address": "x", "bogus": 1, "hostname": "a b", "group_id": "x", "ip_address": 5, "vendor": "a\nb"}, 422, "body.mac_address body.bogus body.hostname body.group_id body.ip_address body.vendor"},
		"a line break":             {"POST", "/api/v1/nodes", c.admin, object{"mac_address": "52:54:00:00:00:09", "extra_cmdline": "quiet\nboot"}, 422, "body.extra_cmdline"},
		"an invisible character":   {"POST", "/api/v1/nodes", c.admin, object{"mac_address": "52:54:00:00:00:09", "model": "a\u202eb"}, 422, "body.model"},
		"a parameter's name":       {"POST", "/api/v1/nodes", c.admin, object{"mac_address": "52:54:00:00:00:09", "params": object{"a b": "c"}}, 422, "body.params"},
		"a parameter's value":      {"POST", "/api/v1/nodes", c.admin, object{"mac_address": "52:54:00:00:00:09", "params": object{"a": "c\u0000"}}, 422, "body.params.a"},
		"one card twice":           {"POST", "/api/v1/nodes", c.admin, object{"mac_address": "52:54:00:00:00:09", "interfaces": []object{{"mac_address": "52:54:00:00:00:0a"}, {"mac_address": "52-54-00-00-00-0A"}}}, 422, "body.interfaces[1].mac_address"},
		"too many bytes":           {"POST", "/api/v1/groups", c.admin, object{"name": strings.Repeat("ж", 99)}, 422, "body.name"},
		"a card of another node":   {"POST", "/api/v1/nodes", c.admin, object{"mac_address": "52:54:00:00:00:09", "interfaces": []object{{"mac_address": node.MACAddress}}}, 409, "body.interfaces"},
		"a node that is there":     {"POST", "/api/v1/nodes", c.admin, object{"mac_address": "525400000001"}, 409, "body.mac_address"},
		"a path that is no UUID":   {"GET", "/api/v1/nodes/52:54:00:00:00:01", c.admin, nil, 422, "path.id"},
		"a query that is no state": {"GET", "/api/v1/nodes?state=on", c.admin, nil, 422, "query.state"},
		"a query that is no MAC":   {"GET", "/api/v1/nodes?mac=zz", c.admin, nil, 422, "query.mac"},
		"a limit":                  {"GET", "/api/v1/nodes?limit=100000", c.admin, nil, 422, "query.limit"},
		"a limit in letters":       {"GET", "/api/v1/nodes?limit=ten", c.admin, nil, 422, "query.limit"},
		"a cursor":                 {"GET", "/api/v1/nodes?cursor=***", c.admin, nil, 422, "query.cursor"},
		"a query twice":            {"GET", "/api/v1/nodes?limit=1&limit=2&state=active&state=pending", c.admin, nil, 422, "query.limit query.state"},
		"a preview's query twice":  {"GET", at + "/boot-script?loader=grub&loader=grub", c.admin, nil, 422, "query.loader"},
		"a query nobody knows":     {"GET", "/api/v1/nodes?stat=pending", c.admin, nil, 422, "query.stat"},

		"patch: unknown":      {"PATCH", at, c.admin, object{"hostnme": "a"}, 422, "body.hostnme"},
		"patch: in capitals":  {"PATCH", at, c.admin, object{"Hostname": "a"}, 422, "body.Hostname"},
		"patch: the state":    {"PATCH", at, c.admin, object{"state": "pending"}, 422, "body.state"},
		"patch: what is read": {"PATCH", at, c.admin, object{"version": 5}, 422, "body.version"},
		"patch: the MAC away": {"PATCH", at, c.admin, object{"mac_address": nil}, 422, "body"},
		"patch: a type":       {"PATCH", at, c.admin, object{"params": object{"a": 5}}, 422, "body.params.a"},
		"patch: a value":      {"PATCH", at, c.admin, object{"hostname": "a b", "ip_address": "x"}, 422, "body.hostname body.ip_address"},
		"patch: all at once":  {"PATCH", at, c.admin, object{"bogus": 1, "none": nil, "hostname": "a b", "group_id": "x", "arch": "z80", "params": object{"a": 5}, "vendor": "a\nb"}, 422, "body.bogus body.none body.hostname body.group_id body.arch body.params.a body.vendor"},
		"patch: malformed":    {"PATCH", at, c.admin, `{"hostname": `, 400, "body"},
		"patch: a name twice": {"PATCH", at, c.admin, `{"hostname":"a","hostname":"b"}`, 400, "body"},
		"patch: no object":    {"PATCH", at, c.admin, `"x"`, 422, "body"},

		"state: none":     {"PATCH", at + "/state", c.admin, object{}, 422, "body.state"},
		"state: unknown":  {"PATCH", at + "/state", c.admin, object{"state": "on"}, 422, "body.state"},
		"state: a type":   {"PATCH", at + "/state", c.admin, object{"state": 5}, 422, "body.state"},
		"state: too soon": {"PATCH", at + "/state", c.admin, object{"state": "active"}, 409, "body.state"},
		"event: none":     {"POST", at + "/event", c.admin, object{}, 422, "body.event_type"},
		"event: all":      {"POST", at + "/event", c.admin, object{"event_type": "x", "status": "y", "progress": 101, "event_id": "a\nb"}, 422, "body.event_type body.status body.progress body.event_id"},
		"event: metadata": {"POST", at + "/event", c.admin, object{"event_type": "heartbeat", "metadata": strings.Repeat("x", 70_000)}, 422, "body.metadata"},
		"register: a MAC": {"POST", "/api/v1/nodes/register", agent, object{"mac_address": "52:54"}, 422, "body.mac_address"},
		"register: none":  {"POST", "/api/v1/nodes/register", agent, object{}, 422, "body.mac_address"},

		"site: no name":         {"POST", "/api/v1/sites", c.admin, object{}, 422, "body"},
		"site: an empty name":   {"POST", "/api/v1/sites", c.admin, object{"name": ""}, 422, "body.name"},
		"site: a name twice":    {"POST", "/api/v1/sites", c.admin, object{"name": "berlin"}, 409, "body.name"},
		"site: a slash":         {"POST", "/api/v1/sites", c.admin, object{"name": "a/b"}, 422, "body.name"},
		"site: long":            {"POST", "/api/v1/sites", c.admin, object{"name": long, "description": long}, 422, "body.name body.description"},
		"site: settings":        {"POST", "/api/v1/sites", c.admin, object{"name": "a", "cache_policy": "all", "heartbeat_seconds": 0, "sync_schedule": "daily", "cache_max_size_gb": -1}, 422, "body.cache_policy body.heartbeat_seconds body.sync_schedule body.cache_max_size_gb"},
		"site: all at once":     {"POST", "/api/v1/sites", c.admin, object{"name": "a/b", "bogus": 1, "default_workflow_id": "x", "sync_schedule": "daily", "heartbeat_seconds": "x", "cache_patterns": []string{"images/[a"}}, 422, "body.name body.bogus body.default_workflow_id body.sync_schedule body.heartbeat_seconds body.cache_patterns[0]"},
		"site: a patch":         {"PATCH", "/api/v1/sites/" + site.ID.String(), c.admin, object{"name": "a/b", "bogus": 1, "default_workflow_id": "x", "sync_schedule": "daily", "heartbeat_seconds": "x", "cache_patterns": []string{"images/[a"}}, 422, "body.name body.bogus body.default_workflow_id body.sync_schedule body.heartbeat_seconds body.cache_patterns[0]"},
		"site: globs":           {"POST", "/api/v1/sites", c.admin, object{"name": "a", "cache_patterns": []string{"images/**", "images/[a", "", "{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}"}}, 422, "body.cache_patterns[1] body.cache_patterns[2] body.cache_patterns[3]"},
		"command: a glob":       {"POST", "/api/v1/sites/" + site.ID.String() + "/commands", c.admin, object{"command": "invalidate", "params": object{"scope": "content", "glob": "{a"}}, 422, "body.params.glob"},
		"site: a schedule":      {"POST", "/api/v1/sites", c.admin, object{"name": "a", "sync_schedule": "0 24 * * *"}, 422, "body.sync_schedule"},
		"site: agent_url":       {"POST", "/api/v1/sites", c.admin, object{"name": "a", "agent_url": "ftp://x"}, 422, "body.agent_url"},
		"site: a workflow":      {"POST", "/api/v1/sites", c.admin, object{"name": "a", "default_workflow_id": nowhere}, 422, "body.default_workflow_id"},
		"site: a parent":        {"POST", "/api/v1/sites", c.admin, object{"name": "a", "parent_id": nowhere}, 422, "body.parent_id"},
		"site: under a group":   {"POST", "/api/v1/sites", c.admin, object{"name": "a", "parent_id": group["id"]}, 422, "body.parent_id"},
		"site: under itself":    {"PATCH", "/api/v1/sites/" + site.ID.String(), c.admin, object{"parent_id": site.ID}, 422, "body.parent_id"},
		"site: what is read":    {"PATCH", "/api/v1/sites/" + site.ID.String(), c.admin, object{"agent_status": "online"}, 422, "body.agent_status"},
		"group: a site setting": {"POST", "/api/v1/groups", c.admin, object{"name": "a", "cache_policy": "mirror"}, 422, "body.cache_policy"},
		"group: is a site":      {"GET", "/api/v1/groups/" + site.ID.String(), c.admin, nil, 404, ""},

		"workflow: image":       {"POST", "/api/v1/workflows", c.admin, object{"name": "a", "install_method": "image"}, 422, "body.install_method"},
		"workflow: no kernel":   {"POST", "/api/v1/workflows", c.admin, object{"name": "a", "install_method": "kernel"}, 422, "body.kernel"},
		"workflow: no boot_url": {"POST", "/api/v1/workflows", c.admin, object{"name": "a", "install_method": "sanboot"}, 422, "body.boot_url"},
		"workflow: paths":       {"POST", "/api/v1/workflows", c.admin, object{"name": "a", "install_method": "kernel", "kernel": "images/../etc/passwd", "initrd": []string{"/etc/passwd", ""}, "template": "linux"}, 422, "body.kernel body.initrd[0] body.initrd[1] body.template"},
		"workflow: cmdline":     {"POST", "/api/v1/workflows", c.admin, object{"name": "a", "install_method": "chain", "boot_url": "http://x\n", "cmdline": "quiet\nboot"}, 422, "body.boot_url body.cmdline"},

		"token: all at once": {"POST", "/api/v1/tokens", c.admin, object{"name": "a\n", "role": "god", "expires_at": "2001-01-01T00:00:00Z", "bogus": 1}, 422, "body.name body.role body.expires_at body.bogus"},
		"token: a date":      {"POST", "/api/v1/tokens", c.admin, object{"name": "a\n", "role": "god", "expires_at": "tomorrow", "bogus": 1}, 422, "body.name body.role body.expires_at body.bogus"},

		"heartbeat: a type": {"POST", wire.PathHeartbeat, agent, `{"seq":"x"}`, 422, "body.seq"},
		"heartbeat: broken": {"POST", wire.PathHeartbeat, agent, `{"seq":`, 400, "body"},
		"manifest: since":   {"GET", wire.PathManifest + "?since=x", agent, nil, 422, "query.since"},
		"manifest: cursor":  {"GET", wire.PathManifest + "?cursor=x", agent, nil, 422, "query.cursor"},
		"boot: no MAC":      {"GET", wire.PathBoot, agent, nil, 422, "query.mac"},
		"boot: a MAC":       {"GET", wire.PathBoot + "?mac=zz", agent, nil, 422, "query.mac"},
		"boot: an id":       {"GET", wire.PathBoot + "?id=zz", agent, nil, 422, "query.id"},
		"boot: unknown":     {"GET", wire.PathBoot + "?mac=52:54:00:00:00:77", agent, nil, 404, ""},
		"boot: nobody's id": {"GET", wire.PathBoot + "?id=00000000-0000-0000-0000-000000000000", agent, nil, 404, ""},
		"join: a hash":      {"POST", wire.PathRegister, "", object{"join_token": "x", "credential_sha256": "abc"}, 422, "body.credential_sha256"},

		"unknown node":     {"GET", "/api/v1/nodes/" + nowhere, c.admin, nil, 404, ""},
		"unknown site":     {"POST", "/api/v1/sites/" + nowhere + "/agent-token", c.admin, nil, 404, ""},
		"nodes of nowhere": {"GET", "/api/v1/sites/" + nowhere + "/nodes", c.admin, nil, 404, ""},
		"unknown path":     {"GET", "/api/v1/noodles", c.admin, nil, 404, ""},
		"a wrong method":   {"PUT", "/api/v1/nodes", c.admin, nil, 405, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := c.do(bad.method, bad.path, bad.token, bad.body, "Content-Type", "application/json")
			if r.status != bad.status {
				t.Fatalf("%d, want %d: %s", r.status, bad.status, r.body)
			}
			if strings.Contains(string(r.body), "Go ") {
				t.Errorf("it speaks of Go: %s", r.body)
			}
			for field := range strings.FieldsSeq(bad.fields) {
				if !r.names(t, field) {
					t.Errorf("does not name %s: %s", field, r.body)
				}
			}
		})
	}

	nodes := must[object](c, 200, "GET", "/api/v1/nodes", c.viewer, nil)
	sites := must[object](c, 200, "GET", "/api/v1/sites", c.viewer, nil)
	groups := must[object](c, 200, "GET", "/api/v1/groups", c.viewer, nil)
	workflows := must[object](c, 200, "GET", "/api/v1/workflows", c.viewer, nil)
	if nodes["total"] != 1.0 || sites["total"] != 1.0 || groups["total"] != 1.0 || workflows["total"] != 0.0 {
		t.Errorf("something was written: %v nodes, %v sites, %v groups, %v workflows", nodes["total"], sites["total"], groups["total"], workflows["total"])
	}
	if n := must[wire.Node](c, 200, "GET", at, c.viewer, nil); n.Version != 1 || n.State != "discovered" {
		t.Errorf("the node changed: %+v", n)
	}
}

func TestWhyImagesAreRefused(t *testing.T) {
	c := newCentral(t)
	r := c.do("POST", "/api/v1/workflows", c.admin, object{"name": "a", "install_method": "image"})
	if !strings.Contains(string(r.body), "no deploy environment") {
		t.Errorf("no reason: %s", r.body)
	}
	w := must[wire.Workflow](c, 201, "POST", "/api/v1/workflows", c.admin, object{"name": "a", "install_method": "chain", "boot_url": "http://x/y"})
	if r := c.do("PATCH", "/api/v1/workflows/"+w.ID, c.admin, object{"install_method": "image"}); r.status != 422 || !strings.Contains(string(r.body), "no deploy environment") {
		t.Errorf("by patch: %d %s", r.status, r.body)
	}
}

func TestAProblemRepeatsLittleOfWhatWasSent(t *testing.T) {
	c := newCentral(t)
	for _, body := range []string{
		`{"mac_address":"` + strings.Repeat("x", 100_000) + `"}`, `{"x":[` + strings.Repeat("1,", 50_000) + `1]}`, strings.Repeat("x", 100_000),
	} {
		if r := c.do("POST", "/api/v1/nodes", c.admin, body); r.status < 400 || len(r.body) > 2000 {
			t.Errorf("%.20s: %d with %d bytes", body, r.status, len(r.body))
		}
	}
}

func TestABodyIsBounded(t *testing.T) {
	c := newCentral(t)
	agent := c.enrol(c.site("berlin"))
	body := `{"mac_address":"` + strings.Repeat("x", 2<<20) + `"}`
	for _, r := range []struct{ method, path, token string }{
		{"POST", "/api/v1/nodes", c.admin},
		{"POST", "/api/v1/nodes/register", agent},
		{"POST", wire.PathHeartbeat, agent},
		{"POST", wire.PathRegister, ""},
		{"POST", "/api/v1/sites", c.admin},
		{"POST", "/api/v1/workflows", c.admin},
	} {
		if got := c.do(r.method, r.path, r.token, body); got.status != http.StatusRequestEntityTooLarge {
			t.Errorf("%s: %d", r.path, got.status)
		}
	}
}

func TestAnAgentOfAnotherVersionIsServed(t *testing.T) {
	c := newCentral(t)
	agent := c.enrol(c.site("berlin"))
	newer := must[wire.HeartbeatAnswer](c, 200, "POST", wire.PathHeartbeat, agent, `{"protocol_version":9,"tomorrow":{"a":[1]},"seq":1}`)
	if newer.ProtocolVersion != wire.ProtocolVersion {
		t.Errorf("to a newer agent: %+v", newer)
	}
	must[wire.HeartbeatAnswer](c, 200, "POST", wire.PathHeartbeat, agent, `{"capabilities":null,"services":null}`)
	n := must[wire.Node](c, 201, "POST", "/api/v1/nodes/register", agent, `{"mac_address":"52:54:00:00:00:01","tomorrow":1}`)
	must[wire.Node](c, 200, "POST", "/api/v1/nodes/"+n.ID+"/event", agent, `{"event_type":"heartbeat","tomorrow":1}`)
	must[wire.Manifest](c, 200, "GET", wire.PathManifest+"?tomorrow=1", agent, nil)
}

// TestAQueryThatIsNoText asks each list for what no database has, and some fail over.
func TestAQueryThatIsNoText(t *testing.T) {
	onBoth(t, func(t *testing.T, c *central) {
		node := (&scene{central: c}).aNode()
		for path, names := range map[string][]string{
			"/api/v1/sites": {"search", "cursor"}, "/api/v1/groups": {"search"}, "/api/v1/nodes": {"search", "tag", "mac", "cursor"},
			"/api/v1/audit": {"who", "action", "subject"}, "/api/v1/approvals": {"subject"}, "/api/v1/workflows": {"cursor"},
			"/api/v1/tokens": {"cursor"}, "/api/v1/content": {"prefix", "glob", "cursor"}, node + "/history": {"cursor"},
		} {
			for _, name := range names {
				for _, text := range []string{"%00", "a%00b", "%ff", "%c3%28", "%ed%a0%80"} {
					if r := c.do("GET", path+"?"+name+"="+text, c.admin, nil); r.status != 400 || !r.names(t, "query."+name) {
						t.Errorf("%s?%s=%s: %d %s", path, name, text, r.status, r.body)
					}
				}
				for _, text := range []string{"'", "%27%20OR%201%3D1%20--", "%25", "_", "AA", "AGEA", "gICA", "%F0%9F%92%A9"} { // AA is NUL in base64
					if r := c.do("GET", path+"?"+name+"="+text, c.admin, nil); r.status >= 500 {
						t.Errorf("%s?%s=%s: %d %s", path, name, text, r.status, r.body)
					}
				}
			}
		}
		for _, query := range []string{"%zz", "a=%", "a;b"} {
			if r := c.do("GET", "/api/v1/nodes?"+query, c.admin, nil); r.status != 400 {
				t.Errorf("%s: %d %s", query, r.status, r.body)
			}
		}
	})
}
