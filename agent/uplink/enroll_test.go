package uplink

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pureboot/pureboot/central/wire"
)

var hello = wire.Hello{ProtocolVersion: wire.ProtocolVersion, Capabilities: []string{}, AgentVersion: "1.2.3"}

// registrar enrols whoever comes, and remembers what was sent.
type registrar struct{ recorder }

func (r *registrar) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.record(req)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	json.NewEncoder(w).Encode(wire.Registered{SiteID: siteID, SiteName: "berlin", ServerTime: time.Now()})
}

// hashes returns the credential hash of each enrolment that was asked for.
func (r *recorder) hashes(t *testing.T) (sums []string) {
	t.Helper()
	for _, body := range r.bodies {
		var reg wire.Register
		if err := json.Unmarshal([]byte(body), &reg); err != nil {
			t.Fatal(err)
		}
		sums = append(sums, reg.CredentialSHA256)
	}
	return sums
}

func hashOf(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

func files(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func enroll(t *testing.T, state, url string, token JoinToken) (Identity, error) {
	return Enroll(t.Context(), Joining{State: state, CentralURL: url, Token: token, Hello: hello})
}

func TestEnrolment(t *testing.T) {
	ca, central := newAuthority(t), new(registrar)
	s := serve(t, ca.issue(t, forLoopback(), ca.cert), central.ServeHTTP)
	state, token := filepath.Join(t.TempDir(), "state"), ca.token(t, "one")
	id, err := enroll(t, state, s.URL+"/", token)
	if err != nil {
		t.Fatal(err)
	}
	if id.CentralURL != s.URL || id.SiteID != siteID || id.SiteName != "berlin" || id.CA != ca.pem() || len(id.Secret) != 43 {
		t.Errorf("identity %+v", id)
	}
	if kept, err := LoadIdentity(state); err != nil || kept != id {
		t.Errorf("kept %+v, %v", kept, err)
	}
	if names := files(t, state); len(names) != 1 || names[0] != identityFile {
		t.Errorf("left behind: %v", names)
	}
	for path, want := range map[string]os.FileMode{state: 0o700, filepath.Join(state, identityFile): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: mode %v, %v", path, info.Mode(), err)
		}
	}

	if central.count() != 1 {
		t.Fatalf("%d requests", central.count())
	}
	req, body := central.last()
	if req.Method != http.MethodPost || req.URL.String() != wire.PathRegister || req.Header["Authorization"] != nil {
		t.Errorf("%s %s, Authorization %q", req.Method, req.URL, req.Header["Authorization"])
	}
	var reg wire.Register
	if err := json.Unmarshal([]byte(body), &reg); err != nil {
		t.Fatal(err)
	}
	if reg.JoinToken != token.text || reg.CredentialSHA256 != hashOf(id.Secret) || reg.AgentVersion != "1.2.3" || strings.Contains(body, id.Secret) {
		t.Errorf("sent %s", body)
	}

	link := new(Link)
	c, err := NewClient(id, ClientOptions{Link: link})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Heartbeat(t.Context(), wire.Heartbeat{}); err != nil {
		t.Fatal(err)
	}
	if req, _ := central.last(); req.Header.Get("Authorization") != "Bearer pba_"+siteID+"_"+id.Secret {
		t.Errorf("credential %q", req.Header.Get("Authorization"))
	}
}

// TestEnrolmentAtAnythingButCentral: nothing is sent, nothing is written.
func TestEnrolmentAtAnythingButCentral(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	but := func(edit func(*x509.Certificate)) *x509.Certificate {
		c := forLoopback()
		edit(c)
		return c
	}
	ours, theirs := []*x509.Certificate{ca.cert}, []*x509.Certificate{other.cert}
	for name, cert := range map[string]struct {
		by      *authority
		leaf    *x509.Certificate
		chain   []*x509.Certificate
		wrongCA bool
	}{
		"another CA":                        {other, forLoopback(), theirs, true},
		"another CA, not shown":             {other, forLoopback(), nil, true},
		"another CA, with ours beside":      {other, forLoopback(), append(theirs, ca.cert), false},
		"our CA, which is not in the chain": {ca, forLoopback(), nil, true},
		"our CA, for another host": {ca, but(func(c *x509.Certificate) {
			c.IPAddresses, c.DNSNames = nil, []string{"agent.example"}
		}), ours, false},
		"our CA, for another address": {ca, but(func(c *x509.Certificate) {
			c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 2)}
		}), ours, false},
		"our CA, expired": {ca, but(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }), ours, false},
		"our CA, for a client": {ca, but(func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		}), ours, false},
	} {
		t.Run(name, func(t *testing.T) {
			imposter := new(registrar)
			s := serve(t, cert.by.issue(t, cert.leaf, cert.chain...), imposter.ServeHTTP)
			state := filepath.Join(t.TempDir(), "state")
			_, err := enroll(t, state, s.URL, ca.token(t, "one"))
			if err == nil || errors.Is(err, ErrWrongCA) != cert.wrongCA {
				t.Errorf("error %v", err)
			}
			mustNotTell(t, err, joinSecret)
			if imposter.count() != 0 {
				t.Error("a request was sent")
			}
			if names := files(t, state); names != nil {
				t.Errorf("written: %v", names)
			}
		})
	}
}

