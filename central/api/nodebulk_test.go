package api

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pureboot/pureboot/central/wire"
)

type bulkAnswer struct {
	Items  []outcome
	Failed int
}

func TestManyNodesAreChangedEachOnItsOwn(t *testing.T) {
	onBoth(t, testManyNodesAreChangedEachOnItsOwn)
}

func testManyNodesAreChangedEachOnItsOwn(t *testing.T, c *central) {
	const nobody, bulk = "7c9e6679-7425-40de-944b-e07fc1f90ae7", "/api/v1/nodes/bulk"
	site := c.site("berlin")
	var ids []string
	for i := range 3 {
		n := must[wire.Node](c, 201, "POST", "/api/v1/nodes", c.operator, object{"mac_address": fmt.Sprintf("52:54:00:00:00:%02x", i)})
		ids = append(ids, n.ID)
	}
	must[wire.Node](c, 200, "PATCH", "/api/v1/nodes/"+ids[0]+"/state", c.operator, object{"state": "retired"})
	change := func(token string, what object) bulkAnswer {
		t.Helper()
		what["ids"] = append(slices.Clone(ids), nobody)
		got := must[bulkAnswer](c, 200, "POST", bulk, token, what)
		if len(got.Items) != 4 || got.Items[1].ID.String() != ids[1] {
			t.Fatalf("items: %+v", got.Items)
		}
		if none := got.Items[3]; none.Status != 404 || none.Problem == nil || none.Problem.Detail == "" {
			t.Errorf("a node that is not there: %+v", none)
		}
		return got
	}

	got := change(c.operator, object{"state": object{"state": "pending", "comment": "all of hall 3"}})
	if got.Failed != 2 || got.Items[0].Status != 409 || got.Items[0].Problem.Errors[0].Location != "body.state" ||
		got.Items[1].State != "pending" || got.Items[2].Status != 200 || got.Items[2].Version != 2 {
		t.Errorf("states: %+v", got)
	}
	if entries := c.audited("node.state"); len(entries) != 3 || entries[2].Detail != "all of hall 3" {
		t.Errorf("audited: %v", entries)
	}

	if got = change(c.operator, object{"assign": object{"home_site_id": site.ID}}); got.Failed != 1 {
		t.Errorf("assigned: %+v", got)
	}
	if got = change(c.operator, object{"assign": object{"group_id": nobody}}); got.Failed != 4 || got.Items[0].Status != 422 {
		t.Errorf("assigned to nothing: %+v", got)
	}
	if n := must[wire.Node](c, 200, "GET", "/api/v1/nodes/"+ids[2], c.viewer, nil); n.HomeSiteID != site.ID.String() || n.GroupID != "" {
		t.Errorf("node: %+v", n)
	}
	change(c.operator, object{"assign": object{"home_site_id": nil}})
	change(c.operator, object{"tags": object{"add": []string{"a", "b"}}})
	again := change(c.operator, object{"tags": object{"add": []string{"b"}, "remove": []string{"c"}}})
	change(c.operator, object{"tags": object{"add": []string{"c"}, "remove": []string{"a"}}})
	n := must[wire.Node](c, 200, "GET", "/api/v1/nodes/"+ids[2], c.viewer, nil)
	if n.HomeSiteID != "" || !slices.Equal(n.Tags, []string{"b", "c"}) || n.Version != again.Items[2].Version+1 {
		t.Errorf("after %+v: %+v", again.Items[2], n)
	}
	if got = change(c.admin, object{"state": object{"state": "active", "force": true}}); got.Failed != 1 {
		t.Errorf("forced: %+v", got)
	}

	writes := len(c.audited("node.update")) + len(c.audited("node.state"))
	var many []string
	for i := range 501 {
		many = append(many, fmt.Sprintf("7c9e6679-7425-40de-944b-%012x", i))
	}
	for name, bad := range map[string]struct {
		body   object
		fields string
	}{
		"no nodes":      {object{"ids": []string{}, "state": object{"state": "pending"}}, "body.ids"},
		"too many":      {object{"ids": many, "state": object{"state": "pending"}}, "body.ids"},
		"one twice":     {object{"ids": []string{ids[0], ids[0]}, "state": object{"state": "pending"}}, "body.ids"},
		"no change":     {object{"ids": ids}, "body"},
		"two changes":   {object{"ids": ids, "state": object{"state": "pending"}, "tags": object{"add": []string{"x"}}}, "body"},
		"another field": {object{"ids": ids, "assign": object{"hostname": nil}, "colour": "red"}, "body.assign.hostname body.colour"},
		"bad tags":      {object{"ids": ids, "tags": object{"add": []string{"ok", "a\nb", ""}}}, "body.tags.add[1] body.tags.add[2]"},
		"no UUID":       {object{"ids": ids, "assign": object{"group_id": "'; DROP TABLE nodes; --"}}, "body.assign.group_id"},
	} {
		r := c.do("POST", bulk, c.operator, bad.body)
		if r.status != 422 {
			t.Errorf("%s: %d %s", name, r.status, r.body)
			continue
		}
		for field := range strings.FieldsSeq(bad.fields) {
			if !r.names(t, field) {
				t.Errorf("%s does not name %s: %s", name, field, r.body)
			}
		}
	}
	if r := c.do("POST", bulk, c.operator, object{"ids": ids, "state": object{"state": "active", "force": true}}); r.status != 403 {
		t.Errorf("an operator forced: %d", r.status)
	}
	if now := len(c.audited("node.update")) + len(c.audited("node.state")); now != writes {
		t.Errorf("%d writes by what was refused", now-writes)
	}
}

func TestATagIsPutOnAndTakenOff(t *testing.T) {
	c := newCentral(t)
	n := must[wire.Node](c, 201, "POST", "/api/v1/nodes", c.operator, object{"mac_address": "52:54:00:00:00:01", "tags": []string{"x"}})
	at := "/api/v1/nodes/" + n.ID + "/tags/"
	for _, step := range []struct {
		method, tag string
		want        string
		version     int64
	}{
		{"PUT", "rack%207", "[x rack 7]", 2},
		{"PUT", "rack%207", "[x rack 7]", 2},
		{"DELETE", "x", "[rack 7]", 3},
		{"DELETE", "x", "[rack 7]", 3},
		{"PUT", "%3Cscript%3E$%7Bserver%7D", "[rack 7 <script>${server}]", 4},
	} {
		n = must[wire.Node](c, 200, step.method, at+step.tag, c.operator, nil)
		if fmt.Sprint(n.Tags) != step.want || n.Version != step.version {
			t.Errorf("%s %s: %v at version %d", step.method, step.tag, n.Tags, n.Version)
		}
	}
	for _, bad := range []string{"a%0Ab", "a%00b", strings.Repeat("x", 101)} {
		if r := c.do("PUT", at+bad, c.operator, nil); r.status != 422 && r.status != 400 {
			t.Errorf("%.10s: %d %s", bad, r.status, r.body)
		}
	}
	if entries := c.audited("node.update"); len(entries) != 3 {
		t.Errorf("%d entries", len(entries))
	}
}
