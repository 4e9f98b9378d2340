package e2e

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// site is central and one agent as the real programs, with a relay between them.
type site struct {
	programs string // folder of the two
	dir      string // of their data and configuration
	relay    *relay
	central  *program
	admin    *admin
	id       string // at central
	agent    *program
	http     string // the agent's address
}

// newSite starts central and makes the site there.
func newSite(t *testing.T, programs string) *site {
	t.Helper()
	s := &site{programs: programs, dir: t.TempDir(), relay: newRelay(t)}
	s.write(t, "central.yaml", fmt.Sprintf("data_dir: %q\nlisten: 127.0.0.1:0\npublic_url: %q\ntls: {names: [127.0.0.1]}\n",
		s.path("central"), "https://"+s.relay.address))
	once(t, s.program("central"), "init", "--config", s.path("central.yaml"), "--token-file", s.path("admin.token"))
	central, addresses := serve(t, s.program("central"), "serve", "--config", s.path("central.yaml"))
	s.central = central
	address := addresses["https"]
	s.relay.central.Store(&address)
	s.admin = newAdmin(t, "https://"+address, s.path("central/ca.crt"), s.path("admin.token"))
	s.id = s.admin.create(t, "sites", map[string]any{"name": "end-to-end"})
	return s
}

func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

func (s *site) program(name string) string { return filepath.Join(s.programs, "pureboot-"+name) }

func (s *site) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(s.path(name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// enrol makes the agent that of the site, by a join token.
func (s *site) enrol(t *testing.T) {
	t.Helper()
	central := "https://" + s.relay.address
	s.write(t, "agent.yaml", fmt.Sprintf("data_dir: %q\ncentral_url: %q\nlisten: {http: %q, tftp: %q, admin: %q, metrics: \"\"}\n",
		s.path("agent"), central, agentIP+":0", agentIP+":69", s.path("agent.sock")))
	var join struct{ Token string }
	s.admin.call(t, http.MethodPost, "/api/v1/sites/"+s.id+"/agent-token", nil, &join)
	s.write(t, "join.token", join.Token+"\n")
	once(t, s.program("agent"), "init", "--config", s.path("agent.yaml"), "--central-url", central,
		"--token-file", s.path("join.token"))
}

// startAgent serves the site's LAN.
func (s *site) startAgent(t *testing.T) {
	t.Helper()
	agent, addresses := serve(t, s.program("agent"), "start", "--config", s.path("agent.yaml"))
	s.agent, s.http = agent, addresses["http"]
}

// dnsmasqConf holds the lines that an operator copies.
const dnsmasqConf = "../../docs/dnsmasq.conf"

// startDHCP runs the site's DHCP server. Of the operator's lines texts are replaced, each followed by the other one.
func (s *site) startDHCP(t *testing.T, replace ...string) *program {
	t.Helper()
	conf, err := os.ReadFile(dnsmasqConf)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.NewReplacer(append(replace, "AGENT:PORT", s.http, "AGENT", agentIP)...).Replace(string(conf))
	s.write(t, "dnsmasq.conf", lines+"\n"+strings.Join([]string{
		"port=0", "user=root", "interface=" + bridge, "bind-interfaces", "log-facility=-",
		"dhcp-range=10.99.0.100,10.99.0.200,1h", "dhcp-leasefile=" + s.path("leases"),
	}, "\n")+"\n")
	return run(t, nil, "dnsmasq", "--keep-in-foreground", "--conf-file="+s.path("dnsmasq.conf"))
}

// get fetches a path from the agent as curl would.
func (s *site) get(t *testing.T, path string) (body string, header http.Header) {
	t.Helper()
	client := http.Client{Timeout: time.Minute}
	res, err := client.Get("http://" + s.http + path)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s: %s", path, res.Status, text)
	}
	return string(text), res.Header
}
