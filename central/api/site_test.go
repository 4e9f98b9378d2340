package api

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/inherit"
	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
)

// names returns the names of a list, page by page.
func (c *central) names(path string, limit int) []string {
	c.t.Helper()
	var names []string
	for cursor, pages := "", 0; ; pages++ {
		page := must[store.Page[store.Group]](c, 200, "GET", fmt.Sprintf("%s&limit=%d&cursor=%s", path, limit, cursor), c.viewer, nil)
		for _, g := range page.Items {
			names = append(names, g.Name)
		}
		if len(page.Items) > limit || pages > 100 {
			c.t.Fatalf("page %d has %d items", pages, len(page.Items))
		}
		if cursor = page.NextCursor; cursor == "" {
			if page.Total != len(names) {
				c.t.Errorf("%s: total %d, and there are %d", path, page.Total, len(names))
			}
			return names
		}
	}
}

func TestSitesAreFilteredAndSorted(t *testing.T) { onBoth(t, testSitesAreFilteredAndSorted) }

func testSitesAreFilteredAndSorted(t *testing.T, c *central) {
	made := map[string]store.Group{}
	for _, s := range [][2]string{
		{"north", ""}, {"Lyon", "north"}, {"lille", "north"}, {"south", ""}, {"Nice", "south"}, {"a_b", "south"}, {"100%", ""}, {"a-c", "Lyon"},
	} {
		more := object{}
		if s[1] != "" {
			more["parent_id"] = made[s[1]].ID
		}
		made[s[0]] = c.site(s[0], more)
	}
	must[store.Group](c, 201, "POST", "/api/v1/groups", c.admin, object{"name": "lab", "parent_id": made["north"].ID})

	for query, want := range map[string]string{
		"":                              "100% Lyon Nice a-c a_b lille north south",
		"sort=-name":                    "south north lille a_b a-c Nice Lyon 100%",
		"sort=path":                     "100% north Lyon a-c lille south Nice a_b",
		"sort=-path":                    "a_b Nice south lille a-c Lyon north 100%",
		"sort=created_at":               "north Lyon lille south Nice a_b 100% a-c",
		"sort=-created_at":              "a-c 100% a_b Nice south lille Lyon north",
		"parent_id=none":                "100% north south",
		"search=L":                      "Lyon lille",
		"search=_":                      "a_b",
		"search=%25":                    "100%",
		"search=%27%20OR%201%3D1%20--":  "",
		"search=i&sort=-created_at":     "Nice lille",
		"parent_id=" + uuid.NewString(): "",
		"search=l&parent_id=" + made["north"].ID.String(): "Lyon lille",
	} {
		for _, limit := range []int{1, 3, 100} {
			if got := strings.Join(c.names("/api/v1/sites?"+query, limit), " "); got != want {
				t.Errorf("%q by %d: %s, want %s", query, limit, got, want)
			}
		}
	}
	for query, field := range map[string]string{
		"sort=depth": "query.sort", "parent_id=x": "query.parent_id", "parent_id=00000000-0000-0000-0000-000000000000": "query.parent_id",
		"search=" + strings.Repeat("x", 101): "query.search", "is_site=false": "query.is_site", "cursor=bm9uc2Vuc2U": "query.cursor",
	} {
		if r := c.do("GET", "/api/v1/sites?"+query, c.viewer, nil); r.status != 422 || !r.names(t, field) {
			t.Errorf("%s: %d %s", query, r.status, r.body)
		}
	}
	page := must[store.Page[store.Group]](c, 200, "GET", "/api/v1/sites?limit=2&sort=path", c.viewer, nil)
	if r := c.do("GET", "/api/v1/sites?sort=-path&cursor="+page.NextCursor, c.viewer, nil); r.status != 422 || !r.names(t, "query.cursor") {
		t.Errorf("the cursor of another order: %d %s", r.status, r.body)
	}
}

// A search finds a text in any case, also in letters that databases do not fold, and takes it as it is.
func TestASearchKnowsNoCase(t *testing.T) { onBoth(t, testASearchKnowsNoCase) }

