package agent

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

const nextMAC = "52:54:00:00:00:01"

// ordering is a pair whose one node has a workflow, and a second workflow that is a tool.
type ordering struct {
	*realCentral
	*appliance
	node, tool string // ids
}

func startOrdering(t *testing.T, state string) *ordering {
	t.Helper()
	c := startRealCentral(t)
	workflow := c.call(t, 201, "POST", "/api/v1/workflows", `{"name":"debian","install_method":"kernel","kernel":"images/linux","template":"templates/preseed.cfg","cmdline":"url=${render_url}"}`)["id"]
	c.put(t, "templates/preseed.cfg", []byte("for ${mac}\n"))
	o := &ordering{realCentral: c}
	o.tool = c.call(t, 201, "POST", "/api/v1/workflows", `{"name":"memtest","install_method":"chain","boot_url":"images/memtest.efi"}`)["id"].(string)
	o.node = c.call(t, 201, "POST", "/api/v1/nodes", fmt.Sprintf(`{"mac_address":%q,"home_site_id":%q,"workflow_id":%q}`, nextMAC, c.site, workflow))["id"].(string)
	c.call(t, 200, "PATCH", "/api/v1/nodes/"+o.node+"/state", fmt.Sprintf(`{"state":%q,"force":true}`, state))
	o.appliance = startPair(t, c)
	return o
}

