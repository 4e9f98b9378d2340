package api

import (
	"strings"
	"testing"

	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
)

// previewed is a node whose values come from everywhere.
type previewed struct {
	site, region, rack store.Group
	workflow, tool     wire.Workflow
	node               wire.Node
	at                 string
}

func (c *central) previewed() previewed {
	c.t.Helper()
	var p previewed
	p.workflow = must[wire.Workflow](c, 201, "POST", "/api/v1/workflows", c.admin, object{
		"name": "debian", "install_method": "kernel", "kernel": "images/debian/linux", "initrd": []string{"images/debian/initrd.gz"},
		"cmdline": "url=${render_url} disk=${param.disk} ntp=${param.ntp}", "template": "templates/preseed.cfg", "params": object{"disk": "/dev/sda", "suite": "bookworm"},
	})
	p.tool = must[wire.Workflow](c, 201, "POST", "/api/v1/workflows", c.admin, object{
		"name": "memtest", "install_method": "chain", "boot_url": "images/${param.suite}.efi", "params": object{"suite": "memtest"},
	})
	p.region = c.site("france", object{"params": object{"ntp": "ntp.fr", "disk": "/dev/hda", "dns": "10.0.0.53"}, "default_workflow_id": p.workflow.ID})
	p.site = c.site("lyon", object{"parent_id": p.region.ID, "params": object{"ntp": "ntp.lyon"}, "agent_url": "http://10.9.0.1:8080"})
	p.rack = must[store.Group](c, 201, "POST", "/api/v1/groups", c.admin, object{"name": "rack", "params": object{"dns": "10.9.0.53"}})
	p.node = must[wire.Node](c, 201, "POST", "/api/v1/nodes", c.operator, object{
		"mac_address": "52:54:00:00:00:01", "hostname": "web-1", "home_site_id": p.site.ID, "group_id": p.rack.ID, "state": "pending",
		"boot_mode": "uefi", "params": object{"own": "$6$salt$hash"},
	})
	p.at = "/api/v1/nodes/" + p.node.ID
	return p
}

func TestAPreviewSaysWhereEachValueComesFrom(t *testing.T) {
	onBoth(t, testAPreviewSaysWhereEachValueComesFrom)
}

