package agent

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pureboot/pureboot/agent/admin"
	"github.com/pureboot/pureboot/agent/uplink"
	"github.com/pureboot/pureboot/central/store"
)

// quickPair is a pair whose heartbeats come each second, with a file and a machine that the agent knows.
func quickPair(t *testing.T) (*realCentral, *appliance) {
	t.Helper()
	c := startRealCentral(t)
	c.call(t, 200, "PATCH", "/api/v1/sites/"+c.site, `{"heartbeat_seconds":1}`)
	c.call(t, 201, "POST", "/api/v1/nodes", fmt.Sprintf(`{"mac_address":%q,"home_site_id":%q}`, mac, c.site))
	body := c.put(t, "images/linux", noise(300_000))
	a := startPair(t, c)
	a.wantFile(t, "images/linux", body)
	a.wantScript(t)
	a.settled(t)
	return c, a
}

// wantScript has the machine that the agent knows ask what to boot.
func (a *appliance) wantScript(t *testing.T) {
	t.Helper()
	if _, script, err := a.get("/boot/" + mac); err != nil || !bytes.HasPrefix(script, []byte("#!ipxe\n")) || !bytes.Contains(script, []byte("discovered")) {
		t.Errorf("%v: %s", err, script)
	}
}

// wantRefused waits for the status to say that central refuses the agent, or that it does not.
func (a *appliance) wantRefused(t *testing.T, why string) {
	t.Helper()
	eventually(t, "the status says refused: "+why, func() bool {
		status, err := admin.ReadStatus(t.Context(), a.at["admin"])
		if err != nil {
			t.Fatal(err)
		}
		if status.Refused == nil {
			return why == ""
		}
		return status.Refused.Why == why && status.Refused.Detail != "" && !status.Refused.Since.IsZero() && status.Online
	})
}

func TestARevokedAgentGoesOnBooting(t *testing.T) {
	c, a := quickPair(t)
	c.call(t, 200, "POST", "/api/v1/sites/"+c.site+"/agent-credential/revoke", "")
	a.wantRefused(t, uplink.RefusedRevoked)
	for range 2 {
		a.wantScript(t)
		if res, body, err := a.get("/images/linux"); err != nil || len(body) != 300_000 || !strings.Contains(res.Header.Get("Cache-Status"), "hit") {
			t.Errorf("%d bytes, %v", len(body), err)
		}
		if res, _, err := a.get("/images/other"); err != nil || res.StatusCode < 500 {
			t.Errorf("what is not here: %v, %v", res, err) // and not that there is no such file
		}
		a.end(t)
		a = start(t, a.cfg)
		a.wantRefused(t, uplink.RefusedRevoked)
	}
	// The same machine, enrolled again.
	text := c.call(t, 201, "POST", "/api/v1/sites/"+c.site+"/agent-token", "")["token"].(string)
	c.enrolled(t, text)
	a.end(t)
	a = startWith(t, c, a.cfg)
	eventually(t, "central serves it", func() bool { return c.state(t) == store.CredentialValid && a.client.Standing().Refused == "" })
	a.wantRefused(t, "")
}

func TestACredentialIsRotatedEndToEnd(t *testing.T) {
	c, a := quickPair(t)
	before, err := uplink.LoadIdentity(a.cfg.StateDir())
	if err != nil {
		t.Fatal(err)
	}
	c.call(t, 202, "POST", "/api/v1/sites/"+c.site+"/agent-credential/rotate", "")
	eventually(t, "the rotation is over", func() bool { return c.state(t) == store.CredentialValid })
	after, err := uplink.LoadIdentity(a.cfg.StateDir())
	if err != nil || after.Secret == before.Secret || after.OtherSecret != before.Secret {
		t.Errorf("kept %+v, before %+v, %v", after, before, err)
	}
	a.wantRefused(t, "")
}

func TestACopyOfAnAgentIsFenced(t *testing.T) {
	c, a := quickPair(t)
	cfg := config(t, nil)
	if err := os.MkdirAll(cfg.StateDir(), 0o700); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(a.cfg.StateDir(), "identity.json"))
	if err == nil {
		err = os.WriteFile(filepath.Join(cfg.StateDir(), "identity.json"), text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	clone := start(t, cfg)
	clone.wantRefused(t, uplink.RefusedFenced)
	if got := c.state(t); got != store.CredentialFenced {
		t.Errorf("central says %s", got)
	}
	a.wantRefused(t, "")
	if res, script, err := clone.get("/boot/52:54:00:99:99:99"); err != nil || res.StatusCode != 200 || !bytes.HasPrefix(script, []byte("#!ipxe\n")) {
		t.Errorf("it boots nothing: %v: %s", err, script)
	}
	c.call(t, 202, "POST", "/api/v1/sites/"+c.site+"/agent-credential/rotate", "")
	eventually(t, "the fence is gone", func() bool { return c.state(t) == store.CredentialValid })
	a.wantRefused(t, "")
}