func TestCentralsOwnCertificateMayBePinned(t *testing.T) {
	self := &authority{key: newKey(t)} // what an operator brought, signed by itself
	self.cert = self.sign(t, forLoopback(), self.key)
	cert := self.issue(t, forLoopback())
	cert.Certificate, cert.PrivateKey = [][]byte{self.cert.Raw}, self.key
	s := serve(t, cert, new(registrar).ServeHTTP)
	if _, err := enroll(t, t.TempDir(), s.URL, self.token(t, "one")); err != nil {
		t.Error(err)
	}
}

// TestLostAnswerToAnEnrolment: central took the agent, but its answer did not arrive.
func TestLostAnswerToAnEnrolment(t *testing.T) {
	for name, lose := range map[string]http.HandlerFunc{
		"cut":       cut,
		"overload":  func(w http.ResponseWriter, _ *http.Request) { refusal(w, 503, "busy") },
		"too often": func(w http.ResponseWriter, _ *http.Request) { refusal(w, 429, "too often") },
		"a proxy":   func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no backend", 404) },
		"no site":   func(w http.ResponseWriter, _ *http.Request) { answer(w, wire.Registered{}) },
		"no JSON":   func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("ok")) },
	} {
		t.Run(name, func(t *testing.T) {
			ca, central := newAuthority(t), new(registrar)
			lost := false
			s := serve(t, ca.issue(t, forLoopback(), ca.cert), func(w http.ResponseWriter, r *http.Request) {
				if !lost {
					lost = true
					central.record(r)
					lose(w, r)
					return
				}
				central.ServeHTTP(w, r)
			})
			state := t.TempDir()
			_, err := enroll(t, state, s.URL, ca.token(t, "one"))
			if err == nil {
				t.Fatal("enrolled by a lost answer")
			}
			mustNotTell(t, err, joinSecret)
			if _, err := LoadIdentity(state); !errors.Is(err, ErrNotEnrolled) {
				t.Errorf("identity: %v", err)
			}
			if info, err := os.Stat(filepath.Join(state, pendingFile)); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("pending: %v", err)
			}
			id, err := enroll(t, state, s.URL, ca.token(t, "one"))
			if err != nil {
				t.Fatal(err)
			}
			sums := central.hashes(t)
			if len(sums) != 2 || sums[0] != sums[1] || sums[1] != hashOf(id.Secret) {
				t.Errorf("hashes %q", sums)
			}
			if names := files(t, state); len(names) != 1 {
				t.Errorf("left behind: %v", names)
			}
		})
	}
}

func TestAnotherTokenMakesAnotherSecret(t *testing.T) {
	ca, central := newAuthority(t), new(recorder)
	s := serve(t, ca.issue(t, forLoopback(), ca.cert), func(w http.ResponseWriter, r *http.Request) { central.record(r); cut(w, r) })
	state := t.TempDir()
	enrol := func(id string) {
		if _, err := enroll(t, state, s.URL, ca.token(t, id)); err == nil {
			t.Fatal("enrolled")
		}
	}
	enrol("one")
	enrol("two")
	if err := os.WriteFile(filepath.Join(state, pendingFile), []byte(`{"token_id":"two","sec`), 0o600); err != nil {
		t.Fatal(err)
	}
	enrol("two") // what was kept is damaged
	if sums := central.hashes(t); sums[0] == sums[1] || sums[1] == sums[2] {
		t.Errorf("hashes %q", sums)
	}
}