func testAPreviewSaysWhereEachValueComesFrom(t *testing.T, c *central) {
	p := c.previewed()
	region, site := store.Origin{Kind: "site", ID: p.region.ID.String(), Name: "france"}, store.Origin{Kind: "site", ID: p.site.ID.String(), Name: "lyon"}
	rack, node := store.Origin{Kind: "group", ID: p.rack.ID.String(), Name: "rack"}, store.Origin{Kind: "node", ID: p.node.ID, Name: "web-1"}
	workflow := store.Origin{Kind: "workflow", ID: p.workflow.ID, Name: "debian"}
	got := must[scriptPreview](c, 200, "GET", p.at+"/boot-script", c.viewer, nil)
	for _, want := range []string{
		"#!ipxe\n", "kernel --name kernel http://10.9.0.1:8080/images/debian/linux initrd=initrd.gz", "disk=/dev/sda ntp=ntp.lyon",
		"/render/52-54-00-00-00-01/templates/preseed.cfg?t=NODE-TOKEN", "/started?t=NODE-TOKEN", "platform=efi",
	} {
		if !strings.Contains(got.Script, want) {
			t.Errorf("no %q in the script:\n%s", want, got.Script)
		}
	}
	if got.Serves != "installer" || got.State != "pending" || got.DecidedBy != "state" || got.Fault != "" || !strings.Contains(got.Reason, "attempt 1") {
		t.Errorf("got %+v", got)
	}
	if got.Workflow == nil || got.Workflow.ID != p.workflow.ID || got.Workflow.Revision != 1 || got.Workflow.From != region {
		t.Errorf("workflow %+v", got.Workflow)
	}
	want := map[string]valuePreview{
		"server": {"http://10.9.0.1:8080", site}, "mac": {"52:54:00:00:00:01", node}, "ip": {"", node}, "hostname": {"web-1", node}, "node_id": {p.node.ID, node},
		"token": {"NODE-TOKEN", store.Origin{Kind: "placeholder"}}, "event_url": {"http://10.9.0.1:8080/api/v1/nodes/" + p.node.ID + "/event", site},
		"render_url": {"http://10.9.0.1:8080/render/52-54-00-00-00-01/templates/preseed.cfg?t=NODE-TOKEN", workflow},
		"param.ntp":  {"ntp.lyon", site}, "param.dns": {"10.9.0.53", rack}, "param.disk": {"/dev/sda", workflow}, "param.suite": {"bookworm", workflow},
		"param.own": {"$6$salt$hash", node},
	}
	for name, value := range want {
		if got.Values[name] != value {
			t.Errorf("%s: %+v, want %+v", name, got.Values[name], value)
		}
	}
	if len(got.Values) != len(want) {
		t.Errorf("%d values, want %d: %v", len(got.Values), len(want), got.Values)
	}

	// The script alone, and in GRUB's language.
	r := c.do("GET", p.at+"/boot-script", c.viewer, nil, "Accept", "text/plain")
	if r.status != 200 || string(r.body) != got.Script || !strings.HasPrefix(r.header.Get("Content-Type"), "text/plain") {
		t.Errorf("as text: %d %v %s", r.status, r.header, r.body)
	}
	if r := c.do("GET", p.at+"/boot-script?loader=grub", c.viewer, nil, "Accept", "text/plain, application/json;q=0.5"); !strings.Contains(string(r.body), "if linux '(http,10.9.0.1:8080)/images/debian/linux'") {
		t.Errorf("for GRUB: %s", r.body)
	}
	if r := c.do("GET", p.at+"/boot-script", c.viewer, nil, "Accept", "*/*"); r.header.Get("Content-Type") != "application/json" {
		t.Errorf("of any kind: %v", r.header)
	}
	if moved := must[wire.Node](c, 200, "GET", p.at, c.viewer, nil); moved.Version != p.node.Version || moved.State != "pending" {
		t.Errorf("looking changed the node: %+v", moved)
	}
	if r := c.do("GET", p.at+"/boot-script", c.enrol(p.site), nil); r.status != 403 {
		t.Errorf("an agent: %d", r.status)
	}
}

func TestAPreviewFollowsTheStateAndTheOrder(t *testing.T) {
	c := newCentral(t)
	p := c.previewed()
	look := func() scriptPreview {
		t.Helper()
		return must[scriptPreview](c, 200, "GET", p.at+"/boot-script", c.viewer, nil)
	}
	patch := func(body object) {
		t.Helper()
		must[wire.Node](c, 200, "PATCH", p.at, c.operator, body)
	}
	must[wire.Node](c, 200, "PATCH", p.at+"/state", c.admin, object{"state": "active", "force": true})
	if got := look(); got.Serves != "local" || got.DecidedBy != "state" || strings.Contains(got.Script, "NODE-TOKEN") || !strings.Contains(got.Script, "sanboot") {
		t.Errorf("active: %+v", got)
	}
	patch(object{"next_boot": "installer"})
	if got := look(); got.Serves != "installer" || got.DecidedBy != "next_boot" || got.NextBoot != "installer" || !strings.Contains(got.Script, "/started?t=ORDER-TOKEN || goto failed") {
		t.Errorf("ordered to install: %+v", got)
	}
	patch(object{"next_boot": p.tool.ID})
	got := look()
	if got.Serves != "once" || got.Workflow.Name != "memtest" || got.Workflow.From.Kind != "node" || !strings.Contains(got.Script, "chain --autofree http://10.9.0.1:8080/images/memtest.efi") {
		t.Errorf("ordered a tool: %+v", got)
	}
	if from := got.Values["param.suite"]; from.Value != "memtest" || from.From.Name != "memtest" || got.Values["token"].Value != "" || got.Values["render_url"].Value != "" {
		t.Errorf("ordered a tool: %+v", got.Values)
	}
	must[wire.Workflow](c, 200, "PATCH", "/api/v1/workflows/"+p.tool.ID, c.admin, object{"boot_url": "images/${param.nobody}"})
	if got := look(); got.Serves != "safe" || !strings.Contains(got.Fault, "param.nobody") || !strings.Contains(got.Script, "safe boot") {
		t.Errorf("a faulty tool: %+v", got)
	}
	patch(object{"next_boot": nil, "home_site_id": nil})
	if got := look(); got.Values["server"].Value != placeholderServer || got.Values["server"].From.Kind != "placeholder" || got.Workflow != nil {
		t.Errorf("without a home: %+v", got)
	}
	for _, odd := range []string{"http://10.9.0.1:8080/path?x", "https://agent.example"} {
		must[store.Group](c, 200, "PATCH", "/api/v1/sites/"+p.site.ID.String(), c.admin, object{"agent_url": odd})
		patch(object{"home_site_id": p.site.ID})
		if got := look(); got.Fault != "" || !strings.HasPrefix(odd, got.Values["server"].Value) || got.Values["server"].Value == "" {
			t.Errorf("%s: %+v", odd, got)
		}
	}
}

