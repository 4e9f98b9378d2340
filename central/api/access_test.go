package api

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
)

// least is whom each route is for: the least role, and agents after a +.
var least = map[string]string{
	"GET /healthz":      "everybody",
	"GET /readyz":       "everybody",
	"GET /openapi.json": "everybody",
	"GET /docs":         "everybody",
	"GET /metrics":      "viewer",

	"GET /api/v1/sites":                               "viewer",
	"POST /api/v1/sites":                              "admin",
	"GET /api/v1/sites/{id}":                          "viewer",
	"PATCH /api/v1/sites/{id}":                        "admin",
	"DELETE /api/v1/sites/{id}":                       "admin",
	"GET /api/v1/sites/{id}/nodes":                    "viewer",
	"GET /api/v1/sites/{id}/assigned-content":         "viewer",
	"PUT /api/v1/sites/{id}/assigned-content":         "operator",
	"POST /api/v1/sites/{id}/agent-token":             "admin",
	"POST /api/v1/agents/certificate":                 "nobody+agent",
	"GET /api/v1/sites/{id}/health":                   "viewer",
	"GET /api/v1/sites/{id}/status-changes":           "viewer",
	"POST /api/v1/sites/{id}/sync":                    "operator",
	"POST /api/v1/sites/{id}/agent-credential/rotate": "admin",
	"POST /api/v1/sites/{id}/agent-credential/revoke": "admin",
	"GET /api/v1/sites/{id}/commands":                 "viewer",
	"POST /api/v1/sites/{id}/commands":                "operator",
	"GET /api/v1/sites/{id}/commands/{n}":             "viewer",
	"POST /api/v1/sites/{id}/commands/{n}/cancel":     "operator",
	"GET /api/v1/groups":                              "viewer",
	"POST /api/v1/groups":                             "admin",
	"GET /api/v1/groups/{id}":                         "viewer",
	"PATCH /api/v1/groups/{id}":                       "admin",
	"DELETE /api/v1/groups/{id}":                      "admin",

	"GET /api/v1/nodes":                       "viewer",
	"POST /api/v1/nodes":                      "operator",
	"GET /api/v1/nodes/{id}":                  "viewer",
	"PATCH /api/v1/nodes/{id}":                "operator",
	"DELETE /api/v1/nodes/{id}":               "operator",
	"GET /api/v1/nodes/{id}/history":          "viewer",
	"GET /api/v1/nodes/{id}/events":           "viewer",
	"GET /api/v1/nodes/export":                "viewer",
	"GET /api/v1/nodes/{id}/boot-script":      "viewer",
	"GET /api/v1/nodes/{id}/render/{path...}": "viewer",
	"POST /api/v1/nodes/import":               "operator",
	"POST /api/v1/nodes/bulk":                 "operator",
	"PUT /api/v1/nodes/{id}/tags/{tag}":       "operator",
	"DELETE /api/v1/nodes/{id}/tags/{tag}":    "operator",
	"POST /api/v1/nodes/register":             "operator+agent",
	"PATCH /api/v1/nodes/{id}/state":          "operator+agent",
	"POST /api/v1/nodes/{id}/event":           "operator+agent",

	"GET /api/v1/audit":                    "admin",
	"GET /api/v1/migrations":               "viewer",
	"GET /api/v1/migrations/{id}":          "viewer",
	"POST /api/v1/migrations/{id}/approve": "operator",
	"POST /api/v1/migrations/{id}/reject":  "operator",
	"GET /api/v1/approvals":                "viewer",
	"POST /api/v1/approvals/{id}/approve":  "operator",
	"POST /api/v1/approvals/{id}/reject":   "operator",
	"GET /api/v1/approvals/{id}":           "viewer",
	"GET /api/v1/sync/conflicts":           "viewer",
	"GET /api/v1/sync/conflicts/{id}":      "viewer",

	"POST /api/v1/sync/conflicts/{id}/resolve": "operator",

	"GET /api/v1/tokens":         "admin",
	"POST /api/v1/tokens":        "admin",
	"GET /api/v1/tokens/{id}":    "admin",
	"PATCH /api/v1/tokens/{id}":  "admin",
	"DELETE /api/v1/tokens/{id}": "admin",

	"GET /api/v1/workflows":                "viewer",
	"POST /api/v1/workflows":               "admin",
	"GET /api/v1/workflows/{id}":           "viewer",
	"PATCH /api/v1/workflows/{id}":         "admin",
	"GET /api/v1/workflows/{id}/revisions": "viewer",
	"DELETE /api/v1/workflows/{id}":        "admin",

	"GET /api/v1/content":                         "viewer",
	"/api/v1/content/{category}":                  "viewer+agent",
	"GET /api/v1/content/{category}/{path...}":    "viewer+agent",
	"POST /api/v1/content-uploads":                "operator",
	"GET /api/v1/content-uploads":                 "viewer",
	"GET /api/v1/content-uploads/{id}":            "operator",
	"PATCH /api/v1/content-uploads/{id}":          "operator",
	"DELETE /api/v1/content-uploads/{id}":         "operator",
	"GET /api/v1/content/status":                  "viewer",
	"POST /api/v1/content/{category}/{path...}":   "operator",
	"PUT /api/v1/content/{category}/{path...}":    "operator",
	"DELETE /api/v1/content/{category}/{path...}": "operator",

	"POST /api/v1/agents/register":   "everybody",
	"POST /api/v1/agents/heartbeat":  "nobody+agent",
	"GET /api/v1/agents/manifest":    "nobody+agent",
	"GET /api/v1/agents/boot":        "nobody+agent",
	"GET /api/v1/agents/{id}/status": "viewer",
}

