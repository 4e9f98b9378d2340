package central

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/wire"
)

// TestAnAgentsCertificate is made over the real listener by the real CA, and cannot pass for central's.
func TestAnAgentsCertificate(t *testing.T) {
	cfg := config(t)
	cfg.PublicURL, cfg.TLS.Names = "https://central.example:8443", []string{"*.boot.example", "10.9.8.7"}
	s := serve(t, cfg)
	site := s.do(t, "POST", "/api/v1/sites", strings.NewReader(`{"name":"berlin","agent_url":"https://agent.example"}`), "Content-Type", "application/json")
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
		DNSNames:    []string{"agent.example", "central.example", "another.example"},
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

// TestNoSiteGetsANameOfCentrals, whoever has made it the site's.
func TestNoSiteGetsANameOfCentrals(t *testing.T) {
	cfg := config(t)
	cfg.PublicURL, cfg.TLS.Names = "https://central.example:8443", []string{"*.boot.example", "10.9.8.7"}
	id, err := loadIdentity(cfg, time.Now, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	chain, err := id.agents().Certify(uuid.New(), &x509.CertificateRequest{
		DNSNames:    []string{"agent.example", "central.example", "CENTRAL.example.", "x.boot.example", "localhost", "*.example", "not a name"},
		IPAddresses: []net.IP{net.IPv4(10, 0, 0, 1), net.IPv4(10, 9, 8, 7), net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		PublicKey:   key.Public(),
	})
	if err != nil {
		t.Fatal(err)
	}
	if leaf := chain[0]; !slices.Equal(leaf.DNSNames, []string{"agent.example"}) || len(leaf.IPAddresses) != 1 || !leaf.IPAddresses[0].Equal(net.IPv4(10, 0, 0, 1)) {
		t.Errorf("it is for %q and %v", leaf.DNSNames, leaf.IPAddresses)
	}
}

// TestAnAgentProvesItselfByItsCertificate over the real listener: by the newest that it was given and has used.
func TestAnAgentProvesItselfByItsCertificate(t *testing.T) {
	s := serve(t, config(t))
	site := s.do(t, "POST", "/api/v1/sites", strings.NewReader(`{"name":"berlin"}`), "Content-Type", "application/json")
	var made struct{ ID string }
	if err := json.Unmarshal([]byte(read(t, site, 201)), &made); err != nil {
		t.Fatal(err)
	}
	var join wire.JoinToken
	if err := json.Unmarshal([]byte(read(t, s.do(t, "POST", "/api/v1/sites/"+made.ID+"/agent-token", nil), 201)), &join); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte("mine"))
	read(t, s.do(t, "POST", wire.PathRegister, strings.NewReader(`{"join_token":"`+join.Token+`","credential_sha256":"`+hex.EncodeToString(sum[:])+`"}`),
		"Content-Type", "application/json"), 201)

	by := func(cert *tls.Certificate) *http.Client {
		config := trusting(t, filepath.Join(s.o.DataDir, "ca.crt"))
		if cert != nil {
			config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
		}
		transport := &http.Transport{TLSClientConfig: config}
		t.Cleanup(transport.CloseIdleConnections)
		return &http.Client{Transport: transport, Timeout: time.Minute}
	}
	get := func(client *http.Client, want int, kind string) {
		t.Helper()
		res, err := client.Get(s.url + wire.PathManifest)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		var p wire.Problem
		if json.NewDecoder(res.Body).Decode(&p); res.StatusCode != want || p.Type != kind {
			t.Errorf("%s %+v, want %d %s", res.Status, p, want, kind)
		}
	}
	certify := func() *tls.Certificate {
		t.Helper()
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
		if err != nil {
			t.Fatal(err)
		}
		body, err := json.Marshal(wire.CertificateRequest{CSR: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))})
		if err != nil {
			t.Fatal(err)
		}
		res := s.do(t, "POST", wire.PathCertificate, bytes.NewReader(body), "Content-Type", "application/json", "Authorization", "Bearer pba_"+made.ID+"_mine")
		var answer wire.Certificate
		if err := json.Unmarshal([]byte(read(t, res, 201)), &answer); err != nil {
			t.Fatal(err)
		}
		chain, err := parseCertificates([]byte(answer.Certificate))
		if err != nil {
			t.Fatal(err)
		}
		return &tls.Certificate{Certificate: [][]byte{chain[0].Raw}, PrivateKey: key}
	}
	first, lost, third := by(certify()), by(certify()), (*http.Client)(nil)
	get(by(nil), 401, "")
	get(first, 401, "") // a newer one was made before it was used
	get(lost, 200, "")
	third = by(certify())
	get(lost, 200, "") // until the newer one is used
	get(third, 200, "")
	get(third, 200, "")
	get(lost, 401, "")
	read(t, s.do(t, "POST", "/api/v1/sites/"+made.ID+"/agent-credential/revoke", nil), 200)
	get(third, 401, wire.ProblemRevoked)

	// One that another CA made, or nobody, does not get as far.
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		URIs: []*url.URL{{Scheme: "urn", Opaque: "pureboot:site:" + made.ID}},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if res, err := by(&tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}).Get(s.url + wire.PathManifest); err == nil {
		res.Body.Close()
		t.Errorf("another CA's: %s", res.Status)
	}
}
