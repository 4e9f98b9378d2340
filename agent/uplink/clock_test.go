package uplink

import (
	"crypto/x509"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pureboot/pureboot/central/wire"
)

// epoch is what a clock without a battery says.
var epoch = time.Date(1970, 1, 1, 0, 0, 40, 0, time.UTC)

// slow is the clock of a machine that came up in 1970.
func slow(state string, built time.Time) *Clock {
	c := LoadClock(state, built, slog.New(slog.DiscardHandler))
	c.now = func() time.Time { return epoch }
	return c
}

func TestClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		built := time.Now().AddDate(0, -2, 0)
		machine := epoch
		c := slow("", built)
		c.now = func() time.Time { return machine }
		is := func(want time.Time) {
			t.Helper()
			if got := c.Now(); !got.Equal(want) {
				t.Errorf("it is %v, want %v", got, want)
			}
		}
		is(built)
		time.Sleep(time.Hour) // it goes right, from a wrong start
		is(built.Add(time.Hour))
		told, expires := time.Now(), time.Now().AddDate(10, 0, 0)
		c.learn(told, expires)
		is(told)
		c.learn(told.Add(-time.Minute), expires) // an answer that was late
		is(told)
		c.learn(expires.Add(time.Second), expires) // a central whose clock runs away
		is(told)
		machine = told.Add(48 * time.Hour) // somebody sets the machine's clock
		is(machine)
		machine = epoch // and unsets it
		time.Sleep(time.Hour)
		is(told.Add(time.Hour))
		c.learn(told.Add(2*time.Hour), expires)
		is(told.Add(2 * time.Hour))
	})
	var none *Clock
	none.learn(time.Now(), time.Now().Add(time.Hour))
	if d := time.Since(none.Now()); d < 0 || d > time.Minute {
		t.Errorf("no clock is %v behind", d)
	}
}

