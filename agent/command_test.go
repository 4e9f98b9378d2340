package agent

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pureboot/pureboot/agent/cache"
	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
)

// TestCommandsOfCentralAreCarriedOut: they come with one heartbeat, and what became of them goes out with the next, which
// does not wait for its time.
func TestCommandsOfCentralAreCarriedOut(t *testing.T) {
	c := startRealCentral(t)
	efi := c.put(t, "bootloaders/ipxe.efi", noise(300_000))
	c.call(t, 201, "POST", "/api/v1/nodes", fmt.Sprintf(`{"mac_address":%q,"home_site_id":%q,"hostname":"one"}`, mac, c.site))
	nodes := c.order(t, `{"command":"invalidate","params":{"scope":"nodes","mac":"`+mac+`"}}`)
	files := c.order(t, `{"command":"sync"}`)
	a := startPair(t, c) // whose second heartbeat would be a minute later
	c.becomes(t, nodes, "succeeded there was no copy of "+mac)
	c.becomes(t, files, "succeeded success: 1 of 1 files, 300000 of 300000 bytes")
	if _, ok := a.cache.Current("bootloaders/ipxe.efi"); !ok {
		t.Error("the bootloader is not there")
	}

	// What the disk has spoiled is found and repaired, what is right stays, and the copy of a machine is asked for again.
	c.call(t, 200, "PATCH", "/api/v1/sites/"+c.site, `{"heartbeat_seconds":1}`)
	a = c.again(t, a)
	text := c.put(t, "scripts/late.sh", []byte("#!/bin/sh\nreboot\n"))
	a.wantFile(t, "scripts/late.sh", text)
	a.settled(t)
	a.get("/boot/" + mac)
	spoiled := filepath.Join(a.cfg.CacheDir(), "bootloaders/ipxe.efi")
	body := bytes.Clone(efi)
	body[270_000] ^= 1
	if err := os.WriteFile(spoiled, body, 0o600); err != nil {
		t.Fatal(err)
	}
	c.transfers(t)
	all := c.order(t, `{"command":"invalidate","params":{"scope":"all"}}`)
	c.becomes(t, all, "succeeded all copies of nodes are asked for again; 2 files verified, 0 outdated, 0 removed, 1 of 1 corrupt chunks repaired; 0 objects of upstreams")
	if got, err := os.ReadFile(spoiled); err != nil || !bytes.Equal(got, efi) {
		t.Errorf("repaired to %d bytes, %v", len(got), err)
	}
	for _, sent := range c.transfers(t) {
		if sent.path != wire.PathContent+"/bootloaders/ipxe.efi" || sent.bytes > cache.ChunkSize {
			t.Errorf("sent again: %v", sent)
		}
	}
	settings := c.order(t, `{"command":"update_config"}`)
	one := c.order(t, `{"command":"invalidate","params":{"scope":"nodes","mac":"`+mac+`"}}`)
	after := c.order(t, `{"command":"invalidate","params":{"scope":"content","glob":"scripts/**"}}`)
	c.becomes(t, after, "succeeded 1 files verified")
	c.becomes(t, settings, "succeeded")
	c.becomes(t, one, "succeeded the copy of "+mac+" is asked for again")
}

// TestCommandsDoNotWaitForTheManifest: what becomes of them is told while central is still at its answer to what came
// with the same heartbeat.
func TestCommandsDoNotWaitForTheManifest(t *testing.T) {
	c := startRealCentral(t)
	c.put(t, "images/linux", noise(1000))
	manifest := make(chan struct{})
	c.held = map[string]chan struct{}{wire.PathManifest: manifest}
	nodes := c.order(t, `{"command":"invalidate","params":{"scope":"nodes"}}`)
	a := startPair(t, c)
	c.becomes(t, nodes, "succeeded")
	if at := a.files.Epoch(); at.Stream != "" {
		t.Errorf("the manifest is known as of %v", at)
	}
	close(manifest)
	eventually(t, "the manifest is known", func() bool { return a.files.Epoch().N == 1 })
}

