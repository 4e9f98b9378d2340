package central

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pureboot/pureboot/central/wire"
)

// TestAnAgentsCertificate is made over the real listener by the real CA, and cannot pass for central's.
func TestAnAgentsCertificate(t *testing.T) {
	cfg := config(t)
	cfg.PublicURL, cfg.TLS.Names = "https://central.example:8443", []string{"*.boot.example", "10.9.8.7"}
	s := serve(t, cfg)
	site := s.do(t, "POST", "/api/v1/sites", strings.NewReader(`{"name":"berlin"}`), "Content-Type", "application/json")
	var made struct{ ID string }
	if err := json.Unmarshal([]byte(read(t, site, 201)), &made); err != nil {
		t.Fatal(err)
	}
	var join wire.JoinToken
	if err := json.Unmarshal([]byte(read(t, s.do(t, "POST", "/api/v1/sites/"+made.ID+"/agent-token", nil), 201)), &join); err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		DNSNames:    []string{"agent.example", "central.example", "CENTRAL.example.", "x.boot.example", "localhost", "*.example", "not a name"},
		IPAddresses: []net.IP{net.IPv4(10, 0, 0, 1), net.IPv4(10, 9, 8, 7), net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}, key)
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(wire.Register{
		JoinToken: join.Token, CredentialSHA256: strings.Repeat("ab", 32), CSR: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})),
	})
	if err != nil {
		t.Fatal(err)
	}
	var registered wire.Registered
	res := s.do(t, "POST", wire.PathRegister, bytes.NewReader(body), "Content-Type", "application/json")
	if err := json.Unmarshal([]byte(read(t, res, 201)), &registered); err != nil {
		t.Fatal(err)
	}
	chain, err := parseCertificates([]byte(registered.Certificate))
	if err != nil || len(chain) != 2 {
		t.Fatalf("%d certificates, %v", len(chain), err)
	}
	text, err := os.ReadFile(filepath.Join(cfg.DataDir, "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	leaf := chain[0]
	for _, use := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{use}}); err != nil {
			t.Error(err)
		}
	}
	if !slices.Equal(leaf.DNSNames, []string{"agent.example"}) || len(leaf.IPAddresses) != 1 || !leaf.IPAddresses[0].Equal(net.IPv4(10, 0, 0, 1)) {
		t.Errorf("it is for %q and %v", leaf.DNSNames, leaf.IPAddresses)
	}
	if len(leaf.URIs) != 1 || leaf.URIs[0].String() != wire.SiteURN+made.ID || !key.PublicKey.Equal(leaf.PublicKey) || leaf.IsCA {
		t.Errorf("%v, CA %v", leaf.URIs, leaf.IsCA)
	}
	if left := time.Until(leaf.NotAfter); left > agentLife || left < agentLife-time.Hour {
		t.Errorf("it is good for %v", left)
	}
}
