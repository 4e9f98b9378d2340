package central

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// clock is a time that tests move.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

func identify(t *testing.T, cfg Config, c *clock) *identity {
	t.Helper()
	id, err := loadIdentity(cfg, c.now, quiet())
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// shake returns the certificates that a client is shown which asks for name and trusts what roots says.
func shake(t *testing.T, id *identity, name string, client *tls.Config) ([]*x509.Certificate, error) {
	t.Helper()
	near, far := net.Pipe()
	defer near.Close()
	done := make(chan error, 1)
	go func() {
		defer far.Close()
		server := tls.Server(far, id.config())
		done <- server.Handshake()
	}()
	client.ServerName = name
	client.Time = id.now
	conn := tls.Client(near, client)
	err := conn.Handshake()
	near.Close()
	<-done
	return conn.ConnectionState().PeerCertificates, err
}

// Programs that begin at once in one folder, as central and its init, have one CA.
func TestTwoThatBeginAtOnceHaveOneCA(t *testing.T) {
	c := &clock{time.Now()}
	cfg := Config{DataDir: t.TempDir()}
	ids := make([]*identity, 8)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			var err error
			if ids[i], err = loadIdentity(cfg, c.now, quiet()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	kept := identify(t, cfg, c)
	for i, id := range ids {
		if id == nil || id.pin != kept.pin {
			t.Errorf("program %d has a CA of its own", i)
		}
	}
}

func trusting(t *testing.T, files ...string) *tls.Config {
	t.Helper()
	pool := x509.NewCertPool()
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil || !pool.AppendCertsFromPEM(text) {
			t.Fatal("no certificate", err)
		}
	}
	return &tls.Config{RootCAs: pool}
}

func TestCentralMakesItsOwnCA(t *testing.T) {
	c := &clock{time.Now()}
	cfg := Config{DataDir: t.TempDir(), PublicURL: "https://Boot.example:8443", TLS: TLS{Names: []string{"10.1.2.3", "boot2.example"}}}
	id := identify(t, cfg, c)
	caFile := filepath.Join(cfg.DataDir, "ca.crt")
	for _, name := range []string{"localhost", "127.0.0.1", "::1", "boot.example", "boot2.example", "10.1.2.3"} {
		chain, err := shake(t, id, name, trusting(t, caFile))
		if err != nil {
			t.Errorf("as %s: %v", name, err)
			continue
		}
		// An agent that has only the pin finds the CA in the chain.
		if last := chain[len(chain)-1]; len(chain) != 2 || SPKIHash(last) != id.pin || !last.IsCA {
			t.Errorf("the chain has %d certificates, the last is %s", len(chain), last.Subject)
		}
	}
	if _, err := shake(t, id, "other.example", trusting(t, caFile)); err == nil {
		t.Error("it passes for other.example")
	}
	if _, err := shake(t, id, "localhost", &tls.Config{RootCAs: x509.NewCertPool()}); err == nil {
		t.Error("whoever does not know the CA trusts it")
	}
	old := trusting(t, caFile)
	old.MaxVersion = tls.VersionTLS11
	if _, err := shake(t, id, "localhost", old); err == nil {
		t.Error("TLS 1.1 is spoken")
	}
	for name, want := range map[string]os.FileMode{"ca.key": 0o600, "server.key": 0o600} {
		if info, err := os.Stat(filepath.Join(cfg.DataDir, name)); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	if left, err := filepath.Glob(filepath.Join(cfg.DataDir, ".*")); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestACertificateIsKeptWhileItServes(t *testing.T) {
	c := &clock{time.Now()}
	cfg := Config{DataDir: t.TempDir()}
	first := identify(t, cfg, c)
	same := func(a, b *identity) bool { return bytes.Equal(a.cert.Certificate[0], b.cert.Certificate[0]) }
	if !same(first, identify(t, cfg, c)) {
		t.Error("a restart makes another")
	}
	cfg.TLS.Names = []string{"new.example"}
	named := identify(t, cfg, c)
	if same(first, named) || !slices.Contains(named.cert.Leaf.DNSNames, "new.example") {
		t.Error("a new name makes no new certificate")
	}
	c.at = c.at.Add(serverLife - renewal + time.Hour)
	if same(named, identify(t, cfg, c)) {
		t.Error("one about to expire is kept over a restart")
	}
	if first.pin != named.pin {
		t.Error("the CA changed")
	}
	// Two files of which only one was written.
	key, err := os.ReadFile(filepath.Join(cfg.DataDir, "ca.key"))
	if err := errors.Join(err, os.WriteFile(filepath.Join(cfg.DataDir, "server.key"), key, 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := shake(t, identify(t, cfg, c), "new.example", trusting(t, filepath.Join(cfg.DataDir, "ca.crt"))); err != nil {
		t.Error(err)
	}
}

func TestACertificateIsRenewedWhileCentralRuns(t *testing.T) {
	c := &clock{time.Now()}
	cfg := Config{DataDir: t.TempDir()}
	id := identify(t, cfg, c)
	roots := func() *tls.Config { return trusting(t, filepath.Join(cfg.DataDir, "ca.crt")) }
	before, err := shake(t, id, "localhost", roots())
	if err != nil {
		t.Fatal(err)
	}
	for range 8 { // years
		c.at = c.at.Add(serverLife - renewal + time.Hour)
		after, err := shake(t, id, "localhost", roots())
		if err != nil {
			t.Fatal(err)
		}
		if after[0].Equal(before[0]) || !after[1].Equal(before[1]) {
			t.Fatal("the certificate is the same, or the CA is not")
		}
		before = after
	}
	// A clock that was wrong and is set right.
	c.at = c.at.Add(-2 * serverLife)
	if before, err = shake(t, id, "localhost", roots()); err != nil {
		t.Errorf("made by a clock that was ahead: %v", err)
	}
	// A full disk does not take central off the air while the certificate is good.
	if err := os.RemoveAll(cfg.DataDir); err != nil {
		t.Fatal(err)
	}
	c.at = c.at.Add(serverLife - renewal + time.Hour)
	if after, err := id.certificate(nil); err != nil || !after.Leaf.Equal(before[0]) {
		t.Errorf("what cannot be renewed is not served: %v", err)
	}
}

func TestADamagedCAIsNotReplaced(t *testing.T) {
	c := &clock{time.Now()}
	for name, damage := range map[string]func(dir string) error{
		"key lost":  func(dir string) error { return os.Remove(filepath.Join(dir, "ca.key")) },
		"key torn":  func(dir string) error { return os.WriteFile(filepath.Join(dir, "ca.key"), nil, 0o600) },
		"cert torn": func(dir string) error { return os.WriteFile(filepath.Join(dir, "ca.crt"), []byte("x"), 0o600) },
		"another key": func(dir string) error {
			return os.Rename(filepath.Join(dir, "server.key"), filepath.Join(dir, "ca.key"))
		},
		"expired": func(string) error { c.at = c.at.Add(caLife + time.Hour); return nil },
	} {
		cfg := Config{DataDir: t.TempDir()}
		identify(t, cfg, c)
		if err := damage(cfg.DataDir); err != nil {
			t.Fatal(err)
		}
		before, err := os.ReadFile(filepath.Join(cfg.DataDir, "ca.crt"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := loadIdentity(cfg, c.now, quiet()); err == nil || !strings.Contains(err.Error(), "CA") {
			t.Errorf("%s: %v", name, err)
		}
		if after, err := os.ReadFile(filepath.Join(cfg.DataDir, "ca.crt")); err != nil || !bytes.Equal(before, after) {
			t.Errorf("%s: the CA was replaced, %v", name, err)
		}
	}
}

func TestAnOperatorsCertificate(t *testing.T) {
	c := &clock{time.Now()}
	maker := Config{DataDir: t.TempDir(), TLS: TLS{Names: []string{"own.example"}}}
	made := identify(t, maker, c)
	cfg := Config{DataDir: t.TempDir(), TLS: TLS{
		Cert: filepath.Join(maker.DataDir, "server.crt"), Key: filepath.Join(maker.DataDir, "server.key"),
	}}
	id := identify(t, cfg, c)
	if id.pin != made.pin {
		t.Error("the pin is not that of the last certificate")
	}
	chain, err := shake(t, id, "own.example", trusting(t, filepath.Join(maker.DataDir, "ca.crt")))
	if err != nil || len(chain) != 2 {
		t.Errorf("%d certificates, %v", len(chain), err)
	}
	if left, err := os.ReadDir(cfg.DataDir); err != nil || len(left) != 0 {
		t.Errorf("it made %v, %v", left, err)
	}
	cfg.TLS.Key = filepath.Join(maker.DataDir, "ca.key")
	if _, err := loadIdentity(cfg, c.now, quiet()); err == nil || !strings.Contains(err.Error(), "tls.key") {
		t.Errorf("with another key: %v", err)
	}
}
