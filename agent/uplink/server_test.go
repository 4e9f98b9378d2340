package uplink

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pureboot/pureboot/central/wire"
)

const (
	siteID     = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
	joinSecret = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3I"
)

// authority is a CA made for a test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB) *authority {
	a := &authority{key: newKey(t)}
	a.cert = a.sign(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "a CA"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, a.key)
	return a
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (a *authority) sign(t testing.TB, template *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore = time.Now().Add(-time.Hour)
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(time.Hour)
	}
	parent := a.cert
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// issue returns a server's certificate, followed by those of the chain.
func (a *authority) issue(t testing.TB, template *x509.Certificate, chain ...*x509.Certificate) tls.Certificate {
	key := newKey(t)
	leaf := tls.Certificate{PrivateKey: key, Certificate: [][]byte{a.sign(t, template, key).Raw}}
	for _, c := range chain {
		leaf.Certificate = append(leaf.Certificate, c.Raw)
	}
	return leaf
}

func (a *authority) pem() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}))
}

// token is a join token that names the CA.
func (a *authority) token(t testing.TB, id string) JoinToken {
	t.Helper()
	sum := sha256.Sum256(a.cert.RawSubjectPublicKeyInfo)
	token, err := ParseJoinToken("pbj1." + hex.EncodeToString(sum[:]) + "." + id + "." + joinSecret)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// forLoopback is the certificate of a server that is reached at 127.0.0.1.
func forLoopback() *x509.Certificate {
	return &x509.Certificate{
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
}

// serve is a TLS server for the length of the test.
func serve(t testing.TB, cert tls.Certificate, h http.HandlerFunc) *httptest.Server {
	s := httptest.NewUnstartedServer(h)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	s.EnableHTTP2 = true
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that are meant to fail
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// client is an enrolled client of a server with this behaviour.
func client(t testing.TB, h http.HandlerFunc) (*Client, *Link) {
	t.Helper()
	ca := newAuthority(t)
	return clientOf(t, ca, serve(t, ca.issue(t, forLoopback(), ca.cert), h).URL)
}

func clientOf(t testing.TB, ca *authority, url string) (*Client, *Link) {
	t.Helper()
	link := new(Link)
	c, err := NewClient(Identity{CentralURL: url, CA: ca.pem(), SiteID: siteID, Secret: "s3cret"}, ClientOptions{Link: link, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, link
}

// answer sends JSON as central does.
func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v)
}

// refusal sends a problem as central does.
func refusal(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", wire.MediaTypeProblem+"; charset=utf-8")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(wire.Problem{Status: status, Detail: detail})
}

// cut ends the connection in place of an answer.
func cut(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// recorder keeps what a server was sent.
type recorder struct {
	mu       sync.Mutex
	requests []*http.Request
	bodies   []string
}

func (r *recorder) record(req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests, r.bodies = append(r.requests, req), append(r.bodies, string(body))
}

func (r *recorder) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.requests)
}

func (r *recorder) last() (*http.Request, string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.requests[len(r.requests)-1], r.bodies[len(r.bodies)-1]
}

func mustNotTell(t testing.TB, err error, secrets ...string) {
	t.Helper()
	for _, secret := range secrets {
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("the error tells a secret: %v", err)
		}
	}
}