func TestEachRouteHasItsLeastRole(t *testing.T) {
	c := newCentral(t)
	agent := c.enrol(c.site("berlin"))
	if routes, known := slices.Sorted(maps.Keys(c.api.access)), slices.Sorted(maps.Keys(least)); !slices.Equal(routes, known) {
		t.Errorf("the routes are\n%s\nand those with a least role\n%s", strings.Join(routes, "\n"), strings.Join(known, "\n"))
	}
	roles := []struct {
		name, token string
	}{{"nobody", ""}, {"stranger", "pbt_0123456789abcdef_x"}, {"viewer", c.viewer}, {"operator", c.operator}, {"admin", c.admin}, {"agent", agent}}
	for pattern, need := range least {
		method, path, ok := strings.Cut(pattern, " ")
		if !ok {
			method, path = "GET", pattern
		}
		path = strings.NewReplacer("{id}", "7c9e6679-7425-40de-944b-e07fc1f90ae7", "{category}", "images", "{path...}", "no/such", "{n}", "7").Replace(path)
		role, agents := strings.CutSuffix(need, "+agent")
		for _, who := range roles {
			may := role == "everybody"
			switch who.name {
			case "agent":
				may = may || agents
			case "viewer", "operator", "admin":
				may = may || role != "nobody" && store.Role(who.name).Allows(store.Role(role))
			}
			got := c.do(method, path, who.token, "")
			switch {
			case may && (got.status == http.StatusForbidden || got.status == http.StatusUnauthorized) && pattern != "POST /api/v1/agents/register":
				t.Errorf("%s as %s: %d, and the route is for %s", pattern, who.name, got.status, need)
			case !may && (who.name == "nobody" || who.name == "stranger"):
				if got.status != http.StatusUnauthorized || !strings.HasPrefix(got.header.Get("WWW-Authenticate"), "Bearer") {
					t.Errorf("%s as %s: %d, want 401 with a challenge", pattern, who.name, got.status)
				}
			case !may && got.status != http.StatusForbidden:
				t.Errorf("%s as %s: %d, want 403", pattern, who.name, got.status)
			}
		}
	}
}

func TestCredentialsThatOpenNothing(t *testing.T) {
	c := newCentral(t)
	berlin, paris := c.site("berlin"), c.site("paris")
	agent := c.enrol(berlin)
	if r := c.do("POST", wire.PathHeartbeat, agent, "{}"); r.status != 200 {
		t.Fatalf("the right credential: %d %s", r.status, r.body)
	}
	secret := strings.TrimPrefix(agent, "pba_"+berlin.ID.String()+"_")
	for name, header := range map[string]string{
		"no header":                "",
		"no scheme":                agent,
		"another scheme":           "Basic " + agent,
		"no token":                 "Bearer ",
		"another site":             "Bearer pba_" + paris.ID.String() + "_" + secret,
		"a site that is none":      "Bearer pba_7c9e6679-7425-40de-944b-e07fc1f90ae7_" + secret,
		"no site":                  "Bearer pba_" + secret,
		"another secret":           "Bearer " + agent + "x",
		"no secret":                "Bearer pba_" + berlin.ID.String() + "_",
		"the hash of the secret":   "Bearer pba_" + berlin.ID.String() + "_" + sha256hex(secret),
		"an admin's secret cut":    "Bearer " + c.admin[:len(c.admin)-1],
		"a token of another shape": "Bearer " + strings.Repeat("x", 5000),
	} {
		if r := c.do("POST", wire.PathHeartbeat, "", "{}", "Authorization", header); r.status != http.StatusUnauthorized {
			t.Errorf("%s: %d", name, r.status)
		}
	}
	if r := c.do("POST", wire.PathHeartbeat, "", "{}", "Authorization", "bearer "+agent); r.status != 200 {
		t.Errorf("the scheme in lower case: %d", r.status)
	}
	if found := c.log.lines(secret); len(found) > 0 {
		t.Errorf("the log holds the secret: %s", found[0])
	}
}