func TestCentralsTimeIsKept(t *testing.T) {
	state := t.TempDir()
	c := slow(state, time.Time{})
	if got := c.Now(); !got.Equal(epoch) {
		t.Errorf("nobody knows better, and it is %v", got)
	}
	told := time.Now().UTC().Truncate(time.Second)
	expires := told.AddDate(1, 0, 0)
	kept := func(want time.Time) {
		t.Helper()
		if got := slow(state, epoch).Now(); got.Before(want) || got.After(want.Add(time.Minute)) {
			t.Errorf("after a restart it is %v, want %v", got, want)
		}
	}
	c.learn(told, expires)
	kept(told)
	c.learn(told.Add(keepEvery-time.Second), expires) // not each heartbeat is a write
	kept(told)
	c.learn(told.Add(keepEvery), expires)
	kept(told.Add(keepEvery))
	if info, err := os.Stat(filepath.Join(state, clockFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v", err)
	}
	if err := os.WriteFile(filepath.Join(state, clockFile), []byte(`{"central_ti`), 0o600); err != nil {
		t.Fatal(err)
	}
	kept(epoch)
}

// TestAMachineThatCameUpIn1970 enrols and reports, whether the program is older than central's certificates or not.
func TestAMachineThatCameUpIn1970(t *testing.T) {
	for name, built := range map[string]time.Time{
		"built before central was installed": time.Now().AddDate(-1, 0, 0),
		"built after":                        time.Now(),
		"nobody knows when":                  {},
	} {
		t.Run(name, func(t *testing.T) {
			ca, state := newAuthority(t), t.TempDir()
			central := new(registrar)
			s := serve(t, ca.issue(t, forLoopback(), ca.cert), func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == wire.PathHeartbeat {
					answer(w, wire.HeartbeatAnswer{ServerTime: time.Now()})
					return
				}
				central.ServeHTTP(w, r)
			})
			clock := slow(state, built)
			id, err := Enroll(t.Context(), Joining{State: state, CentralURL: s.URL, Token: ca.token(t, "one"), Hello: hello, Clock: clock})
			if err != nil {
				t.Fatal(err)
			}
			after := slow(state, built) // it comes up in 1970 again
			if d := time.Since(after.Now()); d < 0 || d > time.Minute {
				t.Errorf("what central said is forgotten: %v", after.Now())
			}
			c, err := NewClient(id, ClientOptions{Clock: after})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := c.Heartbeat(t.Context(), wire.Heartbeat{}); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestTheClocksFloorIsChecked: what expired before the program was built, or before central's last word, is no good in
// 1970 either.
func TestTheClocksFloorIsChecked(t *testing.T) {
	ca := newAuthority(t)
	leaf := forLoopback()
	leaf.NotAfter = time.Now().Add(-time.Minute)
	s := serve(t, ca.issue(t, leaf, ca.cert), func(w http.ResponseWriter, r *http.Request) { answer(w, wire.HeartbeatAnswer{}) })
	for name, tt := range map[string]struct {
		built, told time.Time
		expired     bool
	}{
		"built after":        {time.Now(), time.Time{}, true},
		"told after":         {epoch, time.Now(), true},
		"nobody knows of it": {epoch, epoch, false},
	} {
		clock := slow("", tt.built)
		clock.learn(tt.told, ca.cert.NotAfter)
		c, err := NewClient(Identity{CentralURL: s.URL, CA: ca.pem(), SiteID: siteID, Secret: "s3cret"}, ClientOptions{Clock: clock})
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Heartbeat(t.Context(), wire.Heartbeat{})
		if (err != nil) != tt.expired || tt.expired && !strings.Contains(err.Error(), "expired") {
			t.Errorf("%s: %v", name, err)
		}
		c.Close()
	}
}

// TestACentralThatIsAheadOfItsOwnCertificate: its time would have the agent refuse it from then on.
func TestACentralThatIsAheadOfItsOwnCertificate(t *testing.T) {
	ca, leaf, told := newAuthority(t), forLoopback(), time.Now()
	leaf.NotAfter = told.Add(20 * time.Minute)
	s := serve(t, ca.issue(t, leaf, ca.cert), func(w http.ResponseWriter, _ *http.Request) {
		told = told.Add(15 * time.Minute)
		answer(w, wire.HeartbeatAnswer{ServerTime: told})
	})
	clock := slow("", epoch)
	c, err := NewClient(Identity{CentralURL: s.URL, CA: ca.pem(), SiteID: siteID, Secret: "s3cret"}, ClientOptions{Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 3 { // 15, 30 and 45 minutes ahead
		if _, err := c.Heartbeat(t.Context(), wire.Heartbeat{}); err != nil {
			t.Fatal(err)
		}
		c.Close() // the next one shakes hands anew
	}
	if ahead := time.Until(clock.Now()); ahead < 14*time.Minute || ahead > 16*time.Minute {
		t.Errorf("the clock is %v ahead, want 15 minutes", ahead)
	}
}

// TestTheServerIsStillChecked: the check of the certificate is our own, so that each way to fail it is tried.
func TestTheServerIsStillChecked(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	but := func(edit func(*x509.Certificate)) *x509.Certificate {
		c := forLoopback()
		edit(c)
		return c
	}
	for name, cert := range map[string]struct {
		by    *authority
		leaf  *x509.Certificate
		chain []*x509.Certificate
	}{
		"another CA":                   {other, forLoopback(), []*x509.Certificate{other.cert}},
		"another CA, with ours beside": {other, forLoopback(), []*x509.Certificate{other.cert, ca.cert}},
		"another host":                 {ca, but(func(c *x509.Certificate) { c.IPAddresses, c.DNSNames = nil, []string{"agent.example"} }), []*x509.Certificate{ca.cert}},
		"expired":                      {ca, but(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }), []*x509.Certificate{ca.cert}},
		"for a client":                 {ca, but(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }), []*x509.Certificate{ca.cert}},
		"the agent of a site": {ca, but(func(c *x509.Certificate) {
			c.URIs = []*url.URL{{Scheme: "urn", Opaque: strings.TrimPrefix(wire.SiteURN, "urn:") + siteID}}
		}), []*x509.Certificate{ca.cert}},
	} {
		t.Run(name, func(t *testing.T) {
			imposter := new(recorder)
			s := serve(t, cert.by.issue(t, cert.leaf, cert.chain...), func(w http.ResponseWriter, r *http.Request) {
				imposter.record(r)
				answer(w, wire.HeartbeatAnswer{})
			})
			c, _ := clientOf(t, ca, s.URL)
			if _, err := c.Heartbeat(t.Context(), wire.Heartbeat{}); err == nil || imposter.count() != 0 {
				t.Errorf("%v, %d requests", err, imposter.count())
			}
		})
	}
}
