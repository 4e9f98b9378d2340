package agent

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pureboot/pureboot/central/wire"
)

// beat has one heartbeat go out and be answered.
func (a *appliance) beat(t *testing.T) {
	t.Helper()
	h := a.Report(t.Context())
	h.Hello = Hello("test") // it is of no process, and so no second agent
	answer, err := a.client.Heartbeat(t.Context(), h)
	if err == nil {
		err = errors.Join(a.Answer(t.Context(), answer), a.follow(t.Context(), answer)) // which may be left behind
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestAReplacedFileIsServedNewAfterTheNextHeartbeat: until then old or new, afterwards new, and never some of each, for
// clients that read all the time and whether or not the site has had the old one.
func TestAReplacedFileIsServedNewAfterTheNextHeartbeat(t *testing.T) {
	c := startRealCentral(t)
	const name = "bootloaders/loader.img"
	version := func(n int) []byte { return bytes.Repeat(fmt.Appendf(nil, "version %07d\n", n), 40_000) } // 640,000 bytes, two of them alike nowhere
	now := c.put(t, name, version(0))
	a := startPair(t, c)
	a.heard(t, c)
	a.wantFile(t, name, now)
	for n := 1; n <= 5; n++ {
		before := now
		var readers sync.WaitGroup
		stop := make(chan struct{})
		for range 3 {
			readers.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					res, got, err := a.get("/" + name)
					if err != nil || res.StatusCode != http.StatusOK || !bytes.Equal(got, before) && !bytes.Equal(got, version(n)) {
						t.Errorf("version %d: a client got %d bytes that are neither the old nor the new ones, %v", n, len(got), err)
						return
					}
				}
			})
		}
		now = c.put(t, name, version(n))
		a.beat(t)
		a.wantFile(t, name, now)
		a.wantFile(t, name, now)
		close(stop)
		readers.Wait()
	}
	c.del(t, name)
	a.beat(t)
	if res, _, err := a.get("/" + name); err != nil || res.StatusCode != http.StatusNotFound {
		t.Errorf("a file that was removed: %v, %v", res, err)
	}
}

// TestANodeThatIsPatchedIsSeenAfterTheNextHeartbeat: its state, its workflow, what its workflow is, and the default that it
// inherits.
func TestANodeThatIsPatchedIsSeenAfterTheNextHeartbeat(t *testing.T) {
	c := startRealCentral(t)
	for _, os := range []string{"debian", "alma"} {
		c.put(t, "images/"+os+"/linux", []byte("kernel of "+os))
	}
	workflow := func(os string) string {
		return c.call(t, 201, "POST", "/api/v1/workflows", fmt.Sprintf(`{"name":%q,"install_method":"kernel","kernel":"images/%s/linux"}`, os, os))["id"].(string)
	}
	debian, alma := workflow("debian"), workflow("alma")
	id := c.call(t, 201, "POST", "/api/v1/nodes", fmt.Sprintf(`{"mac_address":"52:54:00:00:00:01","home_site_id":%q,"workflow_id":%q}`, c.site, debian))["id"].(string)
	a := startPair(t, c)
	a.heard(t, c)
	boots := func(what string, wants ...string) {
		t.Helper()
		res, script, err := a.get("/boot/52:54:00:00:00:01")
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatal(res, err)
		}
		for _, want := range wants {
			if !strings.Contains(string(script), want) {
				t.Errorf("%s: the script lacks %q:\n%s", what, want, script)
			}
		}
	}
	boots("discovered", "sanboot")
	c.call(t, 200, "PATCH", "/api/v1/nodes/"+id+"/state", `{"state":"pending"}`)
	a.beat(t)
	boots("pending", "images/debian/linux")
	c.call(t, 200, "PATCH", "/api/v1/nodes/"+id, fmt.Sprintf(`{"workflow_id":%q}`, alma))
	a.beat(t)
	boots("another workflow", "images/alma/linux")
	c.call(t, 200, "PATCH", "/api/v1/workflows/"+alma, `{"cmdline":"console=ttyS1"}`)
	a.beat(t)
	boots("a workflow that changed", "images/alma/linux", "console=ttyS1")
	c.call(t, 200, "PATCH", "/api/v1/sites/"+c.site, fmt.Sprintf(`{"default_workflow_id":%q}`, debian))
	c.call(t, 200, "PATCH", "/api/v1/nodes/"+id, `{"workflow_id":null}`)
	a.beat(t)
	boots("the default", "images/debian/linux")
	c.call(t, 200, "PATCH", "/api/v1/nodes/"+id+"/state", `{"state":"retired"}`)
	a.beat(t)
	boots("retired", "sanboot")
}

