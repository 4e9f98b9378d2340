package api

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/ent"
)

// conflict records that a site says something else of a node's fields than central.
func (c *central) conflict(site, node, says string, fields ...string) uuid.UUID {
	c.t.Helper()
	var id uuid.UUID
	err := c.store.Write(c.t.Context(), func(tx *ent.Tx) (err error) {
		id, err = store.RecordConflict(c.t.Context(), tx, store.SyncConflict{
			EntityType: store.NodeEntity, EntityID: uuid.MustParse(node), SiteID: uuid.MustParse(site), Fields: fields,
			CentralState: json.RawMessage(`{"hostname":"here"}`), SiteState: json.RawMessage(says),
		})
		return err
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return id
}

func TestConflictsAreListed(t *testing.T) {
	onBoth(t, func(t *testing.T, c *central) {
		site, entity := c.site("berlin"), uuid.New()
		var ids []uuid.UUID
		for range 2 {
			ids = append(ids, c.conflict(site.ID.String(), entity.String(), `{"hostname":"b"}`, "hostname"))
		}
		resolve := "/api/v1/sync/conflicts/" + ids[0].String() + "/resolve"
		if r := c.do("POST", resolve, c.operator, object{"resolution": "accepted_site"}); r.status != 409 || !strings.Contains(string(r.body), "deleted") {
			t.Errorf("of a node that is none: %d %s", r.status, r.body)
		}
		must[store.SyncConflict](c, 200, "POST", resolve, c.operator, object{"resolution": "accepted_central"})
		for query, want := range map[string][]uuid.UUID{
			"":           {ids[1], ids[0]},
			"state=open": {ids[1]}, "state=resolved": {ids[0]},
			"site_id=" + site.ID.String(): {ids[1], ids[0]}, "entity_id=" + uuid.NewString(): {},
		} {
			page := must[store.Page[store.SyncConflict]](c, 200, "GET", "/api/v1/sync/conflicts?"+query, c.viewer, nil)
			if len(page.Items) != len(want) || page.Total != len(want) || len(want) > 0 && page.Items[0].ID != want[0] {
				t.Errorf("%q lists %+v", query, page)
			}
		}
		one := must[store.SyncConflict](c, 200, "GET", "/api/v1/sync/conflicts/"+ids[1].String(), c.viewer, nil)
		if string(one.SiteState) != `{"hostname":"b"}` || one.ResolvedAt != nil {
			t.Errorf("it reads %+v", one)
		}
	})
}

// TestConflictsAreResolved makes one of each choice, and sees what became of the node.
func TestConflictsAreResolved(t *testing.T) {
	onBoth(t, func(t *testing.T, c *central) {
		berlin, rome := c.site("berlin"), c.site("rome")
		says := `{"hostname":"there","params":{"a":"2"},"vendor":7,"state":"pending","home_site_id":"` + rome.ID.String() + `"}`
		macs := 0
		for _, test := range []struct {
			what   string
			fields []string
			body   object
			status int
			fault  string // where it is
			name   string // of the node afterwards
			state  string
			params string
		}{
			{"central's", []string{"hostname"}, object{"resolution": "accepted_central"}, 200, "", "here", "discovered", "1"},
			{"the site's, but for what is not in conflict", []string{"hostname"}, object{"resolution": "accepted_site"}, 200, "", "there", "discovered", "1"},
			{"the site's with its state", []string{"params", "state"}, object{"resolution": "accepted_site"}, 200, "", "here", "pending", "2"},
			{"the site's, which has no value", []string{"hostname", "serial_number"}, object{"resolution": "accepted_site"}, 200, "", "there", "discovered", "1"},
			{"the site's, which is none", []string{"vendor"}, object{"resolution": "accepted_site"}, 422, "site_state.vendor", "here", "discovered", "1"},
			{"the site's home", []string{"home_site_id"}, object{"resolution": "accepted_site"}, 422, "site_state.home_site_id", "here", "discovered", "1"},
			{"both's", nil, object{"resolution": "merged", "merged_state": object{"hostname": "both", "params": object{"a": nil, "b": "3"}}}, 200, "", "both", "discovered", ""},
			{"a merged one with the home that it has", nil, object{"resolution": "merged", "merged_state": object{"hostname": "both", "home_site_id": berlin.ID}}, 200, "", "both", "discovered", "1"},
			{"another home", nil, object{"resolution": "merged", "merged_state": object{"home_site_id": rome.ID}}, 422, "body.merged_state.home_site_id", "here", "discovered", "1"},
			{"no home", nil, object{"resolution": "merged", "merged_state": object{"home_site_id": nil}}, 422, "body.merged_state.home_site_id", "here", "discovered", "1"},
			{"an unknown field", nil, object{"resolution": "merged", "merged_state": object{"colour": "red"}}, 422, "body.merged_state.colour", "here", "discovered", "1"},
			{"another id", nil, object{"resolution": "merged", "merged_state": object{"id": uuid.NewString()}}, 422, "body.merged_state.id", "here", "discovered", "1"},
			{"a bad name", nil, object{"resolution": "merged", "merged_state": object{"hostname": "a\nb"}}, 422, "body.merged_state.hostname", "here", "discovered", "1"},
			{"no workflow", nil, object{"resolution": "merged", "merged_state": object{"workflow_id": uuid.NewString()}}, 422, "body.merged_state.workflow_id", "here", "discovered", "1"},
			{"a state that does not follow", nil, object{"resolution": "merged", "merged_state": object{"hostname": "x", "state": "active"}}, 409, "body.state", "here", "discovered", "1"},
			{"a state that is none", nil, object{"resolution": "merged", "merged_state": object{"state": "lost"}}, 422, "body.merged_state.state", "here", "discovered", "1"},
			{"nothing", nil, object{"resolution": "merged", "merged_state": object{}}, 422, "body.merged_state", "here", "discovered", "1"},
			{"a state too many", nil, object{"resolution": "accepted_site", "merged_state": object{"hostname": "x"}}, 422, "body.merged_state", "here", "discovered", "1"},
		} {
			macs++
			n := must[wire.Node](c, 201, "POST", "/api/v1/nodes", c.operator, object{
				"mac_address": (&scene{n: macs}).mac(), "hostname": "here", "home_site_id": berlin.ID, "params": object{"a": "1"},
			})
			id := c.conflict(berlin.ID.String(), n.ID, says, test.fields...)
			path := "/api/v1/sync/conflicts/" + id.String()
			r := c.do("POST", path+"/resolve", c.operator, test.body)
			if r.status != test.status || test.fault != "" && !r.names(t, test.fault) {
				t.Errorf("%s: %d %s", test.what, r.status, r.body)
			}
			got := must[wire.Node](c, 200, "GET", "/api/v1/nodes/"+n.ID, c.viewer, nil)
			if got.Hostname != test.name || got.State != test.state || got.Params["a"] != test.params || got.HomeSiteID != berlin.ID.String() {
				t.Errorf("%s: the node is %+v", test.what, got)
			}
			left := must[store.SyncConflict](c, 200, "GET", path, c.viewer, nil)
			if resolved := left.ResolvedAt != nil; resolved != (test.status == 200) || resolved && left.ResolvedBy != "admin:operator" {
				t.Errorf("%s: it is %+v", test.what, left)
			}
			if test.status != 200 {
				continue
			}
			if r := c.do("POST", path+"/resolve", c.operator, object{"resolution": "accepted_central"}); r.status != 409 || !strings.Contains(string(r.body), "final") {
				t.Errorf("%s: resolved again: %d %s", test.what, r.status, r.body)
			}
		}
		if audited := c.audited("conflict.resolve"); len(audited) != 6 || !strings.Contains(string(audited[0].After), "accepted_central") {
			t.Errorf("audited are %v", audited)
		}
	})
}

func TestAConflictOfANodeThatHasChanged(t *testing.T) {
	c := newCentral(t)
	site := c.site("berlin")
	n := must[wire.Node](c, 201, "POST", "/api/v1/nodes", c.operator, object{"mac_address": "52:54:00:00:00:01", "home_site_id": site.ID})
	path := "/api/v1/sync/conflicts/" + c.conflict(site.ID.String(), n.ID, `{"hostname":"there"}`, "hostname").String()
	read := c.do("GET", path, c.viewer, nil)
	must[wire.Node](c, 200, "PATCH", "/api/v1/nodes/"+n.ID, c.operator, object{"hostname": "anew"})
	accept := object{"resolution": "accepted_site"}
	if r := c.do("POST", path+"/resolve", c.operator, accept, "If-Match", read.header.Get("ETag")); r.status != 412 {
		t.Errorf("on what was read before: %d %s", r.status, r.body)
	}
	read = c.do("GET", path, c.viewer, nil)
	if r := c.do("POST", path+"/resolve", c.operator, accept, "If-Match", read.header.Get("ETag")); r.status != 200 {
		t.Errorf("on what is read now: %d %s", r.status, r.body)
	}
	if got := must[wire.Node](c, 200, "GET", "/api/v1/nodes/"+n.ID, c.viewer, nil); got.Hostname != "there" {
		t.Errorf("the node is %+v", got)
	}
	if r := c.do("GET", path, c.viewer, nil); r.status != 200 || r.header.Get("ETag") != "" {
		t.Errorf("resolved, it has no node to compare with: %d, ETag %s", r.status, r.header.Get("ETag"))
	}
}