func testASearchKnowsNoCase(t *testing.T, c *central) {
	for i, name := range []string{"Århus [1]", `Straße\*?`, "ÉCOLE a-b^", "Kiel_%"} {
		c.site(name)
		must[wire.Node](c, 201, "POST", "/api/v1/nodes", c.operator, object{"mac_address": fmt.Sprintf("52:54:00:00:00:%02x", i), "vendor": name})
	}
	for text, want := range map[string]string{
		"Århus": "Århus [1]", "århus": "Århus [1]", "ÅRHUS [1]": "Århus [1]", "å": "Århus [1]", "å*": "", "å?": "", "å.": "", "å%": "",
		`straße\*?`: `Straße\*?`, "strasse": "", "STRAẞE": `Straße\*?`, "École A-B^": "ÉCOLE a-b^", "écol_": "", "E A-B^": "ÉCOLE a-b^",
		"kIEL_%": "Kiel_%", "[1]": "Århus [1]", `\*?`: `Straße\*?`, "l_": "Kiel_%", "e%": "", "^": "ÉCOLE a-b^",
	} {
		query := url.QueryEscape(text)
		if got := strings.Join(c.names("/api/v1/sites?search="+query, 100), " "); got != want {
			t.Errorf("the sites with %q: %s, want %s", text, got, want)
		}
		var vendors []string
		for _, n := range must[store.Page[wire.Node]](c, 200, "GET", "/api/v1/nodes?search="+query, c.viewer, nil).Items {
			vendors = append(vendors, n.Vendor)
		}
		if got := strings.Join(vendors, " "); got != want {
			t.Errorf("the nodes with %q: %s, want %s", text, got, want)
		}
	}
}

// What is there from the first page to the last is listed once, whatever comes, goes and changes its name beside it.
func TestPagesStandInsertsAndDeletes(t *testing.T) { onBoth(t, testPagesStandInsertsAndDeletes) }

func testPagesStandInsertsAndDeletes(t *testing.T, c *central) {
	for _, sort := range []string{"name", "-name", "created_at", "-created_at", "path"} {
		var stay, leave []store.Group
		for i := range 12 {
			g := c.site(fmt.Sprintf("%s m%02d", sort, i))
			if i%3 == 1 {
				leave = append(leave, g)
			} else {
				stay = append(stay, g)
			}
		}
		seen := map[string]int{}
		for cursor, page := "", 0; ; page++ {
			p := must[store.Page[store.Group]](c, 200, "GET", fmt.Sprintf("/api/v1/sites?search=%s%%20m&sort=%s&limit=3&cursor=%s", sort, sort, cursor), c.viewer, nil)
			for _, g := range p.Items {
				seen[g.Name]++
			}
			if cursor = p.NextCursor; cursor == "" {
				break
			}
			if page < len(leave) {
				c.site(fmt.Sprintf("%s m%02d before", sort, page))
				c.site(fmt.Sprintf("%s m%02d behind", sort, 11-page))
				if r := c.do("DELETE", "/api/v1/sites/"+leave[page].ID.String(), c.admin, nil); r.status != 204 {
					t.Fatalf("delete: %d %s", r.status, r.body)
				}
			}
		}
		for _, g := range stay {
			if seen[g.Name] != 1 {
				t.Errorf("by %s, %s was listed %d times", sort, g.Name, seen[g.Name])
			}
		}
		for name, n := range seen {
			if n > 1 {
				t.Errorf("by %s, %s was listed %d times", sort, name, n)
			}
		}
	}
}

func TestASiteCountsWhatBelongsToIt(t *testing.T) { onBoth(t, testASiteCountsWhatBelongsToIt) }

