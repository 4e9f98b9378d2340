package uplink

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"

	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/wire"
)

// ErrWrongCA says that whoever answers at central's address is not the central that made the join token.
var ErrWrongCA = errors.New("the server's CA is not the one in the join token")

// Enroll makes the agent that of the join token's site and leaves its identity in the state folder. Central's CA is
// checked against the token before anything is sent or written. The secret is made here and only its hash is sent; it
// is kept before it is sent, so that a second Enroll with the same token can ask again for an answer that was lost.
// After an error the identity is what it was. Errors: ErrWrongCA, central's *wire.Refusal.
func Enroll(ctx context.Context, state, centralURL string, token JoinToken, hello wire.Hello) (Identity, error) {
	base, err := parseCentralURL(centralURL)
	if err != nil {
		return Identity{}, err
	}
	ca, err := findCA(ctx, base, token.Pin)
	if err != nil {
		return Identity{}, fmt.Errorf("reach central: %w", err)
	}
	id, err := pendingIdentity(state, token)
	if err != nil {
		return Identity{}, err
	}
	id.CentralURL = base.String()
	id.CA = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw}))
	if err := id.register(ctx, base, ca, token, hello); err != nil {
		if refusedForGood(err) {
			err = errors.Join(err, os.Remove(filepath.Join(state, pendingFile)))
		}
		return Identity{}, fmt.Errorf("enrol: %w", err)
	}
	if err := writeJSON(filepath.Join(state, identityFile), id); err != nil {
		return Identity{}, fmt.Errorf("keep the enrolment: %w", err)
	}
	_ = os.Remove(filepath.Join(state, pendingFile)) // the next Enroll does not mind it
	return id, nil
}

// register has central take the agent, whose site it fills in.
func (id *Identity) register(ctx context.Context, base *url.URL, ca *x509.Certificate, token JoinToken, hello wire.Hello) error {
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	client := newClient(base, roots, "", new(Link))
	defer client.Close()

	sum := sha256.Sum256([]byte(id.Secret))
	host, _ := os.Hostname() // for people to read
	var answer wire.Registered
	err := client.call(ctx, http.MethodPost, wire.PathRegister, nil, wire.Register{
		Hello: hello, JoinToken: token.text, CredentialSHA256: hex.EncodeToString(sum[:]), Hostname: host,
	}, &answer)
	if err != nil {
		return err
	}
	if _, err := uuid.Parse(answer.SiteID); err != nil {
		return fmt.Errorf("central named no site: %w", err)
	}
	id.SiteID, id.SiteName = answer.SiteID, answer.SiteName
	return nil
}

// refusedForGood says whether central will say no to this token again. There is no credential yet, so 401 and 403 are
// about the token.
func refusedForGood(err error) bool {
	r, ok := errors.AsType[*wire.Refusal](err)
	return ok && (r.Final() || r.Status == http.StatusUnauthorized || r.Status == http.StatusForbidden)
}

// findCA returns the CA of the pin, which is also that of the server at central's address. It shakes hands and sends
// nothing.
func findCA(ctx context.Context, base *url.URL, pin [sha256.Size]byte) (*x509.Certificate, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTime+shakeTime)
	defer cancel()
	host, port := base.Hostname(), base.Port()
	if port == "" {
		port = "443"
	}
	var ca *x509.Certificate
	dialer := tls.Dialer{Config: &tls.Config{
		MinVersion: tls.VersionTLS12,
		ServerName: host,
		// The check is ours: the pin replaces a list of trusted CAs.
		InsecureSkipVerify: true,
		VerifyConnection: func(cs tls.ConnectionState) (err error) {
			ca, err = verifyPinned(cs.PeerCertificates, host, pin)
			return err
		},
	}}
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(host, port))
	if err != nil {
		return nil, err
	}
	_ = conn.Close() // nothing was sent that could be lost
	return ca, nil
}

// verifyPinned finds the CA of the pin in what the server presented and verifies the server against it alone. The
// host is not taken from the handshake, which knows no IP addresses.
func verifyPinned(presented []*x509.Certificate, host string, pin [sha256.Size]byte) (*x509.Certificate, error) {
	roots, others := x509.NewCertPool(), x509.NewCertPool()
	var ca *x509.Certificate
	for _, cert := range presented {
		sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
		if subtle.ConstantTimeCompare(sum[:], pin[:]) == 1 {
			ca = cert
			roots.AddCert(cert)
		} else {
			others.AddCert(cert)
		}
	}
	if ca == nil {
		return nil, ErrWrongCA
	}
	_, err := presented[0].Verify(x509.VerifyOptions{DNSName: host, Roots: roots, Intermediates: others})
	return ca, err
}

// pendingIdentity returns the identity that an earlier try with the same token began, or begins one.
func pendingIdentity(state string, token JoinToken) (Identity, error) {
	path := filepath.Join(state, pendingFile)
	var pending struct {
		TokenID string `json:"token_id"`
		Secret  string `json:"secret"`
	}
	text, err := os.ReadFile(path)
	if err == nil && json.Unmarshal(text, &pending) == nil && pending.TokenID == token.ID && pending.Secret != "" {
		return Identity{Secret: pending.Secret}, nil
	}
	var secret [32]byte
	rand.Read(secret[:])
	pending.TokenID, pending.Secret = token.ID, base64.RawURLEncoding.EncodeToString(secret[:])
	if err := os.MkdirAll(state, 0o700); err != nil {
		return Identity{}, fmt.Errorf("make the state folder: %w", err)
	}
	if err := writeJSON(path, pending); err != nil {
		return Identity{}, fmt.Errorf("keep the agent's secret: %w", err)
	}
	return Identity{Secret: pending.Secret}, nil
}