func TestRefusedTokenLeavesNothing(t *testing.T) {
	for _, status := range []int{401, 403, 404, 409, 410, 422} {
		ca := newAuthority(t)
		s := serve(t, ca.issue(t, forLoopback(), ca.cert), func(w http.ResponseWriter, _ *http.Request) {
			refusal(w, status, "the join token has been used")
		})
		state := t.TempDir()
		_, err := enroll(t, state, s.URL, ca.token(t, "one"))
		r, ok := errors.AsType[*wire.Refusal](err)
		if !ok || r.Status != status || !strings.Contains(err.Error(), "has been used") {
			t.Errorf("%d: %v", status, err)
		}
		mustNotTell(t, err, joinSecret)
		if names := files(t, state); names != nil {
			t.Errorf("%d: left behind: %v", status, names)
		}
	}
}

func TestFailedEnrolmentKeepsTheOld(t *testing.T) {
	ca := newAuthority(t)
	good := serve(t, ca.issue(t, forLoopback(), ca.cert), new(registrar).ServeHTTP)
	bad := serve(t, ca.issue(t, forLoopback(), ca.cert), func(w http.ResponseWriter, _ *http.Request) { refusal(w, 409, "used") })
	state := t.TempDir()
	before, err := enroll(t, state, good.URL, ca.token(t, "one"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := enroll(t, state, bad.URL, ca.token(t, "two")); err == nil {
		t.Fatal("enrolled")
	}
	if after, err := LoadIdentity(state); err != nil || after != before {
		t.Errorf("%+v, %v", after, err)
	}
	after, err := enroll(t, state, good.URL, ca.token(t, "three"))
	if err != nil || after.Secret == before.Secret {
		t.Errorf("enrolled anew: %v", err)
	}
}

func TestEnrolmentWithoutCentral(t *testing.T) {
	ca := newAuthority(t)
	s := serve(t, ca.issue(t, forLoopback(), ca.cert), cut)
	url := s.URL
	s.Close()
	state := filepath.Join(t.TempDir(), "state")
	if _, err := enroll(t, state, url, ca.token(t, "one")); err == nil {
		t.Error("enrolled with nobody")
	}
	if names := files(t, state); names != nil {
		t.Errorf("written: %v", names)
	}
}

func TestCentralURL(t *testing.T) {
	for in, want := range map[string]string{
		"https://central:8443": "https://central:8443", "https://central/": "https://central",
		"https://[::1]:8443/base/": "https://[::1]:8443/base",
	} {
		if u, err := parseCentralURL(in); err != nil || u.String() != want {
			t.Errorf("%s: %v, %v", in, u, err)
		}
	}
	for _, in := range []string{
		"", "central:8443", "http://central", "https://", "https://:8443", "https://user:hunter2@central", "https://central?x=1",
		"https://central?", "https://central#x", "https://cen tral", "https://hunter2@central\x7f",
	} {
		_, err := parseCentralURL(in)
		if err == nil {
			t.Errorf("%q is accepted", in)
		}
		mustNotTell(t, err, "hunter2")
	}
}

func TestDamagedIdentity(t *testing.T) {
	whole := Identity{CentralURL: "https://central", CA: newAuthority(t).pem(), SiteID: siteID, SiteName: "berlin", Secret: "s3cret"}
	without := func(edit func(*Identity)) []byte {
		id := whole
		edit(&id)
		text, _ := json.Marshal(id)
		return text
	}
	for name, text := range map[string][]byte{
		"empty":       {},
		"cut":         without(func(*Identity) {})[:100],
		"no URL":      without(func(id *Identity) { id.CentralURL = "" }),
		"no CA":       without(func(id *Identity) { id.CA = "" }),
		"no site":     without(func(id *Identity) { id.SiteID = "" }),
		"no secret":   without(func(id *Identity) { id.Secret = "" }),
		"a number":    []byte("17"),
		"wrong types": []byte(`{"secret": 17}`),
	} {
		state := t.TempDir()
		if err := os.WriteFile(filepath.Join(state, identityFile), text, 0o600); err != nil {
			t.Fatal(err)
		}
		id, err := LoadIdentity(state)
		if err == nil || errors.Is(err, ErrNotEnrolled) || id != (Identity{}) {
			t.Errorf("%s: %+v, %v", name, id, err)
		}
		mustNotTell(t, err, "s3cret")
	}
	if _, err := NewClient(Identity{CentralURL: "https://central", CA: "no PEM"}, ClientOptions{}); err == nil {
		t.Error("a client without a CA")
	}
	if _, err := NewClient(Identity{CentralURL: "http://central", CA: whole.CA}, ClientOptions{}); err == nil {
		t.Error("a client without TLS")
	}
}
