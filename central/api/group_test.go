package api

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pureboot/pureboot/central/inherit"
	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
)

func TestASiteKeepsEverySettingAndShowsWhichIsInEffect(t *testing.T) {
	onBoth(t, testASiteKeepsEverySettingAndShowsWhichIsInEffect)
}

func testASiteKeepsEverySettingAndShowsWhichIsInEffect(t *testing.T, c *central) {
	w := must[wire.Workflow](c, 201, "POST", "/api/v1/workflows", c.admin, object{"name": "w", "install_method": "sanboot", "boot_url": "http://x/y"})
	settings := object{
		"default_workflow_id": w.ID, "auto_provision": true, "autonomy_level": "limited", "conflict_resolution": "manual",
		"cache_policy": "pattern", "cache_patterns": []string{"images/**"}, "cache_max_size_gb": 7, "cache_retention_days": 8,
		"discovery_method": "dns", "discovery_config": object{"zone": "x"}, "migration_policy": "bidirectional",
		"sync_schedule": "*/5 1-3 * * MON", "sync_max_mb_per_s": 9, "heartbeat_seconds": 10,
	}
	region := c.site("region", settings, object{"description": "north", "agent_url": "https://agent.example:8080", "params": object{"a": "b"}})
	site := must[object](c, 201, "POST", "/api/v1/sites", c.admin, object{"name": "site", "parent_id": region.ID, "cache_max_size_gb": 70, "cache_patterns": []string{}})
	read := must[object](c, 200, "GET", "/api/v1/sites/"+region.ID.String(), c.viewer, nil)
	if len(settings) != 14 {
		t.Fatalf("the test sets %d settings", len(settings))
	}
	for name, want := range settings {
		if fmt.Sprint(read[name]) != fmt.Sprint(want) {
			t.Errorf("%s is %v, want %v", name, read[name], want)
		}
		from := region.ID.String()
		switch name {
		case "cache_max_size_gb":
			from, want = site["id"].(string), 70
		case "cache_patterns":
			from, want = site["id"].(string), []string{}
		default:
			if own, there := site[name]; own != nil || !there {
				t.Errorf("the site's own %s is %v, want null", name, own)
			}
		}
		effective := site["effective"].(object)[name].(object)
		if fmt.Sprint(effective["value"]) != fmt.Sprint(want) || effective["from"] != from {
			t.Errorf("in effect at the site, %s is %v, want %v from %s", name, effective, want, from)
		}
	}
	if site["path"] != "region/site" || site["depth"] != 1.0 || read["agent_url"] != "https://agent.example:8080" || read["description"] != "north" {
		t.Errorf("site: %v, region: %v", site, read)
	}

	back := object{}
	for name := range settings {
		back[name] = nil
	}
	cleared := must[store.Group](c, 200, "PATCH", "/api/v1/sites/"+region.ID.String(), c.admin, back)
	if cleared.Version != 2 || cleared.Effective.HeartbeatSeconds != (inherit.Value[int]{Value: 60, From: inherit.Default}) || cleared.Effective.CachePatterns.From != inherit.Default {
		t.Errorf("all inherited again: %+v", cleared)
	}
	if cleared.Params["a"] != "b" || cleared.Description != "north" {
		t.Errorf("what the patch left out is gone: %+v", cleared)
	}
}

func TestGroupsAndSitesAreListedApart(t *testing.T) { onBoth(t, testGroupsAndSitesAreListedApart) }

