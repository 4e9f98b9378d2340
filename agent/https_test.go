package agent

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pureboot/pureboot/agent/admin"
	"github.com/pureboot/pureboot/agent/uplink"
	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
)

// browser is whoever reaches the HTTPS listener and trusts central's CA.
type browser struct {
	*http.Client
	url string
}

func (a *appliance) browser(t *testing.T, roots *x509.CertPool, name string) browser {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: name}}
	t.Cleanup(transport.CloseIdleConnections)
	return browser{&http.Client{Transport: transport, Timeout: patience}, "https://" + a.at["https"]}
}

func (b browser) ask(t *testing.T, method, path, token, body string) (int, http.Header, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, b.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := b.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header, text
}

// secureAgent is one that listens by HTTPS too, with a certificate for agent.example of a CA that the pool holds.
func secureAgent(t *testing.T) (*appliance, *x509.CertPool) {
	t.Helper()
	cfg := config(t, nil)
	cfg.Listen.HTTPS, cfg.Listen.HTTPSNames = "127.0.0.1:0", []string{"agent.example"}
	if err := os.MkdirAll(cfg.StateDir(), 0o700); err != nil {
		t.Fatal(err)
	}
	roots := keepCertificate(t, cfg)
	return start(t, cfg), roots
}

func TestHTTPSServesMachinesAndByTokenTheOperator(t *testing.T) {
	a, roots := secureAgent(t)
	b := a.browser(t, roots, "agent.example")
	if status, _, script := b.ask(t, "GET", "/boot/"+mac, "", ""); status != 200 || !bytes.HasPrefix(script, []byte("#!ipxe\n")) {
		t.Errorf("a machine: %d %s", status, script)
	}
	if status, _, script := b.ask(t, "GET", "/boot.ipxe", "", ""); status != 200 || !bytes.Contains(script, []byte(b.url+"/boot/")) {
		t.Errorf("where it goes on: %d %s", status, script)
	}

	socket := admin.NewClient(a.at["admin"])
	token := func(role string, expires *time.Time) admin.MadeToken {
		var made admin.MadeToken
		if err := socket.Call(t.Context(), "POST", admin.PathTokens, nil, admin.NewToken{Name: "a " + role, Role: role, ExpiresAt: expires}, &made); err != nil {
			t.Fatal(err)
		}
		return made
	}
	viewer, boss := token(admin.Viewer, nil), token(admin.Admin, nil)
	wrong := boss.Text[:len(boss.Text)-1] + map[bool]string{true: "B", false: "A"}[boss.Text[len(boss.Text)-1] == 'A']
	for name, tt := range map[string]struct {
		method, path, token string
		status              int
	}{
		"nobody":                        {"GET", admin.PathStatus, "", 401},
		"nobody, at no path":            {"GET", admin.Root + "/x", "", 401},
		"nobody, at the root":           {"GET", admin.Root, "", 401},
		"a stranger":                    {"GET", admin.PathStatus, "pbl_0123456789abcdef_x", 401},
		"a wrong secret":                {"GET", admin.PathStatus, wrong, 401},
		"an admin of central":           {"GET", admin.PathStatus, "pbt_0123456789abcdef_x", 401},
		"a viewer reads":                {"GET", admin.PathStatus, viewer.Text, 200},
		"a viewer evicts":               {"POST", admin.PathEvict, viewer.Text, 403},
		"a viewer removes":              {"DELETE", admin.PathCache + "/images/x", viewer.Text, 403},
		"an admin evicts":               {"POST", admin.PathEvict, boss.Text, 200},
		"an admin lists tokens":         {"GET", admin.PathTokens, boss.Text, 403},
		"an admin makes tokens":         {"POST", admin.PathTokens, boss.Text, 403},
		"an admin revokes tokens":       {"DELETE", admin.PathTokens + "/" + viewer.ID, boss.Text, 403},
		"nothing else of the socket":    {"GET", "/metrics", boss.Text, 404},
		"nor its profiles":              {"GET", "/debug/pprof/", boss.Text, 404},
		"no way around by a dot":        {"GET", "/images/../api/v1/agent/status", "", 400},
		"no way around by a slash":      {"GET", "//api/v1/agent/status", "", 404},
		"no way around by an escape":    {"GET", "/api/v1/%61gent/status", "", 401},
		"an admin, at what there isn't": {"GET", admin.Root + "/x", boss.Text, 404},
	} {
		t.Run(name, func(t *testing.T) {
			body := ""
			if tt.path == admin.PathEvict {
				body = `{"policy":"expired"}`
			}
			status, header, text := b.ask(t, tt.method, tt.path, tt.token, body)
			if status != tt.status || status >= 400 && header.Get("Content-Type") != wire.MediaTypeProblem || (status == 401) != (header.Get("WWW-Authenticate") != "") {
				t.Errorf("%d %s %s, want %d", status, header, text, tt.status)
			}
		})
	}
	if err := socket.Call(t.Context(), "DELETE", admin.PathTokens+"/"+viewer.ID, nil, nil, &struct{}{}); err != nil {
		t.Fatal(err)
	}
	if status, _, _ := b.ask(t, "GET", admin.PathStatus, viewer.Text, ""); status != 401 {
		t.Errorf("a token that was revoked: %d", status)
	}
	kept, err := os.ReadFile(filepath.Join(a.cfg.StateDir(), "tokens.json"))
	if err != nil || bytes.Contains(kept, []byte(boss.Text[len("pbl_")+17:])) {
		t.Errorf("kept is %s, %v", kept, err)
	}
	if info, err := os.Stat(filepath.Join(a.cfg.StateDir(), "tokens.json")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v", err)
	}
	// The gateway without TLS has none of it.
	if res, _, err := a.get(admin.PathStatus); err != nil || res.StatusCode != 404 {
		t.Errorf("by HTTP: %v, %v", res, err)
	}

	a.end(t)
	a = start(t, a.cfg)
	b = a.browser(t, roots, "agent.example")
	if status, _, text := b.ask(t, "GET", admin.PathStatus, boss.Text, ""); status != 200 || !json.Valid(text) {
		t.Errorf("after a restart: %d", status)
	}
}

