package api

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/ent"
	"github.com/pureboot/pureboot/ent/nodeevent"
)

func TestNodesArePatchedFieldByField(t *testing.T) { onBoth(t, testNodesArePatchedFieldByField) }

func testNodesArePatchedFieldByField(t *testing.T, c *central) {
	n := must[wire.Node](c, 201, "POST", "/api/v1/nodes", c.operator, object{
		"mac_address": "52:54:00:00:00:01", "interfaces": []object{{"mac_address": "52:54:00:00:00:02", "name": "eth1"}},
		"hostname": "web1", "params": object{"a": "1", "b": "2"}, "tags": []string{"x"}, "arch": "arm64",
	})
	at := "/api/v1/nodes/" + n.ID
	if len(n.Interfaces) != 2 || n.Interfaces[0].MACAddress != n.MACAddress || n.Interfaces[1].Name != "eth1" {
		t.Fatalf("interfaces: %+v", n.Interfaces)
	}
	n = must[wire.Node](c, 200, "PATCH", at, c.operator, `{"hostname":null,"arch":null,"params":{"a":null,"c":"3"},"vendor":"ACME"}`, "Content-Type", "application/merge-patch+json")
	if n.Hostname != "" || n.Arch != "" || n.Vendor != "ACME" || fmt.Sprint(n.Params) != "map[b:2 c:3]" || n.Version != 2 || !slices.Equal(n.Tags, []string{"x"}) {
		t.Errorf("patched: %+v", n)
	}
	n = must[wire.Node](c, 200, "PATCH", at, c.operator, object{"params": nil, "tags": nil})
	if len(n.Params) != 0 || len(n.Tags) != 0 || n.Vendor != "ACME" {
		t.Errorf("cleared: %+v", n)
	}
	n = must[wire.Node](c, 200, "PATCH", at, c.operator, object{"mac_address": "52:54:00:00:00:0A"})
	if n.MACAddress != "52:54:00:00:00:0a" || len(n.Interfaces) != 2 || n.Interfaces[0].MACAddress != n.MACAddress || n.Interfaces[1].MACAddress != "52:54:00:00:00:02" {
		t.Errorf("with another primary card: %+v", n.Interfaces)
	}
	n = must[wire.Node](c, 200, "PATCH", at, c.operator, object{"mac_address": "52:54:00:00:00:02"})
	if n.MACAddress != "52:54:00:00:00:02" || len(n.Interfaces) != 2 || n.Interfaces[0].Name != "eth1" || n.Interfaces[1].MACAddress != "52:54:00:00:00:0a" {
		t.Errorf("with its second card as primary: %+v", n.Interfaces)
	}
	must[wire.Node](c, 201, "POST", "/api/v1/nodes", c.operator, object{"mac_address": "52:54:00:00:00:01"}) // is free again
	if entries := c.audited("node.update"); len(entries) != 4 || !strings.Contains(string(entries[0].Before), "web1") || strings.Contains(string(entries[0].After), "web1") {
		t.Errorf("audited: %v", entries)
	}
	if r := c.do("DELETE", at, c.operator, nil); r.status != 204 {
		t.Errorf("delete: %d", r.status)
	}
	if r := c.do("GET", at, c.operator, nil); r.status != 404 {
		t.Errorf("once deleted: %d", r.status)
	}
}

