package uplink

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/durable"
)

// certificateFile holds the key and after it the certificate with its chain, in PEM: one file, so that they are of each
// other whatever happens.
const certificateFile = "https.pem"

// How often it is looked after the certificate, and how soon after a failure.
const (
	lookEvery = time.Hour
	lookAgain = time.Minute
)

// ErrNoCertificate says that central has made none yet.
var ErrNoCertificate = errors.New("there is no certificate yet: central has to be reached once")

// Certificate is what the agent's HTTPS listener shows. Central makes it and, by Run, the next ones. It is safe for
// concurrent use.
type Certificate struct {
	CertificateOptions
	current atomic.Pointer[tls.Certificate] // its Leaf is set; nil: none yet
	void    chan struct{}                   // holds one wish for another at most
}

// CertificateOptions says what a certificate is for.
type CertificateOptions struct {
	State  string   // folder that it is kept in with its key
	Names  []string // names and addresses that the agent goes by; central may leave some out
	Clock  *Clock   // nil means the machine's own
	Log    *slog.Logger
	Client interface { // a *Client; nil while not enrolled
		Certify(ctx context.Context, csr string) (string, error)
	}
}

// LoadCertificate returns the certificate that is kept in the state folder. One that cannot be read is none.
func LoadCertificate(o CertificateOptions) *Certificate {
	c := &Certificate{CertificateOptions: o, void: make(chan struct{}, 1)}
	text, err := os.ReadFile(filepath.Join(o.State, certificateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return c
	}
	if err == nil {
		err = c.use(text)
	}
	if err != nil {
		o.Log.Warn("certificate not readable, asking for another one", "err", err)
	}
	return c
}

// use has the listener show the certificate of a file.
func (c *Certificate) use(text []byte) error {
	cert, err := tls.X509KeyPair(text, text)
	if err != nil {
		return err
	}
	c.current.Store(&cert)
	return nil
}

// Get is for tls.Config.GetCertificate.
func (c *Certificate) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if cert := c.current.Load(); cert != nil {
		return cert, nil
	}
	return nil, ErrNoCertificate
}

// Ready says that there is a certificate, and until when it is good.
func (c *Certificate) Ready() (until time.Time, ok bool) {
	cert := c.current.Load()
	if cert == nil {
		return time.Time{}, false
	}
	return cert.Leaf.NotAfter, true
}

// Run has central make a certificate where there is none, and another when a third of its life is left, until ctx ends. It
// asks once, too, if there is one that lacks a name. Meanwhile the one that there is is shown, even if it has expired.
func (c *Certificate) Run(ctx context.Context) error {
	for failures, due := 0, len(c.lacks()) > 0; ; {
		pause := lookEvery - mathrand.N(lookEvery/4) // a fleet that was installed at once does not ask at once
		if due = due || c.due(); due {
			if err := c.renew(ctx); err != nil {
				failures++
				pause = min(lookAgain<<min(failures-1, 6), lookEvery)
				pause -= mathrand.N(pause / 2)
				c.Log.Warn("no new certificate", "err", err, "failures", failures, "pause", pause)
			} else {
				failures, due = 0, false
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		case <-c.void:
			due = true
		}
	}
}

// usable returns the certificate if central can take it; nil: it cannot.
func (c *Certificate) usable() *tls.Certificate {
	cert := c.current.Load()
	if cert == nil || !c.Clock.Now().Before(cert.Leaf.NotAfter) {
		return nil
	}
	return cert
}

// replace has Run ask for another one, since central does not take this one.
func (c *Certificate) replace() {
	select {
	case c.void <- struct{}{}:
	default: // it is to be replaced already
	}
}

func (c *Certificate) due() bool {
	cert := c.current.Load()
	if cert == nil {
		return true
	}
	life := cert.Leaf.NotAfter.Sub(cert.Leaf.NotBefore)
	return cert.Leaf.NotAfter.Sub(c.Clock.Now()) < life/3
}

// lacks returns the names and addresses that the certificate is not for.
func (c *Certificate) lacks() []string {
	cert := c.current.Load()
	return slices.DeleteFunc(slices.Clone(c.Names), func(name string) bool { return cert != nil && cert.Leaf.VerifyHostname(name) == nil })
}

// renew has central certify a new key. What cannot be kept is shown all the same, until the agent ends.
func (c *Certificate) renew(ctx context.Context) error {
	key, csr, err := request(c.Names)
	if err != nil {
		return err
	}
	made, err := c.Client.Certify(ctx, csr)
	if err != nil {
		return err
	}
	text, err := keyed(key, made)
	if err == nil {
		err = c.use(text)
	}
	if err != nil {
		return fmt.Errorf("use the certificate that central made: %w", err)
	}
	leaf := c.current.Load().Leaf
	c.Log.Info("central made a certificate", "names", leaf.DNSNames, "addresses", leaf.IPAddresses, "left_out", c.lacks(), "expires", leaf.NotAfter)
	if err := durable.Replace(filepath.Join(c.State, certificateFile), text, 0o600); err != nil {
		c.Log.Error("certificate not kept", "err", err)
	}
	return nil
}

// Certify has central make a certificate for a request, PEM both.
func (c *Client) Certify(ctx context.Context, csr string) (string, error) {
	var made wire.Certificate
	err := c.call(ctx, http.MethodPost, wire.PathCertificate, nil, wire.CertificateRequest{CSR: csr}, &made)
	return made.Certificate, err
}

// request makes a key, and a request for a certificate with these names and addresses.
func request(names []string) (crypto.Signer, string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, "", fmt.Errorf("make a key: %w", err)
	}
	var template x509.CertificateRequest
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &template, key)
	if err != nil {
		return nil, "", fmt.Errorf("ask for a certificate: %w", err)
	}
	return key, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})), nil
}

// keyed is the file of a certificate and its key. It checks that they are of each other.
func keyed(key crypto.Signer, certificate string) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	if err := pem.Encode(&text, &pem.Block{Type: "PRIVATE KEY", Bytes: der}); err != nil {
		return nil, err
	}
	text.WriteString(certificate)
	_, err = tls.X509KeyPair(text.Bytes(), text.Bytes())
	return text.Bytes(), err
}