func testASiteCountsWhatBelongsToIt(t *testing.T, c *central) {
	region := c.site("region")
	city, town := c.site("city", object{"parent_id": region.ID}), c.site("town", object{"parent_id": region.ID})
	rack := must[store.Group](c, 201, "POST", "/api/v1/groups", c.admin, object{"name": "rack", "parent_id": city.ID})
	node := func(n int, home store.Group, group any) {
		must[wire.Node](c, 201, "POST", "/api/v1/nodes", c.operator, object{"mac_address": fmt.Sprintf("52:54:00:00:00:%02x", n), "home_site_id": home.ID, "group_id": group})
	}
	node(1, city, rack.ID)
	node(2, city, city.ID)
	node(3, town, rack.ID)
	node(4, town, nil)
	node(5, town, nil)
	for _, want := range []struct {
		path            string
		g               store.Group
		nodes, children int
	}{
		{"sites", region, 0, 2}, {"sites", city, 2, 1}, {"sites", town, 3, 0}, {"groups", rack, 2, 0},
	} {
		got := must[store.Group](c, 200, "GET", "/api/v1/"+want.path+"/"+want.g.ID.String(), c.viewer, nil)
		if got.NodeCount != want.nodes || got.ChildCount != want.children {
			t.Errorf("%s: %d nodes and %d children, want %d and %d", got.Name, got.NodeCount, got.ChildCount, want.nodes, want.children)
		}
		page := must[store.Page[store.Group]](c, 200, "GET", "/api/v1/"+want.path+"?search="+got.Name, c.viewer, nil)
		if len(page.Items) != 1 || page.Items[0].NodeCount != want.nodes || page.Items[0].ChildCount != want.children {
			t.Errorf("listed: %+v", page.Items)
		}
	}

	at := func(site store.Group, query string) string {
		page := must[store.Page[wire.Node]](c, 200, "GET", "/api/v1/sites/"+site.ID.String()+"/nodes?"+query, c.viewer, nil)
		var last []string
		for _, n := range page.Items {
			last = append(last, n.MACAddress[len(n.MACAddress)-1:])
		}
		return fmt.Sprint(page.Total, strings.Join(last, ""))
	}
	for _, want := range []struct {
		site        store.Group
		query, list string
	}{
		{region, "", "0"},
		{region, "descendants=true", "512345"},
		{region, "descendants=false", "0"},
		{city, "descendants=true", "212"},
		{town, "", "3345"},
		{region, "descendants=true&limit=2", "512"},
	} {
		if got := at(want.site, want.query); got != want.list {
			t.Errorf("nodes of %s?%s: %s, want %s", want.site.Name, want.query, got, want.list)
		}
	}
	for _, path := range []string{rack.ID.String(), uuid.NewString()} {
		if r := c.do("GET", "/api/v1/sites/"+path+"/nodes", c.viewer, nil); r.status != 404 {
			t.Errorf("the nodes of no site: %d", r.status)
		}
	}
}

func TestParamsAreInheritedKeyByKey(t *testing.T) { onBoth(t, testParamsAreInheritedKeyByKey) }

