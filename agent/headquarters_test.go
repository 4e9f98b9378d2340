package agent

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// headquarters is central, as a process.
type headquarters struct {
	operator
	*program
	bin, file string
}

func startHeadquarters(t *testing.T, bin string) *headquarters {
	t.Helper()
	dir := t.TempDir()
	h := &headquarters{bin: filepath.Join(bin, "pureboot-central"), file: filepath.Join(dir, "central.yaml")}
	if err := os.WriteFile(h.file, []byte("data_dir: "+dir+"\nlisten: \"127.0.0.1:0\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	token := filepath.Join(dir, "token")
	if out, err := exec.CommandContext(t.Context(), h.bin, "init", "--config", h.file, "--token-file", token).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	ca, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(token)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	h.client, h.admin = &http.Client{Transport: transport, Timeout: patience}, strings.TrimSpace(string(text))
	h.again(t)
	return h
}

// again starts it, after it was killed at another address.
func (h *headquarters) again(t *testing.T) {
	t.Helper()
	h.program = serve(t, h.bin, "serve", "--config", h.file)
	h.url = "https://" + h.at["https"]
}

func (h *headquarters) uses(t *testing.T) held {
	t.Helper()
	h.client.CloseIdleConnections() // but for the one that asks
	return h.program.uses(t, h.ask(t, 200, "GET", "/metrics", ""))
}
