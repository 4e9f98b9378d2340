package api

import (
	"strings"
	"testing"

	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
)

func TestANodesNextBootIsOrdered(t *testing.T) { onBoth(t, testANodesNextBootIsOrdered) }

func testANodesNextBootIsOrdered(t *testing.T, c *central) {
	const nobody = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
	site := c.site("berlin")
	agent := c.enrol(site)
	w := must[wire.Workflow](c, 201, "POST", "/api/v1/workflows", c.admin, object{"name": "memtest", "install_method": "sanboot", "boot_url": "http://x/m.iso", "params": object{"of": "workflow"}})
	n := must[wire.Node](c, 201, "POST", "/api/v1/nodes", c.operator, object{"mac_address": "52:54:00:00:00:01", "home_site_id": site.ID, "next_boot": "local", "params": object{"own": "1"}})
	at := "/api/v1/nodes/" + n.ID
	order := func(next any) wire.Node {
		t.Helper()
		return must[wire.Node](c, 200, "PATCH", at, c.operator, object{"next_boot": next})
	}
	if n.NextBoot != "local" {
		t.Errorf("made with %q", n.NextBoot)
	}
	if got := order(nil); got.NextBoot != "" || got.Version != 2 {
		t.Errorf("taken back: %+v", got)
	}
	if got := order(strings.ToUpper(w.ID)); got.NextBoot != w.ID {
		t.Errorf("the id is kept as %q", got.NextBoot)
	}
	for _, bad := range []string{"LOCAL", "disk", nobody, "local\n", w.Name} {
		if r := c.do("PATCH", at, c.operator, object{"next_boot": bad}); r.status != 422 || !r.names(t, "body.next_boot") {
			t.Errorf("%q: %d %s", bad, r.status, r.body)
		}
	}
	if r := c.do("PATCH", at, c.viewer, object{"next_boot": "local"}); r.status != 403 {
		t.Errorf("a viewer: %d", r.status)
	}

	// The agent gets the workflow with the parameters as they are with it.
	boot := must[wire.Boot](c, 200, "GET", wire.PathBoot+"?id="+n.ID, agent, nil)
	if boot.Workflow != nil || boot.NextWorkflow == nil || boot.NextWorkflow.ID != w.ID || boot.NextParams["of"] != "workflow" || boot.NextParams["own"] != "1" || boot.Params["of"] != "" {
		t.Errorf("the agent gets %+v", boot)
	}
	if r := c.do("DELETE", "/api/v1/workflows/"+w.ID, c.admin, nil); r.status != 409 || !strings.Contains(string(r.body), "the next boot of 1 node") {
		t.Errorf("a workflow that is ordered is deleted: %d %s", r.status, r.body)
	}

	bulk := func(next any) bulkAnswer {
		t.Helper()
		return must[bulkAnswer](c, 200, "POST", "/api/v1/nodes/bulk", c.operator, object{"ids": []string{n.ID}, "next_boot": next})
	}
	now := func() wire.Node {
		t.Helper()
		return must[wire.Node](c, 200, "GET", at, c.viewer, nil)
	}
	if got := bulk("installer"); got.Failed != 0 || now().NextBoot != "installer" {
		t.Errorf("in bulk: %+v", got)
	}
	if got := bulk("later"); got.Failed != 1 || got.Items[0].Status != 422 {
		t.Errorf("in bulk: %+v", got)
	}
	if got := bulk(""); got.Failed != 0 || now().NextBoot != "" {
		t.Errorf("in bulk: %+v", got)
	}

	table := func(status int, rows string) reply {
		t.Helper()
		r := c.do("POST", "/api/v1/nodes/import", c.operator, "mac_address,next_boot\n"+rows)
		if r.status != status {
			t.Errorf("import of %q: %d %s", rows, r.status, r.body)
		}
		return r
	}
	table(200, "52:54:00:00:00:01,"+w.ID+"\n52:54:00:00:00:02,installer\n")
	if now().NextBoot != w.ID {
		t.Errorf("by a table: %q", now().NextBoot)
	}
	if r := table(422, "52:54:00:00:00:01,soon\n"); !r.names(t, "body.lines[2].next_boot") {
		t.Errorf("%s", r.body)
	}
	if r := table(422, "52:54:00:00:00:01,"+nobody+"\n"); !r.names(t, "body.lines[2].next_boot") {
		t.Errorf("%s", r.body)
	}
	if text := string(c.do("GET", "/api/v1/nodes/export", c.viewer, nil).body); strings.Contains(text, "next_boot") || strings.Contains(text, w.ID) {
		t.Errorf("an order is exported:\n%s", text)
	}
	table(200, "52:54:00:00:00:01,\n")
	if now().NextBoot != "" {
		t.Errorf("an empty cell leaves %q", now().NextBoot)
	}

	order("installer")
	must[wire.Node](c, 200, "PATCH", at+"/state", c.operator, object{"state": "retired"})
	if now().NextBoot != "" {
		t.Errorf("a retired node is still ordered %q", now().NextBoot)
	}
	for _, next := range []string{"local", "installer", w.ID} {
		if r := c.do("PATCH", at, c.operator, object{"next_boot": next}); r.status != 409 || !r.names(t, "body.next_boot") {
			t.Errorf("a retired node, %s: %d %s", next, r.status, r.body)
		}
	}
	order(nil)
}