// order gives an order, and has the agent hear of it.
func (o *ordering) order(t *testing.T, next string) {
	t.Helper()
	o.call(t, 200, "PATCH", "/api/v1/nodes/"+o.node, fmt.Sprintf(`{"next_boot":%q}`, next))
	if err := o.nodes.ExpireAll(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (o *ordering) now(t *testing.T) map[string]any {
	t.Helper()
	return o.call(t, 200, "GET", "/api/v1/nodes/"+o.node, "")
}

// script returns what the machine's firmware is told, and the path that it reports to.
func (o *ordering) script(t *testing.T) (text, started string) {
	t.Helper()
	res, body, err := o.appliance.get("/boot/" + nextMAC)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%v, %v", res, err)
	}
	if at := regexp.MustCompile(`http://[^/ ]+(/boot/[^ ]+/started\S+)`).FindSubmatch(body); at != nil {
		started = string(at[1])
	}
	return string(body), started
}

func (o *ordering) fetched(t *testing.T, path string) int {
	t.Helper()
	res, _, err := o.appliance.get(path)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode
}

func (o *ordering) want(t *testing.T, script string, words ...string) {
	t.Helper()
	for _, word := range words {
		if !strings.Contains(script, word) {
			t.Errorf("no %q in the script:\n%s", word, script)
		}
	}
}

// TestAnActiveNodeIsInstalledOnceAsOrdered is the whole way, from the administrator to the first boot of the new system.
func TestAnActiveNodeIsInstalledOnceAsOrdered(t *testing.T) {
	o := startOrdering(t, "active")
	script, started := o.script(t)
	o.want(t, script, "This machine is active", "sanboot --no-describe --drive 0x80")
	if started != "" {
		t.Errorf("a machine without an order reports to %s", started)
	}
	o.order(t, "installer")
	for range 3 { // looking carries out nothing
		script, started = o.script(t)
	}
	o.want(t, script, "kernel --name kernel", "/images/linux", "started --timeout 10000", "|| goto failed\nimgfree started")
	if n := o.now(t); n["state"] != "active" || n["next_boot"] != "installer" {
		t.Fatalf("looking made the node %v", n)
	}
	render := regexp.MustCompile(`url=http://[^/ ]+(/render/\S+)`).FindStringSubmatch(script)[1]
	if status := o.fetched(t, render); status != http.StatusForbidden && status != http.StatusUnauthorized {
		t.Errorf("a template before the installation: %d", status)
	}
	if status := o.fetched(t, started); status != 200 {
		t.Fatalf("the begin is answered %d", status)
	}
	if n := o.now(t); n["state"] != "installing" || n["next_boot"] != nil || n["install_attempts"] != 1.0 {
		t.Fatalf("the node became %v", n)
	}
	if res, text, err := o.appliance.get(render); err != nil || res.StatusCode != 200 || string(text) != "for "+nextMAC+"\n" {
		t.Errorf("the template: %v %s %v", res, text, err)
	}
	// The same script again, of a machine that reset itself: the order was for one boot.
	if status := o.fetched(t, started); status == 200 {
		t.Error("the order is carried out twice")
	}
	script, _ = o.script(t)
	o.want(t, script, "under way", "sanboot --no-describe --drive 0x80")

	token := render[strings.Index(render, "t=")+2:]
	for _, step := range []struct{ event, state string }{{"install_complete", "installed"}, {"first_boot", "active"}} {
		req, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+o.at["http"]+"/api/v1/nodes/"+o.node+"/event", strings.NewReader(`{"event_type":"`+step.event+`"}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		req.Header.Set("Content-Type", "application/json")
		res, err := http.DefaultTransport.RoundTrip(req)
		if err != nil || res.StatusCode != 200 {
			t.Fatalf("%s: %v, %v", step.event, res, err)
		}
		res.Body.Close()
		script, _ = o.script(t)
		if n := o.now(t); n["state"] != step.state || !strings.Contains(script, "This machine is "+step.state) {
			t.Errorf("after %s: %v\n%s", step.event, n, script)
		}
	}
}

func TestAToolRunsOnceAndMovesNothing(t *testing.T) {
	for _, state := range []string{"active", "pending"} {
		o := startOrdering(t, state)
		before, _ := o.script(t)
		o.order(t, o.tool)
		script, started := o.script(t)
		o.want(t, script, "/images/memtest.efi || goto failed", "/boot/")
		if status := o.fetched(t, strings.Replace(started, "t=", "t=x", 1)); status == 200 {
			t.Errorf("%s: carried out without its token", state)
		}
		if status := o.fetched(t, started); status != 200 {
			t.Fatalf("%s: %d", state, status)
		}
		n := o.now(t)
		if n["state"] != state || n["next_boot"] != nil || n["install_attempts"] != 0.0 {
			t.Errorf("the node became %v", n)
		}
		if after, _ := o.script(t); after != before {
			t.Errorf("%s: afterwards\n%s\nbefore\n%s", state, after, before)
		}
	}
}

func TestAPendingMachineBootsItsDiskOnce(t *testing.T) {
	o := startOrdering(t, "pending")
	o.order(t, "local")
	script, started := o.script(t)
	o.want(t, script, "sanboot --no-describe --drive 0x80", "the order is not crossed out")
	// The report is lost: the disk again, and still nothing is installed.
	again, _ := o.script(t)
	o.want(t, again, "sanboot --no-describe --drive 0x80")
	if status := o.fetched(t, started); status != 200 {
		t.Fatal(status)
	}
	if n := o.now(t); n["state"] != "pending" || n["next_boot"] != nil {
		t.Errorf("the node became %v", n)
	}
	script, _ = o.script(t)
	o.want(t, script, "kernel --name kernel")
	// The same order another time is another order.
	o.order(t, "local")
	_, started = o.script(t)
	if status := o.fetched(t, started); status != 200 || o.now(t)["next_boot"] != nil {
		t.Errorf("the second order: %d, %v", status, o.now(t))
	}
}

// TestAnOrderTakenBackIsNotCarriedOut: the machine has its script and loads its kernel when the administrator thinks
// better of it, of which the agent has not heard.
func TestAnOrderTakenBackIsNotCarriedOut(t *testing.T) {
	o := startOrdering(t, "active")
	o.order(t, "installer")
	_, started := o.script(t)
	o.call(t, 200, "PATCH", "/api/v1/nodes/"+o.node, `{"next_boot":null}`)
	// 409 is central's word, 403 the agent's own, should a heartbeat have brought the news meanwhile.
	if status := o.fetched(t, started); status != http.StatusConflict && status != http.StatusForbidden {
		t.Errorf("answered %d", status)
	}
	if n := o.now(t); n["state"] != "active" {
		t.Errorf("the node became %v", n)
	}
	script, _ := o.script(t)
	o.want(t, script, "This machine is active")
}

// TestAnOrderIsCarriedOutOnceWhileCentralIsAway: what the site does without central, central hears of later.
func TestAnOrderIsCarriedOutOnceWhileCentralIsAway(t *testing.T) {
	o := startOrdering(t, "installed")
	o.order(t, "installer")
	_, started := o.script(t)
	o.change(func() { o.away = true })
	if status := o.fetched(t, started); status != 200 {
		t.Fatalf("answered %d", status)
	}
	script, _ := o.script(t)
	o.want(t, script, "under way")
	if status := o.fetched(t, started); status == 200 {
		t.Error("the order is carried out twice")
	}
	if waiting, err := o.nodes.Waiting(t.Context()); waiting != 1 || err != nil {
		t.Errorf("%d reports wait, %v", waiting, err)
	}
	o.change(func() { o.away = false })
	eventually(t, "the report at central", func() bool {
		_ = o.nodes.Deliver(t.Context()) // which the heartbeat does as well
		return o.now(t)["state"] == "installing"
	})
	if n := o.now(t); n["next_boot"] != nil || n["install_seq"] != 1.0 {
		t.Errorf("the node became %v", n)
	}
	script, _ = o.script(t)
	o.want(t, script, "under way")
}