func testGroupsAndSitesAreListedApart(t *testing.T, c *central) {
	for _, name := range []string{"c", "a", "b"} {
		c.site(name)
		must[store.Group](c, 201, "POST", "/api/v1/groups", c.admin, object{"name": "group " + name, "auto_provision": true})
	}
	for path, want := range map[string]string{"/api/v1/sites": "a b c", "/api/v1/groups": "group a group b group c"} {
		var names []string
		for cursor := ""; ; {
			page := must[store.Page[store.Group]](c, 200, "GET", path+"?limit=2&cursor="+cursor, c.viewer, nil)
			if page.Total != 3 {
				t.Errorf("%s: total %d", path, page.Total)
			}
			for _, g := range page.Items {
				names = append(names, g.Name)
				if g.IsSite != (path == "/api/v1/sites") {
					t.Errorf("%s lists %+v", path, g)
				}
			}
			if cursor = page.NextCursor; cursor == "" {
				break
			}
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

func TestAMoveTakesAllBelowAlong(t *testing.T) { onBoth(t, testAMoveTakesAllBelowAlong) }

func testAMoveTakesAllBelowAlong(t *testing.T, c *central) {
	north, south := c.site("north"), c.site("south")
	city := c.site("city", object{"parent_id": north.ID})
	hall := must[store.Group](c, 201, "POST", "/api/v1/groups", c.admin, object{"name": "hall", "parent_id": city.ID})
	rack := must[store.Group](c, 201, "POST", "/api/v1/groups", c.admin, object{"name": "rack", "parent_id": hall.ID})
	at := func(want string, depth int) {
		t.Helper()
		if g := must[store.Group](c, 200, "GET", "/api/v1/groups/"+rack.ID.String(), c.viewer, nil); g.Path != want || g.Depth != depth {
			t.Errorf("the rack is at %s, depth %d; want %s, %d", g.Path, g.Depth, want, depth)
		}
	}
	at("north/city/hall/rack", 3)
	patch := func(status int, path string, body object) {
		t.Helper()
		must[object](c, status, "PATCH", "/api/v1/"+path, c.admin, body)
	}
	patch(200, "sites/"+city.ID.String(), object{"parent_id": south.ID, "name": "town"})
	at("south/town/hall/rack", 3)
	patch(200, "sites/"+city.ID.String(), object{"parent_id": nil})
	at("town/hall/rack", 2)
	patch(200, "sites/"+south.ID.String(), object{"parent_id": city.ID})
	patch(422, "sites/"+city.ID.String(), object{"parent_id": south.ID})
	patch(422, "groups/"+hall.ID.String(), object{"parent_id": rack.ID})
	at("town/hall/rack", 2)

	deep := north
	for i := range 40 {
		r := c.do("POST", "/api/v1/sites", c.admin, object{"name": fmt.Sprint("deep ", i), "parent_id": deep.ID})
		if r.status == 422 && i == 31 && r.names(t, "body.parent_id") {
			break
		} else if r.status != 201 {
			t.Fatalf("level %d: %d %s", i, r.status, r.body)
		}
		deep = must[store.Group](c, 200, "GET", r.header.Get("Location"), c.viewer, nil)
	}
	patch(422, "sites/"+north.ID.String(), object{"parent_id": south.ID})
}

func TestWhatIsUsedIsNotDeleted(t *testing.T) { onBoth(t, testWhatIsUsedIsNotDeleted) }

func testWhatIsUsedIsNotDeleted(t *testing.T, c *central) {
	w := must[wire.Workflow](c, 201, "POST", "/api/v1/workflows", c.admin, object{"name": "w", "install_method": "sanboot", "boot_url": "http://x/y"})
	region := c.site("region", object{"default_workflow_id": w.ID})
	site := c.site("site", object{"parent_id": region.ID})
	agent := c.enrol(site)
	n := must[wire.Node](c, 201, "POST", "/api/v1/nodes", c.operator, object{"mac_address": "52:54:00:00:00:01", "home_site_id": site.ID, "workflow_id": w.ID})
	remove := func(path, why string) {
		t.Helper()
		r := c.do("DELETE", path, c.admin, nil)
		if why == "" && r.status != 204 {
			t.Errorf("delete %s: %d %s", path, r.status, r.body)
		}
		if why != "" && (r.status != 409 || !strings.Contains(string(r.body), why)) {
			t.Errorf("delete %s: %d %s, want 409 with %q", path, r.status, r.body, why)
		}
	}
	hall := must[store.Group](c, 201, "POST", "/api/v1/groups", c.admin, object{"name": "hall", "parent_id": region.ID})
	racks := make([]store.Group, 2)
	for i := range racks {
		racks[i] = must[store.Group](c, 201, "POST", "/api/v1/groups", c.admin, object{"name": fmt.Sprint("rack ", i), "parent_id": hall.ID})
	}
	remove("/api/v1/sites/"+region.ID.String(), "the site still has 1 child site, 1 group")
	remove("/api/v1/sites/"+site.ID.String(), "the site still has 1 node")
	remove("/api/v1/groups/"+hall.ID.String(), "the group still has 2 groups")
	for _, g := range append(racks, hall) {
		remove("/api/v1/groups/"+g.ID.String(), "")
	}
	remove("/api/v1/workflows/"+w.ID, "1 node, and the default of 1 site or group")
	remove("/api/v1/nodes/"+n.ID, "")
	remove("/api/v1/workflows/"+w.ID, "it is the default of 1 site or group")
	remove("/api/v1/sites/"+site.ID.String(), "")
	if r := c.do("POST", wire.PathHeartbeat, agent, "{}"); r.status != 401 {
		t.Errorf("the agent of a deleted site: %d", r.status)
	}
	remove("/api/v1/sites/"+region.ID.String(), "")
	remove("/api/v1/workflows/"+w.ID, "")
	if r := c.do("DELETE", "/api/v1/sites/"+region.ID.String(), c.admin, nil); r.status != 404 {
		t.Errorf("delete again: %d", r.status)
	}
	if entries := c.audited("site.delete"); len(entries) != 2 || entries[0].Subject != "site/"+site.ID.String() || entries[0].RequestID == "" || entries[0].FromAddress != "127.0.0.1" {
		t.Errorf("audited: %v", entries)
	}
}

func TestAWorkflowGrowsByRevisions(t *testing.T) { onBoth(t, testAWorkflowGrowsByRevisions) }

func testAWorkflowGrowsByRevisions(t *testing.T, c *central) {
	w := must[wire.Workflow](c, 201, "POST", "/api/v1/workflows", c.admin, object{
		"name": "debian", "install_method": "kernel", "kernel": "images/debian/linux", "initrd": []string{"images/a", "images/b"},
		"cmdline": "quiet ${param.x}", "template": "templates/preseed.cfg", "arch": "x86_64", "boot_mode": "uefi", "params": object{"x": "1"},
	})
	at := "/api/v1/workflows/" + w.ID
	if got := must[wire.Workflow](c, 200, "GET", at, c.viewer, nil); got.Revision != 1 || len(got.Initrd) != 2 || got.Arch != "x86_64" || got.Params["x"] != "1" || got.Template != "templates/preseed.cfg" {
		t.Errorf("read: %+v", got)
	}
	got := must[wire.Workflow](c, 200, "PATCH", at, c.admin, object{"initrd": []string{"images/c"}, "arch": nil, "params": object{"y": "2"}}, "If-Match", `"1"`)
	if got.Revision != 2 || fmt.Sprint(got.Initrd) != "[images/c]" || got.Arch != "" || got.BootMode != "uefi" || fmt.Sprint(got.Params) != "map[x:1 y:2]" {
		t.Errorf("patched: %+v", got)
	}
	if r := c.do("PATCH", at, c.admin, object{"cmdline": ""}, "If-Match", `"1"`); r.status != 412 {
		t.Errorf("an old revision: %d", r.status)
	}
	must[wire.Workflow](c, 201, "POST", "/api/v1/workflows", c.admin, object{"name": "alpine", "install_method": "sanboot", "boot_url": "http://x/a.iso"})
	if r := c.do("PATCH", at, c.admin, object{"name": "alpine"}); r.status != 409 || !r.names(t, "body.name") {
		t.Errorf("a name that is taken: %d %s", r.status, r.body)
	}
	page := must[store.Page[wire.Workflow]](c, 200, "GET", "/api/v1/workflows?limit=1", c.viewer, nil)
	if page.Total != 2 || page.Items[0].Name != "alpine" || page.NextCursor == "" {
		t.Errorf("list: %+v", page)
	}
}