func TestATemplateIsPreviewed(t *testing.T) {
	c := newCentral(t)
	p := c.previewed()
	put := func(name, text string) {
		t.Helper()
		if r := c.do("PUT", wire.PathContent+"/"+name, c.operator, text); r.status >= 300 {
			t.Fatalf("%d %s", r.status, r.body)
		}
	}
	put("templates/deep/preseed.cfg", "host ${hostname} at ${param.ntp}, $${mac} ${net0/ip} ${param.own} ${token}\n")
	put("scripts/bad.sh", "${param.nobody}")
	put("templates/large", strings.Repeat("x", maxTemplate+1))
	put("images/linux", "kernel")
	const want = "host web-1 at ntp.lyon, ${mac} ${net0/ip} $6$salt$hash NODE-TOKEN\n"
	got := must[templatePreview](c, 200, "GET", p.at+"/render/templates/deep/preseed.cfg", c.viewer, nil)
	if got.Text != want || !got.Served {
		t.Errorf("got %+v", got)
	}
	if len(got.Values) != 4 || got.Values["param.ntp"].From.Name != "lyon" || got.Values["hostname"].Value != "web-1" || got.Values["token"].From.Kind != "placeholder" {
		t.Errorf("values %+v", got.Values)
	}
	r := c.do("GET", p.at+"/render/templates/deep/preseed.cfg", c.viewer, nil, "Accept", "text/plain")
	if string(r.body) != want || r.header.Get("Cache-Control") != "no-store" {
		t.Errorf("as text: %s", r.body)
	}
	must[wire.Node](c, 200, "PATCH", p.at+"/state", c.operator, object{"state": "retired"})
	if got := must[templatePreview](c, 200, "GET", p.at+"/render/templates/deep/preseed.cfg", c.viewer, nil); got.Served || got.Text != want {
		t.Errorf("of a retired node: %+v", got)
	}
	for path, status := range map[string]int{
		"scripts/bad.sh": 422, "templates/large": 422, "images/linux": 404, "templates/none": 404, "templates": 400, "templates/%2e%2e/images/linux": 400, "templates/a%00b": 400,
	} {
		if r := c.do("GET", p.at+"/render/"+path, c.viewer, nil); r.status != status {
			t.Errorf("%s: %d, want %d: %s", path, r.status, status, r.body)
		}
	}
	if r := c.do("GET", p.at+"/render/scripts/bad.sh", c.viewer, nil); !strings.Contains(string(r.body), "param.nobody") {
		t.Errorf("what is missing is not named: %s", r.body)
	}
	if r := c.do("GET", "/api/v1/nodes/"+p.site.ID.String()+"/render/templates/deep/preseed.cfg", c.viewer, nil); r.status != 404 {
		t.Errorf("of no node: %d", r.status)
	}
}