func TestAnOldVersionIsNotWrittenOver(t *testing.T) {
	c := newCentral(t)
	created := c.do("POST", "/api/v1/nodes", c.operator, object{"mac_address": "52:54:00:00:00:01"})
	etag, at := created.header.Get("ETag"), created.header.Get("Location")
	if etag != `"1"` || !strings.HasPrefix(at, "/api/v1/nodes/") {
		t.Fatalf("ETag %s, Location %s", etag, at)
	}
	if r := c.do("PATCH", at, c.operator, object{"hostname": "a"}, "If-Match", etag); r.status != 200 || r.header.Get("ETag") != `"2"` {
		t.Errorf("with the version: %d, %s", r.status, r.header.Get("ETag"))
	}
	for _, old := range []string{etag, `"3"`, "2", `W/"2"`, "x"} {
		for _, r := range []reply{
			c.do("PATCH", at, c.operator, object{"hostname": "b"}, "If-Match", old),
			c.do("PATCH", at+"/state", c.operator, object{"state": "pending"}, "If-Match", old),
			c.do("PUT", at+"/tags/x", c.operator, nil, "If-Match", old),
			c.do("DELETE", at+"/tags/x", c.operator, nil, "If-Match", old),
		} {
			if r.status != 412 {
				t.Errorf("If-Match %s: %d %s", old, r.status, r.body)
			}
		}
	}
	if n := must[wire.Node](c, 200, "GET", at, c.viewer, nil); n.Hostname != "a" || n.State != "discovered" || len(n.Tags) > 0 {
		t.Errorf("the node is %+v", n)
	}
	must[wire.Node](c, 200, "PATCH", at, c.operator, object{"hostname": "c"}, "If-Match", "*")
	must[wire.Node](c, 200, "PATCH", at+"/state", c.operator, object{"state": "pending"}, "If-Match", `"3"`)
	must[wire.Node](c, 200, "PUT", at+"/tags/x", c.operator, nil, "If-Match", `"4"`)
	must[wire.Node](c, 200, "DELETE", at+"/tags/x", c.operator, nil, "If-Match", `"5"`)
}

func TestAnOldVersionIsNotDeleted(t *testing.T) {
	s := &scene{central: newCentral(t)}
	for what, make := range map[string]func() string{
		"node": s.aNode, "workflow": s.aWorkflow, "site": s.aSite, "group": s.aGroup, "token": s.aToken,
	} {
		at := make()
		old := s.do("GET", at, s.admin, nil).header.Get("ETag")
		field := map[string]string{"node": "hostname", "workflow": "cmdline", "token": "name"}[what]
		changed := s.do("PATCH", at, s.admin, object{cmp.Or(field, "description"): "x"}, "If-Match", old)
		now := s.do("GET", at, s.admin, nil).header.Get("ETag")
		if old == "" || changed.status != 200 || now == old || changed.header.Get("ETag") != now {
			t.Errorf("%s: the ETag was %s and is %s; the change: %d %s", what, old, now, changed.status, changed.body)
		}
		if r := s.do("PATCH", at, s.admin, object{}, "If-Match", old); r.status != 412 {
			t.Errorf("%s: changed by an old ETag: %d", what, r.status)
		}
		for _, wrong := range []string{old, "x", "W/" + now} {
			if r := s.do("DELETE", at, s.admin, nil, "If-Match", wrong); r.status != 412 {
				t.Errorf("%s: If-Match %s: %d", what, wrong, r.status)
			}
		}
		if r := s.do("DELETE", at, s.admin, nil, "If-Match", now); r.status != 204 {
			t.Errorf("%s: by its ETag: %d %s", what, r.status, r.body)
		}
	}
}

func TestTheHistoryIsListedInPages(t *testing.T) {
	onBoth(t, func(t *testing.T, c *central) {
		n := must[wire.Node](c, 201, "POST", "/api/v1/nodes", c.operator, object{"mac_address": "52:54:00:00:00:01"})
		for _, state := range []string{"pending", "installing", "installed"} {
			must[wire.Node](c, 200, "PATCH", "/api/v1/nodes/"+n.ID+"/state", c.operator, object{"state": state})
		}
		path := "/api/v1/nodes/" + n.ID + "/history?limit=3"
		first := must[store.Page[store.StateStep]](c, 200, "GET", path, c.viewer, nil)
		must[wire.Node](c, 200, "PATCH", "/api/v1/nodes/"+n.ID+"/state", c.operator, object{"state": "active"})
		rest := must[store.Page[store.StateStep]](c, 200, "GET", path+"&cursor="+first.NextCursor, c.viewer, nil)
		var to []string
		for _, step := range append(first.Items, rest.Items...) {
			to = append(to, step.To)
		}
		if got := strings.Join(to, " "); got != "discovered pending installing installed active" || first.Total != 4 || rest.Total != 5 || rest.NextCursor != "" {
			t.Errorf("it went %s; of %d, then %d", got, first.Total, rest.Total)
		}
		if r := c.do("GET", path+"&cursor=eHg", c.viewer, nil); r.status != 422 {
			t.Errorf("a cursor of none: %d", r.status)
		}
	})
}

func TestNodesAreListedInPages(t *testing.T) { onBoth(t, testNodesAreListedInPages) }