func testParamsAreInheritedKeyByKey(t *testing.T, c *central) {
	region := c.site("region", object{"params": object{"ntp": "ntp.region", "dns": "dns.region", "tz": "UTC"}})
	site := c.site("site", object{"parent_id": region.ID, "params": object{"dns": "dns.site", "tz": ""}})
	rack := must[store.Group](c, 201, "POST", "/api/v1/groups", c.admin, object{"name": "rack", "parent_id": site.ID, "params": object{"row": "7"}})
	of := func(value string, from store.Group) inherit.Value[string] {
		return inherit.Value[string]{Value: value, From: from.ID.String()}
	}
	check := func(path string, want map[string]inherit.Value[string]) {
		t.Helper()
		if got := must[store.Group](c, 200, "GET", path, c.viewer, nil).Effective.Params; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
	check("/api/v1/groups/"+rack.ID.String(), map[string]inherit.Value[string]{
		"ntp": of("ntp.region", region), "dns": of("dns.site", site), "tz": of("", site), "row": of("7", rack),
	})
	must[store.Group](c, 200, "PATCH", "/api/v1/sites/"+site.ID.String(), c.admin, object{"params": object{"dns": nil, "tz": "CET"}})
	check("/api/v1/groups/"+rack.ID.String(), map[string]inherit.Value[string]{
		"ntp": of("ntp.region", region), "dns": of("dns.region", region), "tz": of("CET", site), "row": of("7", rack),
	})
	must[store.Group](c, 200, "PATCH", "/api/v1/sites/"+site.ID.String(), c.admin, object{"params": nil})
	check("/api/v1/sites/"+site.ID.String(), map[string]inherit.Value[string]{
		"ntp": of("ntp.region", region), "dns": of("dns.region", region), "tz": of("UTC", region),
	})
}

// A machine boots by what it inherits now, and its agent hears when that changes.
func TestMachinesBootByWhatTheyInherit(t *testing.T) { onBoth(t, testMachinesBootByWhatTheyInherit) }

func testMachinesBootByWhatTheyInherit(t *testing.T, c *central) {
	workflow := func(name string) wire.Workflow {
		return must[wire.Workflow](c, 201, "POST", "/api/v1/workflows", c.admin, object{"name": name, "install_method": "sanboot", "boot_url": "http://x/" + name})
	}
	debian, alpine := workflow("debian"), workflow("alpine")
	north := c.site("north", object{"default_workflow_id": debian.ID, "params": object{"ntp": "north"}, "auto_provision": true, "heartbeat_seconds": 7})
	south := c.site("south", object{"default_workflow_id": alpine.ID, "params": object{"ntp": "south"}})
	city := c.site("city", object{"parent_id": north.ID})
	site := c.site("site", object{"parent_id": city.ID})
	agent := c.enrol(site)

	n := must[wire.Node](c, 201, "POST", "/api/v1/nodes/register", agent, wire.Registration{MACAddress: "52:54:00:00:00:01"})
	if n.State != "pending" {
		t.Errorf("auto_provision and a default workflow above, and the new machine is %s", n.State)
	}
	epoch := wire.Epoch{}
	heard := func() (changed bool, next int) {
		t.Helper()
		a := must[wire.HeartbeatAnswer](c, 200, "POST", wire.PathHeartbeat, agent, wire.Heartbeat{NodeEpoch: epoch})
		epoch = a.NodeEpoch
		return a.AllNodes || slices.Contains(a.ChangedNodes, n.ID), a.NextIn
	}
	boots := func(workflow wire.Workflow, ntp string) {
		t.Helper()
		b := must[wire.Boot](c, 200, "GET", wire.PathBoot+"?mac=52:54:00:00:00:01", agent, nil)
		if b.Workflow == nil || b.Workflow.ID != workflow.ID || b.Params["ntp"] != ntp {
			t.Errorf("boots %+v with %v, want %s with %s", b.Workflow, b.Params, workflow.Name, ntp)
		}
	}
	patch := func(g store.Group, body object) {
		t.Helper()
		must[store.Group](c, 200, "PATCH", "/api/v1/sites/"+g.ID.String(), c.admin, body)
	}
	boots(debian, "north")
	if _, next := heard(); next != 7 {
		t.Errorf("the next heartbeat is in %d s", next)
	}
	if changed, _ := heard(); changed {
		t.Error("a machine changed though nothing did")
	}
	for _, step := range []struct {
		name     string
		of       store.Group
		body     object
		changes  bool
		workflow wire.Workflow
		ntp      string
		next     int
	}{
		{"a move two levels up", city, object{"parent_id": south.ID}, true, alpine, "south", 60},
		{"a parameter at the root", south, object{"params": object{"ntp": "other"}}, true, alpine, "other", 60},
		{"what only the agent needs", south, object{"heartbeat_seconds": 9}, false, alpine, "other", 9},
		{"a new name above", south, object{"name": "elsewhere"}, false, alpine, "other", 9},
		{"a workflow in between", city, object{"default_workflow_id": debian.ID}, true, debian, "other", 9},
		{"what is hidden by that", south, object{"default_workflow_id": nil}, true, debian, "other", 9},
		{"back to what is inherited", city, object{"default_workflow_id": nil, "parent_id": north.ID}, true, debian, "north", 7},
	} {
		patch(step.of, step.body)
		changed, next := heard()
		if changed != step.changes && !strings.HasPrefix(step.name, "what is hidden") {
			t.Errorf("%s: the agent heard of a change: %v", step.name, changed)
		}
		if next != step.next {
			t.Errorf("%s: the next heartbeat is in %d s, want %d", step.name, next, step.next)
		}
		boots(step.workflow, step.ntp)
	}
}

func TestAMoveShowsWhereItCannotGo(t *testing.T) { onBoth(t, testAMoveShowsWhereItCannotGo) }

func testAMoveShowsWhereItCannotGo(t *testing.T, c *central) {
	site, other := c.site("site"), c.site("other")
	child := c.site("child", object{"parent_id": site.ID})
	group := must[store.Group](c, 201, "POST", "/api/v1/groups", c.admin, object{"name": "group", "parent_id": site.ID})
	root := must[store.Group](c, 201, "POST", "/api/v1/groups", c.admin, object{"name": "root"})
	for name, move := range map[string]struct {
		path   string
		g      store.Group
		parent any
		status int
	}{
		"a site below a group":          {"sites", other, group.ID, 422},
		"a site below a group that has": {"sites", site, root.ID, 422},
		"a site below its child":        {"sites", site, child.ID, 422},
		"a site below itself":           {"sites", site, site.ID, 422},
		"a site below its group":        {"sites", site, group.ID, 422},
		"a group below itself":          {"groups", group, group.ID, 422},
		"a group below nothing known":   {"groups", group, uuid.New(), 422},
		"a group below a group":         {"groups", group, root.ID, 200},
		"a site by the other path":      {"groups", site, other.ID, 404},
	} {
		r := c.do("PATCH", "/api/v1/"+move.path+"/"+move.g.ID.String(), c.admin, object{"parent_id": move.parent})
		if r.status != move.status || r.status == 422 && !r.names(t, "body.parent_id") {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
	entries := c.audited("group.update")
	if len(entries) != 1 || entries[0].Detail != "moved from site/group to root/group" ||
		!strings.Contains(string(entries[0].Before), site.ID.String()) || !strings.Contains(string(entries[0].After), root.ID.String()) {
		t.Errorf("audited: %v", entries)
	}
}

// Two moves at once, each fine alone, would make a ring of two sites.
func TestMovesThatCrossMakeNoRing(t *testing.T) { onBoth(t, testMovesThatCrossMakeNoRing) }

func testMovesThatCrossMakeNoRing(t *testing.T, c *central) {
	for i := range 10 {
		pair := []store.Group{c.site(fmt.Sprint("left ", i)), c.site(fmt.Sprint("right ", i))}
		errs := make([]error, 2)
		var wg sync.WaitGroup
		for side := range pair {
			wg.Go(func() {
				_, errs[side] = c.store.UpdateGroup(t.Context(), store.Actor{Name: "test"}, true, pair[side].ID, 0, func(g store.GroupSpec) (store.GroupSpec, error) {
					g.ParentID = &pair[1-side].ID
					return g, nil
				})
			})
		}
		wg.Wait()
		var invalid *store.Invalid
		if (errs[0] == nil) == (errs[1] == nil) || !errors.As(errors.Join(errs...), &invalid) {
			t.Fatalf("round %d: %v and %v", i, errs[0], errs[1])
		}
	}
	for _, g := range must[store.Page[store.Group]](c, 200, "GET", "/api/v1/sites", c.viewer, nil).Items {
		if g.Depth > 1 || g.Depth == 1 != (g.ParentID != nil) {
			t.Errorf("%s is at depth %d, at %s", g.Name, g.Depth, g.Path)
		}
	}
}

func TestAPathIsBounded(t *testing.T) { onBoth(t, testAPathIsBounded) }

func testAPathIsBounded(t *testing.T, c *central) {
	deep := c.site("0")
	var second store.Group
	for i := 1; ; i++ {
		name := fmt.Sprintf("%02d", i) + strings.Repeat("ж", 49)
		r := c.do("POST", "/api/v1/sites", c.admin, object{"name": name, "parent_id": deep.ID})
		if r.status == 422 && r.names(t, "body.name") && i == 20 {
			break
		} else if r.status != 201 {
			t.Fatalf("level %d: %d %s", i, r.status, r.body)
		}
		deep = must[store.Group](c, 200, "GET", r.header.Get("Location"), c.viewer, nil)
		if i == 1 {
			second = deep
		}
	}
	// What lies below counts as well.
	root := "/api/v1/sites/" + second.ParentID.String()
	if r := c.do("PATCH", root, c.admin, object{"name": strings.Repeat("x", 100)}); r.status != 422 || !r.names(t, "body.name") {
		t.Errorf("a longer name above: %d %s", r.status, r.body)
	}
	must[store.Group](c, 200, "PATCH", root, c.admin, object{"name": "1"})
	if got := must[store.Group](c, 200, "GET", "/api/v1/sites/"+deep.ID.String(), c.viewer, nil); !strings.HasPrefix(got.Path, "1/01жж") || len(got.Path) != len(deep.Path) || got.Version != 2 {
		t.Errorf("below the new name: %s at version %d", got.Path, got.Version)
	}
}

func TestAVersionGuardsEachWrite(t *testing.T) { onBoth(t, testAVersionGuardsEachWrite) }

func testAVersionGuardsEachWrite(t *testing.T, c *central) {
	for _, path := range []string{"/api/v1/sites", "/api/v1/groups"} {
		made := c.do("POST", path, c.admin, object{"name": "x" + path[8:]})
		at, tag := made.header.Get("Location"), made.header.Get("ETag")
		if made.status != 201 || tag != `"1"` {
			t.Fatalf("made: %d %s", made.status, tag)
		}
		step := func(method string, body any, match string, status int) string {
			t.Helper()
			r := c.do(method, at, c.admin, body, "If-Match", match)
			if r.status != status {
				t.Errorf("%s %s with %s: %d %s, want %d", method, at, match, r.status, r.body, status)
			}
			return r.header.Get("ETag")
		}
		second := step("PATCH", object{"description": "a"}, tag, 200)
		step("PATCH", object{"description": "b"}, tag, 412)
		step("PATCH", object{"description": "b"}, "2", 412)
		step("PATCH", object{"description": "b"}, `"0"`, 412)
		step("PATCH", object{"description": "b"}, "W/"+second, 412)
		third := step("PATCH", object{"description": "b"}, "*", 200)
		step("DELETE", nil, second, 412)
		if g := must[store.Group](c, 200, "GET", at, c.viewer, nil); g.Description != "b" || third != `"3"` {
			t.Errorf("after it: %s, %s", g.Description, third)
		}
		step("DELETE", nil, third, 204)
	}
}
