package api

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"testing"

	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
)

func sha256hex(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// TestAMachineIsInstalled is the main job, as central sees it: from an empty database to an installed machine.
func TestAMachineIsInstalled(t *testing.T) { onBoth(t, testAMachineIsInstalled) }

func testAMachineIsInstalled(t *testing.T, c *central) {
	workflow := must[wire.Workflow](c, 201, "POST", "/api/v1/workflows", c.admin, object{
		"name": "debian", "install_method": "kernel", "kernel": "images/debian/linux", "initrd": []string{"images/debian/initrd.gz"},
		"cmdline": "console=ttyS0", "params": object{"disk": "/dev/sda", "release": "13"},
	})
	site := c.site("berlin", object{
		"default_workflow_id": workflow.ID, "heartbeat_seconds": 7, "params": object{"mirror": "http://deb.example", "disk": "/dev/vda"},
	})
	if site.AgentStatus != nil || site.Effective.DefaultWorkflowID.From != site.ID.String() {
		t.Fatalf("a new site: %+v", site)
	}
	kernel := bytes.Repeat([]byte("kernel"), 100_000)
	file := must[wire.File](c, 201, "PUT", "/api/v1/content/images/debian/linux", c.operator, kernel)
	node := must[wire.Node](c, 201, "POST", "/api/v1/nodes", c.operator, object{
		"mac_address": "52-54-00-AB-CD-EF", "state": "pending", "home_site_id": site.ID, "params": object{"release": "12"},
	})
	if node.MACAddress != "52:54:00:ab:cd:ef" || node.State != "pending" || node.InstallSeq != 1 || node.Version != 1 {
		t.Fatalf("the node: %+v", node)
	}

	agent := c.enrol(site)
	if got := must[store.Group](c, 200, "GET", "/api/v1/sites/"+site.ID.String(), c.viewer, nil); *got.AgentStatus != "offline" {
		t.Errorf("before its first heartbeat the agent is %s", *got.AgentStatus)
	}
	beat := must[wire.HeartbeatAnswer](c, 200, "POST", wire.PathHeartbeat, agent, wire.Heartbeat{
		Hello: wire.Hello{ProtocolVersion: 1, AgentVersion: "1.0"}, Services: map[string]string{"http": "running"},
	})
	if beat.NextIn != 7 || !beat.AllNodes || beat.ContentEpoch.N != 1 || beat.ProtocolVersion != wire.ProtocolVersion {
		t.Errorf("heartbeat: %+v", beat)
	}
	got := must[store.Group](c, 200, "GET", "/api/v1/sites/"+site.ID.String(), c.viewer, nil)
	if *got.AgentStatus != "online" || got.AgentLastSeen == nil {
		t.Errorf("after a heartbeat: %s, %v", *got.AgentStatus, got.AgentLastSeen)
	}
	if status := must[store.Agent](c, 200, "GET", "/api/v1/agents/"+site.ID.String()+"/status", c.viewer, nil); status.Status != "online" || status.AgentVersion != "1.0" || status.Heartbeat.Services["http"] != "running" {
		t.Errorf("agent status: %+v", status)
	}

	manifest := must[wire.Manifest](c, 200, "GET", wire.PathManifest, agent, nil)
	if !manifest.Full || len(manifest.Items) != 1 || manifest.Items[0].SHA256 != file.SHA256 || manifest.Epoch != beat.ContentEpoch {
		t.Errorf("manifest: %+v", manifest)
	}
	if r := c.do("GET", "/api/v1/content/images/debian/linux", agent, nil); !bytes.Equal(r.body, kernel) {
		t.Errorf("the agent got %d bytes of %d", len(r.body), len(kernel))
	}

	boot := must[wire.Boot](c, 200, "GET", wire.PathBoot+"?mac=525400abcdef", agent, nil)
	if boot.Node.ID != node.ID || boot.Workflow == nil || boot.Workflow.ID != workflow.ID {
		t.Fatalf("boot: %+v", boot)
	}
	want := map[string]string{"mirror": "http://deb.example", "disk": "/dev/sda", "release": "12"}
	if len(boot.Params) != 3 || boot.Params["mirror"] != want["mirror"] || boot.Params["disk"] != want["disk"] || boot.Params["release"] != want["release"] {
		t.Errorf("params %v, want %v", boot.Params, want)
	}

	event := func(kind, id string) wire.Node {
		return must[wire.Node](c, 200, "POST", wire.PathNodes+"/"+node.ID+"/event", agent, wire.Event{EventType: kind, EventID: id})
	}
	if n := event("boot_started", "1"); n.State != "installing" || n.InstallAttempts != 1 || n.InstallStartedAt == nil || n.Version != 2 {
		t.Errorf("boot_started: %+v", n)
	}
	if n := event("boot_started", "1"); n.InstallAttempts != 1 || n.Version != 2 {
		t.Errorf("the same event again: %+v", n)
	}
	if n := event("install_started", "2"); n.State != "installing" || n.InstallAttempts != 1 {
		t.Errorf("install_started: %+v", n)
	}
	late := wire.Event{EventType: "install_complete", EventID: "late", InstallSeq: 5}
	if n := must[wire.Node](c, 200, "POST", wire.PathNodes+"/"+node.ID+"/event", agent, late); n.State != "installing" {
		t.Errorf("a report of another installation: %+v", n)
	}
	if n := event("install_complete", "3"); n.State != "installed" || n.Version != 3 {
		t.Errorf("install_complete: %+v", n)
	}

	var passed []string
	for _, step := range must[store.Page[store.StateStep]](c, 200, "GET", "/api/v1/nodes/"+node.ID+"/history", c.viewer, nil).Items {
		passed = append(passed, step.From+">"+step.To+" by "+step.By)
	}
	if want := []string{">pending by admin:operator", "pending>installing by site:berlin", "installing>installed by site:berlin"}; !slices.Equal(passed, want) {
		t.Errorf("history %q, want %q", passed, want)
	}
	events := must[store.Page[store.LoggedEvent]](c, 200, "GET", "/api/v1/nodes/"+node.ID+"/events", c.viewer, nil).Items
	if len(events) != 4 || events[0].EventType != "boot_started" || events[3].EventType != "install_complete" {
		t.Errorf("events: %+v", events)
	}

	beat = must[wire.HeartbeatAnswer](c, 200, "POST", wire.PathHeartbeat, agent, wire.Heartbeat{NodeEpoch: beat.NodeEpoch})
	if beat.AllNodes || !slices.Equal(beat.ChangedNodes, []string{node.ID}) {
		t.Errorf("what changed: %+v", beat)
	}
	beat = must[wire.HeartbeatAnswer](c, 200, "POST", wire.PathHeartbeat, agent, wire.Heartbeat{NodeEpoch: beat.NodeEpoch})
	if beat.AllNodes || len(beat.ChangedNodes) != 0 {
		t.Errorf("what changed then: %+v", beat)
	}
}