// TestWhatWorkflowsNameAnewIsFetched as soon as a heartbeat tells that nodes have changed, whatever the schedule; what else
// the policy wants waits for that. Where nothing has changed, nothing is asked.
func TestWhatWorkflowsNameAnewIsFetched(t *testing.T) {
	c := startRealCentral(t)
	c.put(t, "bootloaders/ipxe.efi", noise(5000))
	kernel := c.put(t, "images/debian/linux", noise(70_000))
	workflow := c.call(t, 201, "POST", "/api/v1/workflows", `{"name":"debian","install_method":"kernel","kernel":"images/debian/linux"}`)["id"].(string)
	id := c.call(t, 201, "POST", "/api/v1/nodes", fmt.Sprintf(`{"mac_address":"52:54:00:00:00:01","home_site_id":%q}`, c.site))["id"].(string)
	a := startPair(t, c)
	a.heard(t, c)
	heard := c.listen(t)
	a.beat(t)
	c.change(func() {
		if len(heard.asked) != 0 {
			t.Errorf("nothing has changed, and the agent asks %v", heard.asked)
		}
	})
	c.call(t, 200, "PATCH", "/api/v1/nodes/"+id, `{"hostname":"night"}`)
	a.beat(t)
	if s := a.syncer.State(); s.Busy || s.Last != nil {
		t.Errorf("a node is called otherwise, and a sync begins: %+v", s)
	}
	c.call(t, 200, "PATCH", "/api/v1/nodes/"+id, fmt.Sprintf(`{"workflow_id":%q}`, workflow))
	a.beat(t)
	eventually(t, "the end of a sync", func() bool { return a.syncer.Last() != nil })
	if last := a.syncer.Last(); last.Trigger != wire.TriggerNodes || last.Status != wire.SyncSuccess || last.FilesTotal != 1 || last.FilesSynced != 1 {
		t.Errorf("the sync ended as %+v", last)
	}
	if got := a.has(); !slices.Equal(got, []string{"images/debian/linux"}) {
		t.Errorf("here are %v", got)
	}
	c.transfers(t)
	if a.wantFile(t, "images/debian/linux", kernel); len(c.transfers(t)) != 0 {
		t.Error("a machine waits for central all the same")
	}
}

// TestNewNamesAreLearntLater: what could not be asked when the nodes changed is asked with the next heartbeat that is
// answered.
func TestNewNamesAreLearntLater(t *testing.T) {
	c := startRealCentral(t)
	c.put(t, "images/debian/linux", noise(70_000))
	workflow := c.call(t, 201, "POST", "/api/v1/workflows", `{"name":"debian","install_method":"kernel","kernel":"images/debian/linux"}`)["id"].(string)
	a := startPair(t, c)
	a.heard(t, c)
	c.call(t, 201, "POST", "/api/v1/nodes", fmt.Sprintf(`{"mac_address":"52:54:00:00:00:01","home_site_id":%q,"workflow_id":%q}`, c.site, workflow))
	c.change(func() { c.answer = map[string]string{wire.PathManifest: "{"} })
	answer, err := a.client.Heartbeat(t.Context(), a.Report(t.Context()))
	if err != nil || len(answer.ChangedNodes) != 1 {
		t.Fatalf("the answer is %+v, %v", answer, err)
	}
	if err := a.follow(t.Context(), answer); err == nil {
		t.Error("a list that is none is taken")
	}
	c.change(func() { c.answer = nil })
	a.beat(t)
	eventually(t, "what the workflow names", func() bool { return slices.Equal(a.has(), []string{"images/debian/linux"}) })
}