func TestAnAgentSeesItsSiteAlone(t *testing.T) {
	c := newCentral(t)
	berlin, paris := c.site("berlin"), c.site("paris")
	agent := c.enrol(berlin)
	node := func(mac string, home any) wire.Node {
		return must[wire.Node](c, 201, "POST", "/api/v1/nodes", c.operator, object{"mac_address": mac, "home_site_id": home, "state": "pending"})
	}
	own, other, homeless := node("52:54:00:00:00:01", berlin.ID), node("52:54:00:00:00:02", paris.ID), node("52:54:00:00:00:03", nil)

	for _, n := range []wire.Node{other, homeless} {
		for _, r := range []reply{
			c.do("GET", wire.PathBoot+"?mac="+n.MACAddress, agent, nil),
			c.do("GET", wire.PathBoot+"?id="+n.ID, agent, nil),
			c.do("POST", wire.PathNodes+"/"+n.ID+"/event", agent, wire.Event{EventType: "boot_started"}),
			c.do("PATCH", wire.PathNodes+"/"+n.ID+"/state", agent, wire.StateChange{State: "installing"}),
		} {
			if r.status != http.StatusNotFound {
				t.Errorf("a node of another home: %d %s", r.status, r.body)
			}
		}
	}
	if r := c.do("POST", wire.PathNodes+"/register", agent, wire.Registration{MACAddress: other.MACAddress}); r.status != http.StatusConflict {
		t.Errorf("registering a machine of another site: %d", r.status)
	} else if text := string(r.body); strings.Contains(text, other.ID) || strings.Contains(text, paris.ID.String()) {
		t.Errorf("the agent is told of another site: %s", text)
	}
	if n := must[wire.Node](c, 200, "POST", wire.PathNodes+"/register", agent, wire.Registration{MACAddress: homeless.MACAddress}); n.HomeSiteID != berlin.ID.String() {
		t.Errorf("a machine without a home booted at %s, and its home is %q", berlin.ID, n.HomeSiteID)
	}

	change := func(state string, force bool) int {
		return c.do("PATCH", wire.PathNodes+"/"+own.ID+"/state", agent, wire.StateChange{State: state, Force: force}).status
	}
	if got := change("retired", false); got != http.StatusForbidden {
		t.Errorf("an agent retired a node: %d", got)
	}
	if got := change("installing", true); got != http.StatusForbidden {
		t.Errorf("an agent forced a state: %d", got)
	}
	if got := change("active", false); got != http.StatusConflict {
		t.Errorf("an agent skipped a state: %d", got)
	}
	if got := change("installing", false); got != http.StatusOK {
		t.Errorf("an agent's machine began to install: %d", got)
	}
	if n := must[wire.Node](c, 200, "GET", "/api/v1/nodes/"+other.ID, c.viewer, nil); n.Version != other.Version || n.HomeSiteID != paris.ID.String() {
		t.Errorf("the other site's node is at version %d", n.Version)
	}
}

func TestForceIsForAdmins(t *testing.T) {
	c := newCentral(t)
	n := must[wire.Node](c, 201, "POST", "/api/v1/nodes", c.operator, object{"mac_address": "52:54:00:00:00:01"})
	path := "/api/v1/nodes/" + n.ID + "/state"
	force := wire.StateChange{State: "active", Force: true, Comment: "was installed by hand"}
	if r := c.do("PATCH", path, c.operator, force); r.status != http.StatusForbidden {
		t.Errorf("an operator: %d", r.status)
	}
	if n := must[wire.Node](c, 200, "PATCH", path, c.admin, force); n.State != "active" {
		t.Errorf("an admin: %s", n.State)
	}
	entries := c.audited("node.state")
	if len(entries) != 1 || entries[0].Who != "admin:admin" || !strings.Contains(entries[0].Detail, "forced: was installed by hand") {
		t.Errorf("audited: %v", entries)
	}
}