func testNodesAreListedInPages(t *testing.T, c *central) {
	site := c.site("berlin")
	for i := range 7 {
		body := object{"mac_address": fmt.Sprintf("52:54:00:00:00:%02x", 7-i), "home_site_id": site.ID}
		if i%2 == 0 {
			body["state"] = "pending"
		}
		must[wire.Node](c, 201, "POST", "/api/v1/nodes", c.operator, body)
	}
	other := must[wire.Node](c, 201, "POST", "/api/v1/nodes", c.operator, object{"mac_address": "52:54:00:00:00:00", "group_id": site.ID})
	still := func(int) {}
	for path, want := range map[string]string{
		"/api/v1/nodes?":                                              "[00 01 02 03 04 05 06 07]",
		"/api/v1/nodes?state=pending":                                 "[01 03 05 07]",
		"/api/v1/nodes?home_site_id=" + site.ID.String():              "[01 02 03 04 05 06 07]",
		"/api/v1/nodes?group_id=" + site.ID.String():                  "[00]",
		"/api/v1/nodes?mac=5254.0000.0004":                            "[04]",
		"/api/v1/nodes?mac=52:54:00:00:00:99":                         "[]",
		"/api/v1/sites/" + site.ID.String() + "/nodes?":               "[01 02 03 04 05 06 07]",
		"/api/v1/nodes?state=discovered&group_id=" + site.ID.String(): "[00]",
	} {
		macs, total := c.pages(path, still)
		if fmt.Sprint(macs) != want || total != len(macs) {
			t.Errorf("%s: %v of %d, want %s", path, macs, total, want)
		}
	}
	macs, _ := c.pages("/api/v1/nodes?", func(page int) {
		if page == 0 { // one that was read goes, one comes before the place, one after
			c.do("DELETE", "/api/v1/nodes/"+other.ID, c.operator, nil)
			must[wire.Node](c, 201, "POST", "/api/v1/nodes", c.operator, object{"mac_address": "00:54:00:00:00:aa"})
			must[wire.Node](c, 201, "POST", "/api/v1/nodes", c.operator, object{"mac_address": "52:54:00:00:00:f0"})
		}
	})
	if want := "[00 01 02 03 04 05 06 07 f0]"; fmt.Sprint(macs) != want {
		t.Errorf("while others write: %v, want %s", macs, want)
	}
}

func TestAMachineNeverSeenBecomesANodeOfItsSite(t *testing.T) {
	c := newCentral(t)
	workflow := must[wire.Workflow](c, 201, "POST", "/api/v1/workflows", c.admin, object{"name": "w", "install_method": "chain", "boot_url": "http://x/y"})
	region := c.site("region", object{"auto_provision": true})
	for _, at := range []struct {
		site  store.Group
		state string
	}{
		{c.site("plain"), "discovered"},
		{c.site("without a workflow", object{"parent_id": region.ID}), "discovered"},
		{c.site("automatic", object{"parent_id": region.ID, "default_workflow_id": workflow.ID}), "pending"},
		{c.site("by hand", object{"parent_id": region.ID, "default_workflow_id": workflow.ID, "auto_provision": false}), "discovered"},
	} {
		agent := c.enrol(at.site)
		mac := "52:54:00:00:00:" + at.site.ID.String()[:2]
		n := must[wire.Node](c, 201, "POST", wire.PathNodes+"/register", agent, wire.Registration{MACAddress: mac})
		if n.State != at.state || n.HomeSiteID != at.site.ID.String() || n.LastSeenAt == nil {
			t.Errorf("at %s: %+v", at.site.Name, n)
		}
		again := must[wire.Node](c, 200, "POST", wire.PathNodes+"/register", agent, wire.Registration{MACAddress: strings.ToUpper(mac)})
		if again.ID != n.ID || again.Version != n.Version || again.State != n.State || again.UpdatedAt != n.UpdatedAt {
			t.Errorf("at %s, again: %+v", at.site.Name, again)
		}
		must[object](c, 204, "DELETE", "/api/v1/nodes/"+n.ID, c.operator, nil)
	}
}

func TestFactsFillWhatIsMissing(t *testing.T) { onBoth(t, testFactsFillWhatIsMissing) }