// again ends an agent and starts it anew: its heartbeat then has the pace that central sets now.
func (c *realCentral) again(t *testing.T, a *appliance) *appliance {
	t.Helper()
	a.end(t)
	return start(t, a.cfg)
}

// TestAnAgentKilledAtACommand: killed while it is at it, it goes on after its start, and what may run only once has
// failed then.
func TestAnAgentKilledAtACommand(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	c := startRealCentral(t)
	c.call(t, 200, "PATCH", "/api/v1/sites/"+c.site, `{"heartbeat_seconds":1}`)
	efi := c.put(t, "bootloaders/ipxe.efi", noise(600_000))
	hold := make(chan struct{})
	c.lie = func(_ int, _ *http.Request, w *wireTap) { w.holdAt, w.hold = 300_000, hold }
	once := c.order(t, `{"command":"sync","once":true,"params":{"force":true}}`)
	sync := c.order(t, `{"command":"sync"}`)
	cfg := enrolled(t, c)
	file := filepath.Join(filepath.Dir(cfg.DataDir), "agent.yaml")
	text := fmt.Sprintf("data_dir: %s\nlisten: {http: \"127.0.0.1:0\", tftp: \"\", admin: \"\"}\ncache: {min_free_gb: 0}\n", cfg.DataDir)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}

	v := startVictim(t, file, roomy)
	c.becomes(t, once, "running")
	c.becomes(t, sync, "accepted")
	v.kill()
	v = startVictim(t, file, roomy)
	c.becomes(t, once, "failed the agent ended while it was at it, and it may run only once")
	c.becomes(t, sync, "running")
	v.kill()
	v = startVictim(t, file, roomy)
	c.becomes(t, sync, "running")
	c.change(func() { c.lie = nil })
	close(hold)
	c.becomes(t, sync, "succeeded success")
	keys, err := v.keys()
	if err != nil || !slices.Contains(keys, "bootloaders/ipxe.efi") {
		t.Errorf("the cache has %v, %v", keys, err)
	}
	if got, err := os.ReadFile(filepath.Join(cfg.CacheDir(), "bootloaders/ipxe.efi")); err != nil || !bytes.Equal(got, efi) {
		t.Errorf("the file has %d bytes, %v", len(got), err)
	}
	if is := c.became(t, once); !strings.HasPrefix(is, "failed") {
		t.Errorf("what may run only once is %s", is)
	}
	v.kill()
}

// TestACentralRestoredFromAnOldBackup: it has forgotten commands that were carried out, takes others for not sent, and
// gives their numbers to new ones. Nothing is done twice, and each of its commands settles.
func TestACentralRestoredFromAnOldBackup(t *testing.T) {
	c := startRealCentral(t)
	c.call(t, 200, "PATCH", "/api/v1/sites/"+c.site, `{"heartbeat_seconds":1}`)
	c.put(t, "bootloaders/ipxe.efi", noise(1000))
	once := c.order(t, `{"command":"sync","once":true}`)
	other := c.order(t, `{"command":"invalidate","params":{"scope":"nodes"}}`)
	backup := filepath.Join(t.TempDir(), "central.db")
	if err := store.Backup(t.Context(), store.Options{Dir: c.dir, Log: slog.New(slog.DiscardHandler)}, backup, false); err != nil {
		t.Fatal(err)
	}
	a := startPair(t, c)
	c.becomes(t, once, "succeeded success: 1 of 1 files")
	c.becomes(t, other, "succeeded")
	forgotten := c.order(t, `{"command":"invalidate","params":{"scope":"all"}}`)
	c.becomes(t, forgotten, "succeeded")
	a.end(t)

	c.restore(t, backup)
	if is := c.became(t, once); is != "sent" {
		t.Errorf("of what may have been begun since, central says that it is %s", is)
	}
	again := c.order(t, `{"command":"sync","params":{"categories":["bootloaders"]}}`)
	if again != forgotten {
		t.Fatalf("the numbers go on at %d", again)
	}
	start(t, a.cfg)
	c.becomes(t, again, "succeeded success: 0 of 0 files")
	c.becomes(t, once, "succeeded success: 1 of 1 files") // as the agent remembers: done again, there would be none to bring
	c.becomes(t, other, "succeeded all copies")
}
