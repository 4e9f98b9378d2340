package central

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/pureboot/pureboot/durable"
)

// identity is what central proves itself with: the operator's certificate, or one of its own CA. The chain that a
// client is shown ends with the CA's certificate, so that an agent which knows only its pin can check it.
type identity struct {
	pin   [sha256.Size]byte // of the last certificate of the chain
	dir   string
	names []string
	ca    *authority // nil with the operator's certificate
	now   func() time.Time
	log   *slog.Logger

	mu   sync.Mutex
	cert *tls.Certificate // its Leaf is set; replaced, never changed
}

// loadIdentity reads the certificate, and makes what is missing in the data folder.
func loadIdentity(cfg Config, now func() time.Time, log *slog.Logger) (*identity, error) {
	id := &identity{dir: cfg.DataDir, now: now, log: log}
	if cfg.TLS.Cert != "" {
		return id, id.useOperators(cfg.TLS)
	}
	var err error
	if id.ca, err = loadAuthority(cfg.DataDir, now()); err != nil {
		return nil, err
	}
	id.pin, id.names = SPKIHash(id.ca.cert), certificateNames(cfg)
	if id.cert, err = id.kept(); err != nil {
		return nil, err
	}
	if id.cert == nil {
		id.cert, err = id.renew()
	}
	return id, err
}

// useOperators reads the files of the configuration.
func (id *identity) useOperators(files TLS) error {
	cert, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		return fmt.Errorf("read tls.cert and tls.key: %w", err)
	}
	last, err := x509.ParseCertificate(cert.Certificate[len(cert.Certificate)-1])
	if err != nil {
		return fmt.Errorf("read tls.cert: %w", err)
	}
	if id.now().After(cert.Leaf.NotAfter) {
		id.log.Warn("the certificate of tls.cert has expired", "expired", cert.Leaf.NotAfter)
	}
	id.cert, id.pin = &cert, SPKIHash(last)
	return nil
}

// certificateNames are the names under which clients may ask for central, in an order that does not change.
func certificateNames(cfg Config) []string {
	set := map[string]bool{"localhost": true, "127.0.0.1": true, "::1": true}
	for _, name := range cfg.TLS.Names {
		set[strings.ToLower(name)] = true
	}
	if u, err := url.Parse(cfg.PublicURL); err == nil && u.Hostname() != "" {
		set[strings.ToLower(u.Hostname())] = true
	}
	if host, err := os.Hostname(); err == nil && validName(host) {
		set[strings.ToLower(host)] = true
	}
	return slices.Sorted(maps.Keys(set))
}

// config returns how central does TLS.
func (id *identity) config() *tls.Config {
	config := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: id.certificate}
	if id.ca != nil { // an agent may prove itself by a certificate
		config.ClientAuth, config.ClientCAs = tls.VerifyClientCertIfGiven, x509.NewCertPool()
		config.ClientCAs.AddCert(id.ca.cert)
	}
	return config
}

// certificate returns the certificate for a handshake. Of central's own CA it is made anew before it expires, also
// while central runs for years.
func (id *identity) certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	id.mu.Lock()
	defer id.mu.Unlock()
	if id.ca != nil && !id.lasts(id.cert.Leaf) {
		cert, err := id.renew()
		if err != nil { // there is still a month to repair what is wrong
			id.log.Error("cannot renew the certificate", "err", err)
			return id.cert, nil
		}
		id.cert = cert
	}
	return id.cert, nil
}

// lasts says whether a certificate is good, and for a while: one that was made by a clock that was ahead is not yet.
func (id *identity) lasts(leaf *x509.Certificate) bool {
	now := id.now()
	return !now.Before(leaf.NotBefore) && leaf.NotAfter.Sub(now) > renewal
}

func (id *identity) files() (cert, key string) {
	return filepath.Join(id.dir, "server.crt"), filepath.Join(id.dir, "server.key")
}

// kept returns the certificate made earlier if it still serves, else nil.
func (id *identity) kept() (*tls.Certificate, error) {
	certFile, keyFile := id.files()
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("read the certificate: %w", err)
	}
	if err != nil || cert.Leaf.CheckSignatureFrom(id.ca.cert) != nil || !id.lasts(cert.Leaf) {
		return nil, nil // missing, torn between its two files, or of a CA that was replaced
	}
	names := slices.Clone(cert.Leaf.DNSNames)
	for _, ip := range cert.Leaf.IPAddresses {
		names = append(names, ip.String())
	}
	slices.Sort(names)
	if !slices.Equal(names, id.names) {
		return nil, nil
	}
	return id.chain(cert.Leaf, cert.PrivateKey), nil
}

// renew makes a certificate with a key of its own and keeps both.
func (id *identity) renew() (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a certificate: %w", err)
	}
	leaf, err := id.ca.issue(id.names, key.Public(), id.now())
	if err != nil {
		return nil, fmt.Errorf("make a certificate: %w", err)
	}
	certFile, keyFile := id.files()
	if err = writeKey(keyFile, key); err == nil {
		err = durable.Replace(certFile, pemOf(leaf, id.ca.cert), 0o644)
	}
	if errors.Is(err, syscall.ENOSPC) { // the next start makes another, and clients trust the CA
		id.log.Warn("the certificate is kept in memory alone", "err", err)
	} else if err != nil {
		return nil, fmt.Errorf("keep the certificate: %w", err)
	}
	id.log.Info("made a certificate", "names", strings.Join(id.names, " "), "expires", leaf.NotAfter)
	return id.chain(leaf, key), nil
}

func (id *identity) chain(leaf *x509.Certificate, key crypto.PrivateKey) *tls.Certificate {
	return &tls.Certificate{Certificate: [][]byte{leaf.Raw, id.ca.cert.Raw}, PrivateKey: key, Leaf: leaf}
}