func testFactsFillWhatIsMissing(t *testing.T, c *central) {
	site := c.site("berlin")
	agent := c.enrol(site)
	register := func(status int, r wire.Registration) wire.Node {
		t.Helper()
		return must[wire.Node](c, status, "POST", wire.PathNodes+"/register", agent, r)
	}
	const uuid = "4C4C4544-0042-3510-8052-B4C04F4E4D31"
	n := register(201, wire.Registration{
		MACAddress: "52:54:00:00:00:01", Vendor: "Dell \"Inc.\"\r\n\x00${x}\u202e", Model: strings.Repeat("é", 300), SystemUUID: uuid,
		IPAddress: "10.0.0.1%eth0", Hostname: "a b", Arch: "z80", BootMode: "uefi", SerialNumber: "  7\t8 ",
	})
	if n.Vendor != `Dell "Inc." ${x}` || len(n.Model) != 200 || n.SystemUUID != strings.ToLower(uuid) || n.IPAddress != "" ||
		n.Hostname != "" || n.Arch != "" || n.BootMode != "uefi" || n.SerialNumber != "7 8" {
		t.Errorf("facts as they are kept: %+v", n)
	}
	must[wire.Node](c, 200, "PATCH", "/api/v1/nodes/"+n.ID, c.operator, object{"vendor": "ACME", "hostname": "db1"})
	n = register(200, wire.Registration{MACAddress: "52:54:00:00:00:01", Vendor: "Dell", Hostname: "localhost", Arch: "x86_64", IPAddress: "10.0.0.7"})
	if n.Vendor != "ACME" || n.Hostname != "db1" || n.Arch != "x86_64" || n.IPAddress != "10.0.0.7" || n.Version != 3 {
		t.Errorf("facts over an admin's word: %+v", n)
	}

	other := register(200, wire.Registration{MACAddress: "52:54:00:00:00:02", SystemUUID: uuid})
	if other.ID != n.ID || len(other.Interfaces) != 2 || other.MACAddress != n.MACAddress {
		t.Errorf("the same machine by another card: %+v", other)
	}
	if boot := must[wire.Boot](c, 200, "GET", wire.PathBoot+"?mac=52:54:00:00:00:03&uuid="+uuid, agent, nil); boot.Node.ID != n.ID {
		t.Errorf("booting by its UUID: %+v", boot.Node)
	}
	for i, bogus := range []string{"00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff", "03000200-0400-0500-0006-000700080009", "To Be Filled"} {
		a := register(201, wire.Registration{MACAddress: fmt.Sprintf("52:54:00:00:01:%02x", i), SystemUUID: bogus})
		b := register(201, wire.Registration{MACAddress: fmt.Sprintf("52:54:00:00:02:%02x", i), SystemUUID: bogus})
		if a.ID == b.ID || a.SystemUUID != "" {
			t.Errorf("two boards with UUID %s are one node", bogus)
		}
	}
}

func TestABadTransitionNamesTheValidOnes(t *testing.T) {
	c := newCentral(t)
	n := must[wire.Node](c, 201, "POST", "/api/v1/nodes", c.operator, object{"mac_address": "52:54:00:00:00:01"})
	r := c.do("PATCH", "/api/v1/nodes/"+n.ID+"/state", c.operator, wire.StateChange{State: "active"})
	if want := "discovered cannot become active: valid are pending, retired"; r.status != 409 || r.problem(t).Detail != want {
		t.Errorf("%d %s", r.status, r.body)
	}
	n = must[wire.Node](c, 200, "PATCH", "/api/v1/nodes/"+n.ID+"/state", c.operator, wire.StateChange{State: "pending", Comment: "go"})
	if n.State != "pending" || n.InstallSeq != 1 || n.Version != 2 {
		t.Errorf("pending: %+v", n)
	}
	steps := must[store.Page[store.StateStep]](c, 200, "GET", "/api/v1/nodes/"+n.ID+"/history", c.viewer, nil).Items
	if len(steps) != 2 || steps[0].From != "" || steps[1].Comment != "go" || steps[1].By != "admin:operator" {
		t.Errorf("history: %+v", steps)
	}
	if r := c.do("GET", "/api/v1/nodes/7c9e6679-7425-40de-944b-e07fc1f90ae7/history", c.viewer, nil); r.status != 404 {
		t.Errorf("of an unknown node: %d", r.status)
	}
}

