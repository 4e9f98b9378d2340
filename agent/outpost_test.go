package agent

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pureboot/pureboot/agent/admin"
	"github.com/pureboot/pureboot/agent/uplink"
	"github.com/pureboot/pureboot/central/wire"
)

// glance is the pause between two looks at a process, of which there are many.
const glance = 50 * time.Millisecond

// outpost is a site, whose agent is a process and reaches central by a line of its own.
type outpost struct {
	operator
	line      *line
	from      string // address that its line comes from
	cfg       Config
	bin, yaml string
	agent     *program

	mac, node string // of its one machine
	file      string // of central's
	body      []byte // its bytes at first
}

// newOutpost makes a site that is the n-th of its central, with a machine and a file, and an agent that is not enrolled.
func (h *headquarters) newOutpost(t *testing.T, n int) *outpost {
	t.Helper()
	o := &outpost{operator: h.operator, from: fmt.Sprintf("127.0.1.%d", n), mac: fmt.Sprintf("52:54:00:00:01:%02x", n)}
	o.site = o.call(t, 201, "POST", "/api/v1/sites", fmt.Sprintf(`{"name":"site-%d","heartbeat_seconds":1}`, n))["id"].(string)
	o.node = o.call(t, 201, "POST", "/api/v1/nodes", fmt.Sprintf(`{"mac_address":%q,"home_site_id":%q}`, o.mac, o.site))["id"].(string)
	o.file = "images/" + o.site + "/linux"
	o.body = o.put(t, o.file, noise(70_000))
	o.bin = filepath.Join(filepath.Dir(h.bin), "pureboot-agent")
	o.furnish(t)
	return o
}

// furnish gives it another line, and an agent that knows nothing yet.
func (o *outpost) furnish(t *testing.T) {
	t.Helper()
	o.line, o.cfg = startLine(t, o.url, o.from), config(t, nil)
	o.yaml = writeConfig(t, fmt.Sprintf("data_dir: %s\nlisten: {http: \"127.0.0.1:0\", tftp: \"127.0.0.1:0\", metrics: \"127.0.0.1:0\", admin: %s}\n"+
		"cache: {min_free_gb: 0}\n", o.cfg.DataDir, o.cfg.Listen.Admin))
}

// token makes a join token and returns the file that it is in.
func (o *outpost) token(t *testing.T) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(o.onSite(t, 201, "POST", "/agent-token", "")["token"].(string)), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// init enrols the agent.
func (o *outpost) init(t *testing.T, token string, flags ...string) error {
	args := append([]string{"init", "--config", o.yaml, "--central-url", o.line.url(), "--token-file", token}, flags...)
	if out, err := exec.CommandContext(t.Context(), o.bin, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// enrol is init, which must succeed.
func (o *outpost) enrol(t *testing.T, flags ...string) {
	t.Helper()
	if err := o.init(t, o.token(t), flags...); err != nil {
		t.Fatal(err)
	}
}

// start starts the agent.
func (o *outpost) start(t *testing.T) {
	t.Helper()
	o.agent = serve(t, o.bin, "start", "--config", o.yaml)
}

// open starts the agent, and waits until it works by what central says and machines get all of it.
func (o *outpost) open(t *testing.T) {
	t.Helper()
	o.start(t)
	o.inStep(t)
	o.wantFile(t, o.body)
	o.wantScript(t, "discovered")
}

// inStep waits until central has heard from the agent, which uses its settings and is content.
func (o *outpost) inStep(t *testing.T) {
	t.Helper()
	asOf := time.Now()
	await(t, "the pair is in step", glance, func() bool {
		health := o.onSite(t, 200, "GET", "/health", "")
		seen, _ := health["last_seen"].(string)
		at, err := time.Parse(time.RFC3339, seen)
		s := o.status(t)
		return err == nil && at.After(asOf) && health["agent_status"] == "online" &&
			health["config"].(map[string]any)["state"] == wire.ConfigApplied && s.Enrolled && s.Online && s.Refused == nil && s.Trouble == nil
	})
}

// meets waits until something has gone wrong with the line since then.
func (o *outpost) meets(t *testing.T, hits int64) {
	t.Helper()
	await(t, "the agent meets the fault", glance, func() bool { return o.line.hits.Load() > hits })
}

func (o *outpost) status(t *testing.T) admin.Status {
	t.Helper()
	s, err := admin.ReadStatus(t.Context(), o.cfg.Listen.Admin)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// wantRefused waits for the status to say that central refuses the agent.
func (o *outpost) wantRefused(t *testing.T, why string) {
	t.Helper()
	await(t, "the status says refused: "+why, glance, func() bool {
		s := o.status(t)
		return s.Refused != nil && s.Refused.Why == why
	})
}

// wantScript has the machine ask what to boot.
func (o *outpost) wantScript(t *testing.T, state string) {
	t.Helper()
	if script := o.script(t); !strings.Contains(script, state) {
		t.Errorf("a machine that is %s gets %s", state, script)
	}
}

func (o *outpost) script(t *testing.T) string {
	t.Helper()
	res, script, err := get(o.agent.at["http"], "/boot/"+o.mac)
	if err != nil || res.StatusCode != http.StatusOK || !bytes.HasPrefix(script, []byte("#!ipxe\n")) {
		t.Errorf("a machine gets %v, %.80q", err, script)
	}
	return string(script)
}

// has says whether a machine gets these bytes of the file.
func (o *outpost) has(body []byte) bool {
	res, got, err := get(o.agent.at["http"], "/"+o.file)
	return err == nil && res.StatusCode == http.StatusOK && bytes.Equal(got, body)
}

func (o *outpost) wantFile(t *testing.T, body []byte) {
	t.Helper()
	if !o.has(body) {
		t.Error("a machine does not get a file that is here")
	}
}

func (o *outpost) uses(t *testing.T) held {
	t.Helper()
	_, metrics, err := get(o.agent.at["metrics"], "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	return o.agent.uses(t, metrics)
}

// secret is the one that the agent uses.
func (o *outpost) secret(t *testing.T) string {
	t.Helper()
	id, err := uplink.LoadIdentity(o.cfg.StateDir())
	if err != nil {
		t.Fatal(err)
	}
	return id.Secret
}
