package uplink

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pureboot/pureboot/central/wire"
)

// certifier makes certificates that are good for a while.
type certifier struct {
	ca   *authority
	life time.Duration

	mu     sync.Mutex
	made   []*x509.Certificate
	fails  int    // so many times from now on
	leaves string // name that is left out
}

func (c *certifier) Certify(_ context.Context, csr string) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fails > 0 {
		c.fails--
		return "", errors.New("central is away")
	}
	block, _ := pem.Decode([]byte(csr))
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return "", err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(int64(len(c.made) + 1)), NotBefore: time.Now(), NotAfter: time.Now().Add(c.life),
		DNSNames: request.DNSNames, IPAddresses: request.IPAddresses,
	}
	template.DNSNames = slices.DeleteFunc(template.DNSNames, func(name string) bool { return name == c.leaves })
	der, err := x509.CreateCertificate(rand.Reader, template, c.ca.cert, request.PublicKey, c.ca.key)
	if err != nil {
		return "", err
	}
	cert, err := x509.ParseCertificate(der)
	c.made = append(c.made, cert)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})) + c.ca.pem(), err
}

// count returns how many it has made, and the last one.
func (c *certifier) count() (n int, last *x509.Certificate) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n = len(c.made); n > 0 {
		last = c.made[n-1]
	}
	return n, last
}

// fail has it fail so many times, and returns how often it still had to before.
func (c *certifier) fail(times int) (before int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before, c.fails = c.fails, times
	return before
}

// leave has it leave a name out from now on.
func (c *certifier) leave(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leaves = name
}

// shows is the certificate that a handshake would be given now.
func (c *Certificate) shows(t *testing.T) *x509.Certificate {
	t.Helper()
	cert, err := c.Get(nil)
	if errors.Is(err, ErrNoCertificate) {
		return nil
	} else if err != nil {
		t.Fatal(err)
	}
	return cert.Leaf
}

// begin runs it until end is called.
func (c *Certificate) begin(t *testing.T) (end func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestTheCertificateIsRenewed(t *testing.T) {
	ca := newAuthority(t)
	synctest.Test(t, func(t *testing.T) {
		central := &certifier{ca: ca, life: 90 * 24 * time.Hour, fails: 5}
		o := CertificateOptions{State: t.TempDir(), Names: []string{"agent.example", "10.0.0.1"}, Log: slog.New(slog.DiscardHandler), Client: central}
		c := LoadCertificate(o)
		end := c.begin(t)
		synctest.Wait()
		if _, ok := c.Ready(); ok || c.shows(t) != nil {
			t.Error("it shows what nobody made")
		}
		time.Sleep(32 * time.Minute) // after 1, 2, 4, 8 and 16 at most
		if n, _ := central.count(); n != 1 || !slices.Equal(c.shows(t).DNSNames, []string{"agent.example"}) || len(c.shows(t).IPAddresses) != 1 {
			t.Fatalf("%d were made, the first is for %+v", n, c.shows(t))
		}
		time.Sleep(59 * 24 * time.Hour)
		if n, _ := central.count(); n != 1 {
			t.Errorf("%d were made while there was more than a third left", n)
		}
		time.Sleep(3 * 24 * time.Hour)
		n, second := central.count()
		if n != 2 || !c.shows(t).Equal(second) {
			t.Errorf("%d were made with a third left", n)
		}
		end()

		// After a restart it is the one that was kept, also where central is away until it has expired.
		if info, err := os.Stat(filepath.Join(o.State, certificateFile)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v", err)
		}
		central.fail(1 << 30)
		c = LoadCertificate(o)
		end = c.begin(t)
		time.Sleep(100 * 24 * time.Hour)
		if until, ok := c.Ready(); !ok || !until.Equal(second.NotAfter) || !c.shows(t).Equal(second) {
			t.Error("the one that expired is not shown any more")
		}
		if tries := 1<<30 - central.fail(0); tries > 100*30 {
			t.Errorf("central was asked %d times", tries)
		}
		time.Sleep(lookEvery)
		if n, third := central.count(); n != 3 || !c.shows(t).Equal(third) {
			t.Errorf("%d were made", n)
		}
		end()
	})
}

// TestACertificateThatLacksANameIsAskedForAgain at the agent's next start, and once then: central may leave it out for good.
func TestACertificateThatLacksANameIsAskedForAgain(t *testing.T) {
	ca := newAuthority(t)
	synctest.Test(t, func(t *testing.T) {
		central := &certifier{ca: ca, life: 90 * 24 * time.Hour, leaves: "agent.example"}
		o := CertificateOptions{State: t.TempDir(), Names: []string{"agent.example", "10.0.0.1"}, Log: slog.New(slog.DiscardHandler), Client: central}
		for starts := 1; starts <= 3; starts++ {
			end := LoadCertificate(o).begin(t)
			time.Sleep(48 * time.Hour)
			if n, _ := central.count(); n != starts {
				t.Errorf("%d were made in %d starts", n, starts)
			}
			end()
		}
		central.leave("")
		for range 2 {
			c := LoadCertificate(o)
			end := c.begin(t)
			time.Sleep(48 * time.Hour)
			if n, _ := central.count(); n != 4 || c.shows(t).VerifyHostname("agent.example") != nil || c.shows(t).VerifyHostname("10.0.0.1") != nil {
				t.Errorf("%d were made, the last is for %q", n, c.shows(t).DNSNames)
			}
			end()
		}
	})
}

func TestADamagedCertificateIsNone(t *testing.T) {
	state := t.TempDir()
	if err := os.WriteFile(filepath.Join(state, certificateFile), []byte("-----BEGIN"), 0o600); err != nil {
		t.Fatal(err)
	}
	if c := LoadCertificate(CertificateOptions{State: state, Log: slog.New(slog.DiscardHandler)}); c.shows(t) != nil {
		t.Error("it shows something")
	}
}

// TestEnrolmentBringsACertificate with the one request that it is, and without one it is an enrolment all the same.
func TestEnrolmentBringsACertificate(t *testing.T) {
	for name, want := range map[string]bool{"central makes one": true, "central makes none": false, "central makes another's": false} {
		t.Run(name, func(t *testing.T) {
			ca := newAuthority(t)
			maker := &certifier{ca: ca, life: time.Hour}
			s := serve(t, ca.issue(t, forLoopback(), ca.cert), func(w http.ResponseWriter, r *http.Request) {
				var reg wire.Register
				json.NewDecoder(r.Body).Decode(&reg)
				registered := wire.Registered{SiteID: siteID, SiteName: "berlin", ServerTime: time.Now()}
				switch name {
				case "central makes another's":
					_, reg.CSR, _ = request([]string{"agent.example"})
					fallthrough
				case "central makes one":
					registered.Certificate, _ = maker.Certify(r.Context(), reg.CSR)
				}
				answer(w, registered)
			})
			state := t.TempDir()
			_, err := Enroll(t.Context(), Joining{
				State: state, CentralURL: s.URL, Token: ca.token(t, "one"), Hello: hello, Names: []string{"agent.example"},
			})
			if err != nil {
				t.Fatal(err)
			}
			c := LoadCertificate(CertificateOptions{State: state, Log: slog.New(slog.DiscardHandler)})
			if leaf := c.shows(t); (leaf != nil) != want || want && leaf.VerifyHostname("agent.example") != nil {
				t.Errorf("it shows %+v", leaf)
			}
		})
	}
}