func TestThreeFailuresEndAnInstallation(t *testing.T) {
	c := newCentral(t)
	site := c.site("berlin")
	agent := c.enrol(site)
	n := must[wire.Node](c, 201, "POST", "/api/v1/nodes", c.operator, object{"mac_address": "52:54:00:00:00:01", "state": "pending", "home_site_id": site.ID})
	event := func(e wire.Event) wire.Node {
		return must[wire.Node](c, 200, "POST", wire.PathNodes+"/"+n.ID+"/event", agent, e)
	}
	for i := range 3 {
		event(wire.Event{EventType: "boot_started"})
		n = event(wire.Event{EventType: "install_failed", Message: "no disk\nhere" + strings.Repeat("!", 5000)})
		if n.InstallAttempts != i+1 || !strings.HasPrefix(n.LastInstallError, "no disk here!") || len(n.LastInstallError) != 1000 {
			t.Errorf("attempt %d: %d, %.40q", i+1, n.InstallAttempts, n.LastInstallError)
		}
	}
	if n.State != "install_failed" {
		t.Errorf("after three failures: %s", n.State)
	}
	if n = event(wire.Event{EventType: "boot_started"}); n.State != "install_failed" {
		t.Errorf("a machine got out by itself: %s", n.State)
	}
}

func TestEventsOfOneNodeAreBounded(t *testing.T) {
	c := newCentral(t)
	n := must[wire.Node](c, 201, "POST", "/api/v1/nodes", c.operator, object{"mac_address": "52:54:00:00:00:01"})
	const there, sent = 1000, 1005
	err := c.store.Write(t.Context(), func(tx *ent.Tx) error {
		rows := make([]*ent.NodeEventCreate, there)
		for i := range rows {
			rows[i] = tx.NodeEvent.Create().SetNodeID(uuid.MustParse(n.ID)).SetEventID(fmt.Sprint(i)).SetEventType(nodeevent.EventTypeHeartbeat)
		}
		return tx.NodeEvent.CreateBulk(rows...).Exec(t.Context())
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := there; i < sent; i++ {
		must[wire.Node](c, 200, "POST", "/api/v1/nodes/"+n.ID+"/event", c.operator, wire.Event{EventType: "heartbeat", EventID: fmt.Sprint(i)})
	}
	var kept []store.LoggedEvent
	path := "/api/v1/nodes/" + n.ID + "/events?limit=400"
	for next := path; next != ""; {
		page := must[store.Page[store.LoggedEvent]](c, 200, "GET", next, c.viewer, nil)
		if next = ""; page.NextCursor != "" {
			next = path + "&cursor=" + page.NextCursor
		}
		if kept = append(kept, page.Items...); page.Total != 1000 {
			t.Errorf("the total is %d", page.Total)
		}
	}
	if len(kept) != 1000 || kept[0].EventID != "5" || kept[999].EventID != fmt.Sprint(sent-1) {
		t.Errorf("%d events from %s to %s", len(kept), kept[0].EventID, kept[len(kept)-1].EventID)
	}
}

func TestWhatMovesANodeForItsAgent(t *testing.T) { onBoth(t, testWhatMovesANodeForItsAgent) }

func testWhatMovesANodeForItsAgent(t *testing.T, c *central) {
	workflow := func(name string) wire.Workflow {
		return must[wire.Workflow](c, 201, "POST", "/api/v1/workflows", c.admin, object{"name": name, "install_method": "chain", "boot_url": "http://x/y"})
	}
	own, byDefault, unused := workflow("own"), workflow("default"), workflow("unused")
	region := c.site("region", object{"default_workflow_id": byDefault.ID})
	berlin, paris := c.site("berlin", object{"parent_id": region.ID}), c.site("paris")
	rack := must[store.Group](c, 201, "POST", "/api/v1/groups", c.admin, object{"name": "rack"})
	agent := c.enrol(berlin)
	node := func(mac string, more object) string {
		body := object{"mac_address": mac, "home_site_id": berlin.ID}
		maps.Copy(body, more)
		return must[wire.Node](c, 201, "POST", "/api/v1/nodes", c.operator, body).ID
	}
	a := node("52:54:00:00:00:01", object{"workflow_id": own.ID})
	b := node("52:54:00:00:00:02", object{"group_id": rack.ID})
	gone := node("52:54:00:00:00:03", nil)
	node("52:54:00:00:00:04", object{"home_site_id": paris.ID, "workflow_id": own.ID})

	seen := must[wire.HeartbeatAnswer](c, 200, "POST", wire.PathHeartbeat, agent, wire.Heartbeat{}).NodeEpoch
	expect := func(what string, all bool, want ...string) {
		t.Helper()
		got := must[wire.HeartbeatAnswer](c, 200, "POST", wire.PathHeartbeat, agent, wire.Heartbeat{NodeEpoch: seen})
		slices.Sort(want)
		slices.Sort(got.ChangedNodes)
		if got.AllNodes != all || !slices.Equal(got.ChangedNodes, want) {
			t.Errorf("%s: %v, all %v; want %v, %v", what, got.ChangedNodes, got.AllNodes, want, all)
		}
		seen = got.NodeEpoch
	}
	patch := func(path string, body object) {
		t.Helper()
		must[object](c, 200, "PATCH", "/api/v1/"+path, c.admin, body)
	}
	expect("nothing", false)
	patch("nodes/"+a, object{"hostname": "a"})
	expect("a node", false, a)
	patch("workflows/"+own.ID, object{"cmdline": "quiet"})
	expect("its workflow", false, a)
	patch("workflows/"+byDefault.ID, object{"cmdline": "quiet"})
	expect("the workflow of a site above", false, a, b, gone)
	patch("workflows/"+unused.ID, object{"cmdline": "quiet"})
	expect("a workflow that nobody uses", false)
	patch("groups/"+rack.ID.String(), object{"params": object{"x": "y"}})
	expect("its group", false, b)
	patch("sites/"+paris.ID.String(), object{"params": object{"x": "y"}})
	expect("another site", false)
	must[wire.Node](c, 200, "POST", "/api/v1/nodes/"+a+"/event", agent, wire.Event{EventType: "heartbeat"})
	expect("a sighting", false)
	must[object](c, 204, "DELETE", "/api/v1/nodes/"+gone, c.operator, nil)
	expect("a node that went", true)
	patch("nodes/"+b, object{"home_site_id": paris.ID})
	expect("a node that moved", true)
	seen.Stream = "another"
	expect("another stream", true)
	seen.N += 100
	expect("the future", true)
}

func TestManyChangesAreNotListed(t *testing.T) {
	c := newCentral(t)
	site := c.site("berlin")
	agent := c.enrol(site)
	first := must[wire.HeartbeatAnswer](c, 200, "POST", wire.PathHeartbeat, agent, wire.Heartbeat{}).NodeEpoch
	// As 1000 requests would have them, each at an epoch of its own.
	err := c.store.Write(t.Context(), func(tx *ent.Tx) error {
		last, err := store.Take(t.Context(), tx, store.NodeCounter, 1000)
		if err != nil {
			return err
		}
		var nodes []*ent.NodeCreate
		for i := range 1000 {
			nodes = append(nodes, tx.Node.Create().SetMACAddress(fmt.Sprintf("52:54:00:00:%02x:%02x", i/256, i%256)).
				SetHomeSiteID(site.ID).SetEpoch(last.N-int64(i)))
		}
		return tx.Node.CreateBulk(nodes...).Exec(t.Context())
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := must[wire.HeartbeatAnswer](c, 200, "POST", wire.PathHeartbeat, agent, wire.Heartbeat{NodeEpoch: first}); len(got.ChangedNodes) != 1000 || got.AllNodes {
		t.Errorf("1000 changes: %d, all %v", len(got.ChangedNodes), got.AllNodes)
	}
	must[wire.Node](c, 201, "POST", "/api/v1/nodes", c.operator, object{"mac_address": "52:54:00:01:00:00", "home_site_id": site.ID})
	if got := must[wire.HeartbeatAnswer](c, 200, "POST", wire.PathHeartbeat, agent, wire.Heartbeat{NodeEpoch: first}); len(got.ChangedNodes) != 0 || !got.AllNodes {
		t.Errorf("1001 changes: %d, all %v", len(got.ChangedNodes), got.AllNodes)
	}
}
