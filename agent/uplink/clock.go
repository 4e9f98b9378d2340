package uplink

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pureboot/pureboot/central/wire"
)

// clockFile holds the latest time that central told.
const clockFile = "clock.json"

// keepEvery is how far central's time has to go on before it is kept again.
const keepEvery = time.Hour

// Clock is the time that certificates are checked at: that of the machine, but never before the program was built, and
// never before what central said last. So a machine whose clock starts in 1970 talks to central all the same, before
// anybody has set the clock, and takes no certificate that expired long ago. It is safe for concurrent use. The zero
// Clock, and nil, are the machine's own.
type Clock struct {
	state string // folder; empty: nothing is kept
	log   *slog.Logger
	now   func() time.Time // nil means time.Now

	mu    sync.Mutex
	floor time.Time
	since time.Time // when the floor was raised, of the monotonic clock: it goes right, whatever the other one shows
	kept  time.Time
	until time.Time // to when the certificate is valid that central presented last; zero before that
}

// LoadClock returns the clock of an agent with this state folder that was built then; zero means that nobody knows.
func LoadClock(state string, built time.Time, log *slog.Logger) *Clock {
	c := &Clock{state: state, log: log, floor: built}
	var kept struct {
		CentralTime time.Time `json:"central_time"`
	}
	text, err := os.ReadFile(filepath.Join(state, clockFile))
	if err == nil && json.Unmarshal(text, &kept) == nil { // else it is as if central had said nothing yet
		c.kept = kept.CentralTime
		if kept.CentralTime.After(built) {
			c.floor = kept.CentralTime
		}
	}
	c.since = time.Now()
	return c
}

func (c *Clock) machine() time.Time {
	if c == nil || c.now == nil {
		return time.Now()
	}
	return c.now()
}

// Now returns the time.
func (c *Clock) Now() time.Time {
	now := c.machine()
	if c == nil {
		return now
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if floor := c.floor.Add(time.Since(c.since)); !c.floor.IsZero() && floor.After(now) {
		return floor
	}
	return now
}

// learn raises the floor to what central says, unless its CA, or the certificate that it has just presented, has expired
// by then: a central whose clock runs ahead by years must not keep the agent from it for good.
func (c *Clock) learn(said, expires time.Time) {
	if c == nil || !said.Before(expires) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !said.After(c.floor) || !c.until.IsZero() && !said.Before(c.until) {
		return
	}
	c.floor, c.since = said, time.Now()
	if c.state == "" || said.Sub(c.kept) < keepEvery {
		return
	}
	if err := writeJSON(filepath.Join(c.state, clockFile), map[string]time.Time{"central_time": said}); err != nil {
		c.log.Warn("central's time not kept", "err", err) // the next heartbeat says it again
		return
	}
	c.kept = said
}

// config returns how a client of the host does TLS, whose certificate has to be of one of the roots.
func (c *Clock) config(host string, roots *x509.CertPool) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		// The check is ours, for the time of it.
		InsecureSkipVerify: true,
		VerifyConnection: func(cs tls.ConnectionState) error {
			return c.verify(cs.PeerCertificates, host, roots)
		},
	}
}

var errAgent = errors.New("the server is a site's agent and not central")

// verify checks the certificate of a server, which is the first that it presented. The host is not taken from the
// handshake, which knows no IP addresses. A certificate says that the time of its NotBefore has come: so a clock that is
// slow by more than its floor knows is taken to be that late.
func (c *Clock) verify(presented []*x509.Certificate, host string, roots *x509.CertPool) error {
	at, others := c.Now(), x509.NewCertPool()
	for i, cert := range presented {
		if i > 0 {
			others.AddCert(cert)
		}
		if cert.NotBefore.After(at) {
			at = cert.NotBefore
		}
	}
	if slices.ContainsFunc(presented[0].URIs, func(u *url.URL) bool { return strings.HasPrefix(u.String(), wire.SiteURN) }) {
		return errAgent // which central's CA made too
	}
	_, err := presented[0].Verify(x509.VerifyOptions{DNSName: host, Roots: roots, Intermediates: others, CurrentTime: at})
	if err == nil && c != nil {
		c.mu.Lock()
		c.until = presented[0].NotAfter
		c.mu.Unlock()
	}
	return err
}
