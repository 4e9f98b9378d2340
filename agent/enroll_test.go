package agent

import (
	"crypto/sha256"
	"errors"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/pureboot/pureboot/agent/uplink"
	"github.com/pureboot/pureboot/central/wire"
)

// TestEnrolmentOfThePair has the agent's own client enrol over TLS with central's own API: once for a token, again for an
// answer that was lost, and never with another central.
func TestEnrolmentOfThePair(t *testing.T) {
	c := startRealCentral(t)
	c.fleet.Pin = sha256.Sum256(c.Certificate().RawSubjectPublicKeyInfo)
	token := func() uplink.JoinToken {
		text := c.call(t, 201, "POST", "/api/v1/sites/"+c.site+"/agent-token", "")["token"].(string)
		token, err := uplink.ParseJoinToken(text)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	enrol := func(state string, token uplink.JoinToken) (uplink.Identity, error) {
		return uplink.Enroll(t.Context(), uplink.Joining{
			State: state, CentralURL: c.URL, Token: token, Hello: Hello("test"), Names: []string{"agent.example"},
		})
	}
	refused := func(err error, status int) {
		t.Helper()
		if r, ok := errors.AsType[*wire.Refusal](err); !ok || r.Status != status {
			t.Errorf("%v, want a refusal with %d", err, status)
		}
	}
	works := func(id uplink.Identity, want bool) {
		t.Helper()
		client, err := uplink.NewClient(id, uplink.ClientOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		if _, err := client.Heartbeat(t.Context(), wire.Heartbeat{}); (err == nil) != want {
			t.Errorf("the credential works: %v", err)
		}
	}

	state, first := filepath.Join(t.TempDir(), "state"), token()
	c.change(func() { c.lost = 1 })
	if _, err := enrol(state, first); err == nil {
		t.Fatal("enrolled by an answer that was lost")
	}
	_, err := enrol(t.TempDir(), first) // another machine that has the token too
	refused(err, http.StatusConflict)
	id, err := enrol(state, first)
	if err != nil {
		t.Fatal(err)
	}
	works(id, true)

	// Its successor ends it, and a token that was replaced opens nothing.
	voided, second := token(), token()
	_, err = enrol(t.TempDir(), voided)
	refused(err, http.StatusUnauthorized)
	next, err := enrol(t.TempDir(), second)
	if err != nil {
		t.Fatal(err)
	}
	works(next, true)
	works(id, false)

	third := token()
	third.Pin[0] ^= 1
	if _, err := enrol(t.TempDir(), third); !errors.Is(err, uplink.ErrWrongCA) {
		t.Errorf("another central: %v", err)
	}
}
