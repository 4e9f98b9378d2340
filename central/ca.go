package central

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/pureboot/pureboot/durable"
)

// How long certificates are good for. They are valid for a day already when they are made, since an agent's clock
// may be slow, and a server's is made anew when a month is left.
const (
	caLife     = 10 * 365 * 24 * time.Hour
	serverLife = 397 * 24 * time.Hour
	slowClocks = 24 * time.Hour
	renewal    = 30 * 24 * time.Hour
)

// authority is the CA that central makes for itself: ca.crt and ca.key in data_dir.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// SPKIHash returns what a join token pins: the SHA-256 of the certificate's SubjectPublicKeyInfo.
func SPKIHash(cert *x509.Certificate) [sha256.Size]byte {
	return sha256.Sum256(cert.RawSubjectPublicKeyInfo)
}

// loadAuthority reads the CA of a data folder, and makes it if there is none. Agents trust it for good, so one that
// is there but unusable is an error and never replaced.
func loadAuthority(dir string, now time.Time) (*authority, error) {
	certFile, keyFile := filepath.Join(dir, "ca.crt"), filepath.Join(dir, "ca.key")
	text, err := os.ReadFile(certFile)
	if errors.Is(err, fs.ErrNotExist) {
		// Of two programs that begin at once in one folder the second waits, and finds the CA of the first.
		lock, lockErr := lockKey(keyFile)
		if lockErr != nil {
			return nil, fmt.Errorf("make a CA: %w", lockErr)
		}
		defer lock.Close()
		if text, err = os.ReadFile(certFile); errors.Is(err, fs.ErrNotExist) {
			return makeAuthority(certFile, keyFile, now)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("read the CA: %w", err)
	}
	certs, err := parseCertificates(text)
	if err != nil {
		return nil, fmt.Errorf("read the CA: %s: %w", certFile, err)
	}
	key, err := readKey(keyFile)
	if err != nil {
		return nil, fmt.Errorf("read the CA: %w", err)
	}
	ca := &authority{certs[0], key}
	switch public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool }); {
	case !ok || !public.Equal(ca.cert.PublicKey):
		return nil, fmt.Errorf("read the CA: %s is not the key of %s", keyFile, certFile)
	case now.After(ca.cert.NotAfter):
		return nil, fmt.Errorf("read the CA: %s expired on %s", certFile, ca.cert.NotAfter.Format(time.DateOnly))
	}
	return ca, nil
}

// lockKey waits for a lock on the file of a key, which is made if it is missing. Closing it gives the lock back.
func lockKey(file string) (*os.File, error) {
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for err = syscall.EINTR; err == syscall.EINTR; {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", file, err)
	}
	return f, nil
}

// makeAuthority makes a CA. The certificate is written last: without it, a key is nobody's.
func makeAuthority(certFile, keyFile string, now time.Time) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a CA: %w", err)
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "PureBoot central CA"},
		NotBefore:             now.Add(-slowClocks),
		NotAfter:              now.Add(caLife),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	cert, err := sign(template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make a CA: %w", err)
	}
	if err := writeKey(keyFile, key); err != nil {
		return nil, fmt.Errorf("make a CA: %w", err)
	}
	if err := durable.Replace(certFile, pemOf(cert), 0o644); err != nil {
		return nil, fmt.Errorf("make a CA: %w", err)
	}
	return &authority{cert, key}, nil
}

// issue makes a certificate of a server with these names and addresses.
func (a *authority) issue(names []string, public crypto.PublicKey, now time.Time) (*x509.Certificate, error) {
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "PureBoot central"},
		NotBefore:   now.Add(-slowClocks),
		NotAfter:    now.Add(serverLife),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	return sign(template, a.cert, public, a.key)
}

func sign(template, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// parseCertificates reads the certificates of a PEM file; there is at least one.
func parseCertificates(text []byte) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		certs = append(certs, cert)
	}
	if len(certs) == 0 {
		return nil, errors.New("holds no certificate")
	}
	return certs, nil
}

func pemOf(certs ...*x509.Certificate) []byte {
	var text []byte
	for _, cert := range certs {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})...)
	}
	return text
}

func readKey(file string) (crypto.Signer, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s: holds no key", file)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%s: holds no key that signs", file)
	}
	return signer, nil
}

func writeKey(file string, key crypto.Signer) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return durable.Replace(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
}