func TestAnOrderIsCarriedOutOnce(t *testing.T) { onBoth(t, testAnOrderIsCarriedOutOnce) }

func testAnOrderIsCarriedOutOnce(t *testing.T, c *central) {
	site := c.site("berlin")
	agent := c.enrol(site)
	w := must[wire.Workflow](c, 201, "POST", "/api/v1/workflows", c.admin, object{"name": "debian", "install_method": "sanboot", "boot_url": "http://x/d.iso"})
	n := must[wire.Node](c, 201, "POST", "/api/v1/nodes", c.operator, object{"mac_address": "52:54:00:00:00:01", "home_site_id": site.ID, "workflow_id": w.ID})
	at := "/api/v1/nodes/" + n.ID
	must[wire.Node](c, 200, "PATCH", at+"/state", c.admin, object{"state": "active", "force": true})
	must[wire.Node](c, 200, "PATCH", at, c.operator, object{"next_boot": "installer"})
	event := func(id, next string, seq int64) reply {
		t.Helper()
		return c.do("POST", at+"/event", agent, wire.Event{EventID: id, EventType: "boot_started", InstallSeq: seq, NextBoot: next})
	}
	// What is not the order that stands moves nothing, and is told so.
	for _, bad := range []struct {
		next string
		seq  int64
	}{{"local", 0}, {w.ID, 0}, {"installer", 7}} {
		if r := event("bad", bad.next, bad.seq); r.status != 409 || !r.names(t, "body.next_boot") {
			t.Errorf("%+v: %d %s", bad, r.status, r.body)
		}
	}
	if r := c.do("POST", at+"/event", agent, wire.Event{EventType: "install_complete", NextBoot: "installer"}); r.status != 422 || !r.names(t, "body.next_boot") {
		t.Errorf("another event: %d %s", r.status, r.body)
	}
	if r := event("plain", "", 0); r.status != 200 || must[wire.Node](c, 200, "GET", at, c.viewer, nil).State != "active" {
		t.Errorf("an event without the order: %d %s", r.status, r.body)
	}
	for range 2 { // the second time it is known
		if r := event("first", "installer", 0); r.status != 200 {
			t.Fatalf("%d %s", r.status, r.body)
		}
	}
	got := must[wire.Node](c, 200, "GET", at, c.viewer, nil)
	if got.State != "installing" || got.NextBoot != "" || got.InstallSeq != 1 || got.InstallAttempts != 1 || got.InstallStartedAt == nil {
		t.Errorf("it became %+v", got)
	}
	if r := event("again", "installer", 0); r.status != 409 {
		t.Errorf("another time: %d %s", r.status, r.body)
	}
	var path []string
	for _, step := range must[store.Page[store.StateStep]](c, 200, "GET", at+"/history", c.viewer, nil).Items {
		path = append(path, step.To)
		if step.To == "installing" && (step.WorkflowID == nil || step.WorkflowID.String() != w.ID || step.WorkflowRevision != 1 || !strings.Contains(step.Comment, "next_boot")) {
			t.Errorf("logged %+v", step)
		}
	}
	if got := strings.Join(path, " "); got != "discovered active reprovision pending installing" {
		t.Errorf("passed %s", got)
	}
}
