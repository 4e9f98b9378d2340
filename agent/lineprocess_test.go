package agent

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/pureboot/pureboot/agent/uplink"
	"github.com/pureboot/pureboot/central/wire"
)

// TestAnAgentsProcessOverABadLine is the story of a site whose agent is a process of its own: it enrols, though the line
// loses the first answer, and does what it is told, though the line dies while it is at it.
func TestAnAgentsProcessOverABadLine(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	c := startRealCentral(t)
	c.fleet.Pin = sha256.Sum256(c.Certificate().RawSubjectPublicKeyInfo)
	c.call(t, 200, "PATCH", "/api/v1/sites/"+c.site, `{"heartbeat_seconds":1}`)
	efi := c.put(t, "bootloaders/ipxe.efi", noise(600_000))
	c.call(t, 201, "POST", "/api/v1/nodes", fmt.Sprintf(`{"mac_address":%q,"home_site_id":%q}`, mac, c.site))
	l := startLine(t, c.URL)
	cfg := config(t, nil)
	c.enrolOver(t, l, cfg)

	middle := make(chan struct{})
	c.change(func() {
		c.lie = func(_ int, _ *http.Request, w *wireTap) { w.holdAt, w.hold = 300_000, middle }
	})
	sync := c.order(t, `{"command":"sync"}`)
	file := filepath.Join(filepath.Dir(cfg.DataDir), "agent.yaml")
	text := fmt.Sprintf("data_dir: %s\nlisten: {http: \"127.0.0.1:0\", tftp: \"\", admin: \"\"}\ncache: {min_free_gb: 0}\n", cfg.DataDir)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	v := startVictim(t, file, roomy)
	c.becomes(t, sync, "running")
	v.wantScript(t)
	for _, f := range []fault{{refuse: true}, {cutAt: 6000}, {}} {
		tries := l.tries.Load()
		l.set(f)
		v.wantScript(t)
		eventually(t, "the agent meets the line", func() bool { return l.tries.Load() > tries })
	}
	c.change(func() { c.lie = nil })
	close(middle)
	c.becomes(t, sync, "succeeded success: 1 of 1 files")
	keys, err := v.keys()
	if err != nil || !slices.Contains(keys, "bootloaders/ipxe.efi") {
		t.Errorf("the cache has %v, %v", keys, err)
	}
	if got, err := os.ReadFile(filepath.Join(cfg.CacheDir(), "bootloaders/ipxe.efi")); err != nil || !bytes.Equal(got, efi) {
		t.Errorf("the file has %d bytes, %v", len(got), err)
	}
	v.kill()
}

// enrolOver enrols by a line on which the connection is lost once central has the request.
func (c *realCentral) enrolOver(t *testing.T, l *line, cfg Config) {
	t.Helper()
	token, err := uplink.ParseJoinToken(c.call(t, 201, "POST", "/api/v1/sites/"+c.site+"/agent-token", "")["token"].(string))
	if err != nil {
		t.Fatal(err)
	}
	answer, asked := make(chan struct{}), 0
	c.change(func() {
		c.held, asked = map[string]chan struct{}{wire.PathRegister: answer}, c.asked[wire.PathRegister]
	})
	enrol := func() error {
		_, err := uplink.Enroll(t.Context(), uplink.Joining{State: cfg.StateDir(), CentralURL: l.url(), Token: token, Hello: Hello("test")})
		return err
	}
	lost := make(chan error, 1)
	go func() { lost <- enrol() }()
	eventually(t, "central has the request", func() bool {
		var now int
		c.change(func() { now = c.asked[wire.PathRegister] })
		return now > asked
	})
	l.worsen(fault{mute: true})
	close(answer)
	eventually(t, "central has enrolled it", func() bool {
		return c.call(t, 200, "GET", "/api/v1/sites/"+c.site+"/health", "")["credential"].(map[string]any)["state"] == "valid"
	})
	l.set(fault{})
	if err := <-lost; err == nil {
		t.Fatal("enrolled by an answer that was lost")
	}
	if err := enrol(); err != nil {
		t.Fatal(err)
	}
}

// wantScript has a machine ask what to boot.
func (v *victim) wantScript(t *testing.T) {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://"+v.http+"/boot/"+mac, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if script, err := io.ReadAll(res.Body); err != nil || res.StatusCode != http.StatusOK || !bytes.HasPrefix(script, []byte("#!ipxe\n")) {
		t.Errorf("a machine gets %v, %.80q", err, script)
	}
}
