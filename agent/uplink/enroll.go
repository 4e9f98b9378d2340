package uplink

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
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
	"github.com/pureboot/pureboot/durable"
)

// ErrWrongCA says that whoever answers at central's address is not the central that made the join token.
var ErrWrongCA = errors.New("the server's CA is not the one in the join token")

// Joining is an agent that is to be enrolled.
type Joining struct {
	State      string // folder that the identity is left in; it need not exist
	CentralURL string
	Token      JoinToken
	Hello      wire.Hello
	Clock      *Clock // nil means the machine's own

	// Names and addresses for the certificate of the HTTPS listener; none: no certificate is asked for. Whether there is
	// one then is for LoadCertificate to find out.
	Names []string
}

// Enroll makes the agent that of the join token's site and leaves its identity in the state folder. Central's CA is
// checked against the token before anything is sent or written. The secret is made here and only its hash is sent; it
// is kept before it is sent, so that a second Enroll with the same token can ask again for an answer that was lost.
// After an error the identity is what it was. Errors: ErrWrongCA, central's *wire.Refusal.
func Enroll(ctx context.Context, j Joining) (Identity, error) {
	base, err := parseCentralURL(j.CentralURL)
	if err != nil {
		return Identity{}, err
	}
	ca, err := j.findCA(ctx, base)
	if err != nil {
		return Identity{}, fmt.Errorf("reach central: %w", err)
	}
	id, err := pendingIdentity(j.State, j.Token)
	if err != nil {
		return Identity{}, err
	}
	id.CentralURL = base.String()
	id.CA = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw}))
	if err := j.register(ctx, base, ca, &id); err != nil {
		if refusedForGood(err) {
			err = errors.Join(err, os.Remove(filepath.Join(j.State, pendingFile)))
		}
		return Identity{}, fmt.Errorf("enrol: %w", err)
	}
	if err := writeJSON(filepath.Join(j.State, identityFile), id); err != nil {
		return Identity{}, fmt.Errorf("keep the enrolment: %w", err)
	}
	_ = os.Remove(filepath.Join(j.State, pendingFile)) // the next Enroll does not mind it
	return id, nil
}

// register has central take the agent, whose site it fills in.
func (j Joining) register(ctx context.Context, base *url.URL, ca *x509.Certificate, id *Identity) error {
	client := newClient(base, ca, ClientOptions{Clock: j.Clock})
	defer client.Close()

	host, _ := os.Hostname() // for people to read
	ask := wire.Register{Hello: j.Hello, JoinToken: j.Token.text, CredentialSHA256: hashOfSecret(id.Secret), Hostname: host}
	var key crypto.Signer
	if len(j.Names) > 0 {
		var err error
		if key, ask.CSR, err = request(j.Names); err != nil {
			return err
		}
	}
	var answer wire.Registered
	if err := client.call(ctx, http.MethodPost, wire.PathRegister, nil, ask, &answer); err != nil {
		return err
	}
	if answer.Certificate != "" && key != nil {
		if text, err := keyed(key, answer.Certificate); err == nil { // else the agent asks again when it runs
			_ = durable.Replace(filepath.Join(j.State, certificateFile), text, 0o600)
		}
	}
	if _, err := uuid.Parse(answer.SiteID); err != nil {
		return fmt.Errorf("central named no site: %w", err)
	}
	j.Clock.learn(answer.ServerTime, ca.NotAfter)
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
func (j Joining) findCA(ctx context.Context, base *url.URL) (*x509.Certificate, error) {
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
			ca, err = j.verifyPinned(cs.PeerCertificates, host)
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

// verifyPinned finds the CA of the pin in what the server presented and verifies the server against it
// alone.
func (j Joining) verifyPinned(presented []*x509.Certificate, host string) (*x509.Certificate, error) {
	roots := x509.NewCertPool()
	var ca *x509.Certificate
	for _, cert := range presented {
		sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
		if subtle.ConstantTimeCompare(sum[:], j.Token.Pin[:]) == 1 {
			ca = cert
			roots.AddCert(cert)
		}
	}
	if ca == nil {
		return nil, ErrWrongCA
	}
	return ca, j.Clock.verify(presented, host, roots)
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
	pending.TokenID, pending.Secret = token.ID, newSecret()
	if err := durable.Folder(state, 0o700); err != nil {
		return Identity{}, fmt.Errorf("make the state folder: %w", err)
	}
	if err := writeJSON(path, pending); err != nil {
		return Identity{}, fmt.Errorf("keep the agent's secret: %w", err)
	}
	return Identity{Secret: pending.Secret}, nil
}
