package api

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
)

// selfSigned is a CA that has no certificate but those that it makes.
type selfSigned struct{}

func (selfSigned) Certify(_ uuid.UUID, request *x509.CertificateRequest) ([]*x509.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: request.DNSNames, IPAddresses: request.IPAddresses, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, request.PublicKey, key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return []*x509.Certificate{cert}, err
}

func newRequest(t *testing.T, curve elliptic.Curve, template x509.CertificateRequest) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &template, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
}

// TestASiteGetsWhatIsItsOwn: one name, which is not for its agent to choose, and no address of another site's.
func TestASiteGetsWhatIsItsOwn(t *testing.T) {
	c := newCentral(t)
	c.site("lyon", object{"agent_url": "https://lyon.example"})
	c.site("oslo", object{"agent_url": "http://10.1.1.1:8080"})
	c.site("rome", object{"agent_url": "http://[2001:DB8::1]:8080"})
	ask := x509.CertificateRequest{
		DNSNames: []string{"lyon.example", "berlin.example", "deb.example", "localhost"},
		IPAddresses: []net.IP{
			net.IPv4(10, 1, 1, 1), net.IPv4(10, 2, 2, 2), net.IPv4(10, 2, 2, 3), net.ParseIP("2001:db8::1"), net.ParseIP("2001:db8::2"),
		},
	}
	for url, want := range map[string]string{
		"":                            "[] [10.2.2.2 10.2.2.3 2001:db8::2]",
		"https://berlin.example:8443": "[berlin.example] [10.2.2.2 10.2.2.3 2001:db8::2]",
		"http://10.2.2.2":             "[] [10.2.2.3 2001:db8::2 10.2.2.2]",
		"http://10.1.1.1:8080":        "[] [10.2.2.2 10.2.2.3 2001:db8::2 10.1.1.1]", // as private addresses are
		"http://[2001:db8:0::3]":      "[] [10.2.2.2 10.2.2.3 2001:db8::2 2001:db8::3]",
	} {
		fields := object{}
		if url != "" {
			fields["agent_url"] = url
		}
		site := c.site("berlin", fields)
		registered := must[wire.Registered](c, 201, "POST", wire.PathRegister, "", wire.Register{
			JoinToken: c.join(site), CredentialSHA256: sha256hex("mine"), CSR: newRequest(t, elliptic.P256(), ask),
		})
		block, _ := pem.Decode([]byte(registered.Certificate))
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(cert.DNSNames, cert.IPAddresses); got != want {
			t.Errorf("at %q it is for %s, want %s", url, got, want)
		}
		must[any](c, 204, "DELETE", "/api/v1/sites/"+site.ID.String(), c.admin, nil)
	}
}

func TestAnAgentGetsACertificate(t *testing.T) {
	c := newCentral(t)
	site := c.site("berlin", object{"agent_url": "https://Agent.example:8443"})
	request := newRequest(t, elliptic.P256(), x509.CertificateRequest{DNSNames: []string{"agent.example"}})
	registered := must[wire.Registered](c, 201, "POST", wire.PathRegister, "", wire.Register{
		JoinToken: c.join(site), CredentialSHA256: sha256hex("mine"), CSR: request,
	})
	agent := "pba_" + site.ID.String() + "_mine"
	renewed := must[wire.Certificate](c, 201, "POST", wire.PathCertificate, agent, wire.CertificateRequest{CSR: request})
	for _, text := range []string{registered.Certificate, renewed.Certificate} {
		block, _ := pem.Decode([]byte(text))
		if block == nil {
			t.Fatalf("%q", text)
		}
		if cert, err := x509.ParseCertificate(block.Bytes); err != nil || !slices.Equal(cert.DNSNames, []string{"agent.example"}) {
			t.Errorf("%+v, %v", cert, err)
		}
	}
	status := must[store.Agent](c, 200, "GET", "/api/v1/agents/"+site.ID.String()+"/status", c.viewer, nil)
	if at := status.Credential.CertificateExpiresAt; at == nil || time.Until(*at) > time.Hour || time.Until(*at) < 50*time.Minute {
		t.Errorf("it expires %v", at)
	}
	if n := len(c.audited("agent.certificate")); n != 2 {
		t.Errorf("audited %d times", n)
	}

	many := make([]net.IP, 65)
	for i := range many {
		many[i] = net.IPv4(10, 0, 0, byte(i))
	}
	foreign := newRequest(t, elliptic.P256(), x509.CertificateRequest{URIs: []*url.URL{{Scheme: "urn", Opaque: "pureboot:site:another"}}})
	forged := strings.Replace(request, request[60:64], map[bool]string{true: "AAAB", false: "AAAA"}[request[60:64] == "AAAA"], 1)
	for name, bad := range map[string]string{
		"nothing": "", "no PEM": "x", "a certificate": renewed.Certificate, "huge": request + strings.Repeat(" ", 16<<10),
		"a weak key": newRequest(t, elliptic.P224(), x509.CertificateRequest{}), "another site": foreign, "not its own": forged,
		"too many addresses": newRequest(t, elliptic.P256(), x509.CertificateRequest{IPAddresses: many}),
	} {
		if r := c.do("POST", wire.PathCertificate, agent, wire.CertificateRequest{CSR: bad}); r.status != 422 || !r.names(t, "body.csr") {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
	// An agent whose request is no good is enrolled all the same.
	if r := c.do("POST", wire.PathRegister, "", wire.Register{JoinToken: c.join(site), CredentialSHA256: sha256hex("mine"), CSR: "x"}); r.status != 201 {
		t.Errorf("enrolled: %d %s", r.status, r.body)
	}
	c.api.Fleet.CA = nil // as with a certificate of the operator's own
	if r := c.do("POST", wire.PathCertificate, agent, wire.CertificateRequest{CSR: request}); r.status != 409 {
		t.Errorf("without a CA: %d %s", r.status, r.body)
	}
	if r := c.do("POST", wire.PathRegister, "", wire.Register{JoinToken: c.join(site), CredentialSHA256: sha256hex("mine"), CSR: request}); r.status != 201 {
		t.Errorf("enrolled without a CA: %d %s", r.status, r.body)
	}
}
