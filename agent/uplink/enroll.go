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
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/pureboot/pureboot/central/wire"
)

// Identity is what an enrolment leaves in state/identity.json, readable by the agent alone.
type Identity struct {
	CentralURL string `json:"central_url"`
	CA         string `json:"ca"` // PEM
	SiteID     string `json:"site_id"`
	SiteName   string `json:"site_name"`
	Secret     string `json:"secret"`
}

const (
	identityFile = "identity.json"
	pendingFile  = "identity.pending.json"
)

// ErrNotEnrolled says that the agent belongs to no central yet.
var ErrNotEnrolled = errors.New("not enrolled: run pureboot-agent init")

// LoadIdentity reads what Enroll left in the state folder.
func LoadIdentity(state string) (Identity, error) {
	var id Identity
	text, err := os.ReadFile(filepath.Join(state, identityFile))
	if errors.Is(err, fs.ErrNotExist) {
		return id, ErrNotEnrolled
	}
	if err != nil {
		return id, fmt.Errorf("read the enrolment: %w", err)
	}
	if err := json.Unmarshal(text, &id); err != nil {
		return id, fmt.Errorf("read the enrolment %s: %w", filepath.Join(state, identityFile), err)
	}
	return id, nil
}

// JoinToken is a parsed join token: pbj1.<SHA-256 of the CA's SubjectPublicKeyInfo>.<id>.<secret>.
type JoinToken struct {
	Pin  [sha256.Size]byte
	ID   string
	text string
}

// ParseJoinToken reads the text that central printed. Errors do not repeat it.
func ParseJoinToken(text string) (JoinToken, error) {
	t := JoinToken{text: strings.TrimSpace(text)}
	parts := strings.Split(t.text, ".")
	if len(parts) != 4 || parts[0] != "pbj1" || parts[2] == "" || len(parts[3]) < 32 || len(t.text) > 512 {
		return t, errors.New("the join token is not whole: want pbj1.<pin>.<id>.<secret> as central printed it")
	}
	pin, err := hex.DecodeString(parts[1])
	if err != nil || len(pin) != sha256.Size {
		return t, errors.New("the join token is not whole: its second part is no SHA-256 in hexadecimal")
	}
	t.Pin, t.ID = [sha256.Size]byte(pin), parts[2]
	return t, nil
}

// ErrWrongCA says that whoever answers at central's address is not the central that made the join token.
var ErrWrongCA = errors.New("the server's CA is not the one in the join token")

// Enroll makes the agent that of the join token's site and leaves its identity in the state folder. Central's CA is
// checked against the token before anything is sent. The secret is made here and only its hash is sent; it is kept
// before it is sent, so that a second Enroll with the same token can ask again for an answer that was lost. After an
// error no identity is written.
func Enroll(ctx context.Context, state, centralURL string, token JoinToken, hello wire.Hello) (Identity, error) {
	base, err := parseCentralURL(centralURL)
	if err != nil {
		return Identity{}, err
	}
	var ca *x509.Certificate // set by the handshake
	client := &Client{base: base, link: new(Link), http: httpClient(&tls.Config{
		MinVersion: tls.VersionTLS12,
		// The check is ours: the pin replaces a list of trusted CAs.
		InsecureSkipVerify: true,
		VerifyConnection: func(cs tls.ConnectionState) error {
			var err error
			ca, err = verifyPinned(cs, token.Pin)
			return err
		},
	})}
	defer client.Close()

	// A probe without content comes first: a wrong CA leaves nothing behind, not even a pending secret.
	if err := client.probe(ctx); err != nil {
		return Identity{}, err
	}
	id, err := pendingIdentity(state, token, base.String())
	if err != nil {
		return Identity{}, err
	}
	sum := sha256.Sum256([]byte(id.Secret))
	host, _ := os.Hostname()
	var answer wire.Registered
	err = client.call(ctx, "POST", wire.PathRegister, nil, wire.Register{
		Hello: hello, JoinToken: token.text, CredentialSHA256: hex.EncodeToString(sum[:]), Hostname: host,
	}, &answer)
	if err != nil {
		if r, ok := errors.AsType[*wire.Refusal](err); ok && r.Final() {
			err = errors.Join(err, os.Remove(filepath.Join(state, pendingFile)))
		}
		return Identity{}, fmt.Errorf("enrol: %w", err)
	}
	id.SiteID, id.SiteName = answer.SiteID, answer.SiteName
	id.CA = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw}))
	if err := writeJSON(filepath.Join(state, identityFile), id); err != nil {
		return Identity{}, fmt.Errorf("keep the enrolment: %w", err)
	}
	return id, os.Remove(filepath.Join(state, pendingFile))
}

// verifyPinned finds the CA of the pin in what the server presented and verifies the server against it alone.
func verifyPinned(cs tls.ConnectionState, pin [sha256.Size]byte) (*x509.Certificate, error) {
	pool, others := x509.NewCertPool(), x509.NewCertPool()
	var ca *x509.Certificate
	for _, cert := range cs.PeerCertificates {
		sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
		if subtle.ConstantTimeCompare(sum[:], pin[:]) == 1 {
			ca = cert
			pool.AddCert(cert)
		} else {
			others.AddCert(cert)
		}
	}
	if ca == nil {
		return nil, ErrWrongCA
	}
	_, err := cs.PeerCertificates[0].Verify(x509.VerifyOptions{
		DNSName: cs.ServerName, Roots: pool, Intermediates: others,
	})
	return ca, err
}

// probe makes the handshake happen.
func (c *Client) probe(ctx context.Context) error {
	req, err := c.request(ctx, "GET", "/readyz", nil, nil)
	if err != nil {
		return err
	}
	req.Header.Del("Authorization")
	res, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("reach central: %w", err)
	}
	return res.Body.Close()
}

// pendingIdentity returns the identity that an earlier try with the same token began, or begins one.
func pendingIdentity(state string, token JoinToken, centralURL string) (Identity, error) {
	path := filepath.Join(state, pendingFile)
	var pending struct {
		TokenID string `json:"token_id"`
		Identity
	}
	if text, err := os.ReadFile(path); err == nil {
		if json.Unmarshal(text, &pending) == nil && pending.TokenID == token.ID && pending.Secret != "" {
			pending.CentralURL = centralURL
			return pending.Identity, nil
		}
	}
	var secret [32]byte
	rand.Read(secret[:])
	pending.TokenID = token.ID
	pending.Identity = Identity{CentralURL: centralURL, Secret: base64.RawURLEncoding.EncodeToString(secret[:])}
	if err := os.MkdirAll(state, 0o700); err != nil {
		return Identity{}, fmt.Errorf("make the state folder: %w", err)
	}
	if err := writeJSON(path, pending); err != nil {
		return Identity{}, fmt.Errorf("keep the agent's secret: %w", err)
	}
	return pending.Identity, nil
}

// writeJSON replaces a file that only the agent may read; a crash leaves the old one or the new one, whole.
func writeJSON(path string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".tmp-*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // fails once renamed
	_, err = tmp.Write(append(text, '\n'))
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