// TestTheCertificateComesFromCentral, on the real pair: none at first, then central's.
func TestTheCertificateComesFromCentral(t *testing.T) {
	c := startRealCentral(t)
	roots := x509.NewCertPool()
	roots.AddCert(c.agents.cert)
	cfg := config(t, nil)
	cfg.Listen.HTTPS, cfg.Listen.HTTPSNames = "127.0.0.1:0", []string{"agent.example"}
	c.call(t, 200, "PATCH", "/api/v1/sites/"+c.site, `{"agent_url":"https://agent.example:8443"}`)
	a := startWith(t, c, cfg)
	b := a.browser(t, roots, "agent.example")
	eventually(t, "a certificate", func() bool { _, ok := a.shown.Ready(); return ok })
	if status, _, _ := b.ask(t, "GET", "/boot.ipxe", "", ""); status != 200 {
		t.Errorf("status %d", status)
	}
	if got := a.Report(t.Context()).Services["https"]; got != "running" {
		t.Errorf("the report says %q", got)
	}
	agent := c.call(t, 200, "GET", "/api/v1/agents/"+c.site+"/status", "")
	if at := agent["credential"].(map[string]any)["certificate_expires_at"]; at == nil {
		t.Errorf("central says %v", agent)
	}
	info, err := os.Stat(filepath.Join(cfg.StateDir(), "https.pem"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v", err)
	}
}

func TestHTTPSWithoutACertificate(t *testing.T) {
	cfg := config(t, nil)
	cfg.Listen.HTTPS = "127.0.0.1:0"
	a := start(t, cfg)
	b := a.browser(t, x509.NewCertPool(), "agent.example")
	if res, err := b.Get(b.url + "/boot.ipxe"); err == nil {
		res.Body.Close()
		t.Error("it is served")
	}
	if got := a.Report(t.Context()).Services["https"]; !strings.Contains(got, "no certificate") {
		t.Errorf("the report says %q", got)
	}
	if _, script, err := a.get("/boot/" + mac); err != nil || !bytes.HasPrefix(script, []byte("#!ipxe\n")) {
		t.Errorf("%v: %s", err, script)
	}
}

func TestHTTPSNames(t *testing.T) {
	cfg := Default()
	if got := cfg.HTTPSNames(); got != nil {
		t.Errorf("off, and for %q", got)
	}
	cfg.Listen.HTTPS = ":8444"
	for _, name := range cfg.HTTPSNames() {
		if !validHost(name) || strings.HasPrefix(name, "127.") || name == "::1" {
			t.Errorf("the host's own names have %q", name)
		}
	}
	cfg.Listen.HTTPSNames = []string{"boot.example", "10.0.0.1"}
	if got := cfg.HTTPSNames(); fmt.Sprint(got) != "[boot.example 10.0.0.1]" {
		t.Errorf("%q", got)
	}
	cfg.Listen.HTTPS, cfg.Listen.HTTPSNames = "x", []string{"a b", "*.example", ""}
	err := cfg.Validate()
	if err == nil || strings.Count(err.Error(), "listen.https_names") != 3 || !strings.Contains(err.Error(), "listen.https:") {
		t.Errorf("%v", err)
	}
}

// TestAnAgentThatProvesItselfByACertificate uses the credential until it has one, and to change the credential, which ends
// the certificate too.
func TestAnAgentThatProvesItselfByACertificate(t *testing.T) {
	c := startRealCentral(t)
	c.call(t, 200, "PATCH", "/api/v1/sites/"+c.site, `{"heartbeat_seconds":1}`)
	cfg := config(t, nil)
	cfg.CentralAuth = "certificate"
	a := startWith(t, c, cfg)
	certified := func() (is bool) {
		c.change(func() { is = c.byCertificate })
		return is
	}
	eventually(t, "a heartbeat by the certificate", certified)
	first := a.certificate(t)
	before, err := uplink.LoadIdentity(cfg.StateDir())
	if err != nil {
		t.Fatal(err)
	}
	c.call(t, 202, "POST", "/api/v1/sites/"+c.site+"/agent-credential/rotate", "")
	eventually(t, "the rotation is over", func() bool { return c.state(t) == store.CredentialValid })
	if after, err := uplink.LoadIdentity(cfg.StateDir()); err != nil || after.Secret == before.Secret {
		t.Errorf("the credential is the old one, %v", err)
	}
	eventually(t, "another certificate", func() bool { return !bytes.Equal(a.certificate(t), first) })
	c.change(func() { c.byCertificate = false })
	eventually(t, "a heartbeat by it", certified)
	if s := a.client.Standing(); s.Refused != "" {
		t.Errorf("%+v", s)
	}
}

// TestACertificateThatCentralDoesNotTakeKeepsNobodyOut: one of the CA of another central, say, with which the agent was
// enrolled before. It goes on with its credential, and gets another certificate by it.
func TestACertificateThatCentralDoesNotTakeKeepsNobodyOut(t *testing.T) {
	c := startRealCentral(t)
	c.call(t, 200, "PATCH", "/api/v1/sites/"+c.site, `{"heartbeat_seconds":1}`)
	cfg := config(t, nil)
	cfg.CentralAuth = "certificate"
	enrol(t, c, cfg)
	keepCertificate(t, cfg)
	a := start(t, cfg)
	eventually(t, "a heartbeat by a certificate", func() (is bool) {
		c.change(func() { is = c.byCertificate })
		return is
	})
	if got := a.told(t); got.Trouble != nil || got.Refused != nil {
		t.Errorf("the status tells of %+v, %+v", got.Trouble, got.Refused)
	}
}

func (a *appliance) certificate(t *testing.T) []byte {
	t.Helper()
	cert, err := a.shown.Get(nil)
	if err != nil {
		t.Fatal(err)
	}
	return cert.Leaf.Raw
}
