package api

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/pureboot/pureboot/central/fleet"
	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/ent"
)

// beat sends a heartbeat of the process boot of an agent.
func (c *central) beat(credential, boot string, next *wire.NextCredential) (reply, wire.HeartbeatAnswer) {
	c.t.Helper()
	r := c.do("POST", wire.PathHeartbeat, credential, wire.Heartbeat{BootID: boot, Next: next}, wire.HeaderBoot, boot)
	var answer wire.HeartbeatAnswer
	if r.status == http.StatusOK {
		answer = must[wire.HeartbeatAnswer](c, 200, "POST", wire.PathHeartbeat, credential, wire.Heartbeat{BootID: boot, Next: next}, wire.HeaderBoot, boot)
	}
	return r, answer
}

// wantBeat sends a heartbeat that has to be answered with a status and a type of problem.
func (c *central) wantBeat(status int, kind, credential, boot string) wire.HeartbeatAnswer {
	c.t.Helper()
	r, answer := c.beat(credential, boot, nil)
	if r.status != status || status >= 400 && r.problem(c.t).Type != kind {
		c.t.Errorf("%s: %d %s, want %d %s", boot, r.status, r.body, status, kind)
	}
	return answer
}

func (c *central) credential(site store.Group, what string) store.Credential {
	c.t.Helper()
	status := map[string]int{"rotate": 202, "revoke": 200}[what]
	return must[store.Credential](c, status, "POST", "/api/v1/sites/"+site.ID.String()+"/agent-credential/"+what, c.admin, nil)
}

// wantState checks what people are told of the credential of a site's agent.
func (c *central) wantState(site store.Group, want string) {
	c.t.Helper()
	path := "/api/v1/sites/" + site.ID.String() + "/health"
	if h := must[fleet.Health](c, 200, "GET", path, c.viewer, nil); h.Credential == nil || h.Credential.State != want {
		c.t.Errorf("health says %+v, want %s", h.Credential, want)
	}
	path = "/api/v1/agents/" + site.ID.String() + "/status"
	if a := must[store.Agent](c, 200, "GET", path, c.viewer, nil); a.Credential.State != want {
		c.t.Errorf("the agent's status says %+v, want %s", a.Credential, want)
	}
}

func TestACredentialIsRotated(t *testing.T) { onBoth(t, testACredentialIsRotated) }

func testACredentialIsRotated(t *testing.T, c *central) {
	site := c.site("berlin")
	old := c.enrol(site)
	next := "pba_" + site.ID.String() + "_another"
	sum := sha256hex("another")
	if a := c.wantBeat(200, "", old, "x"); a.Rotation != nil {
		t.Errorf("nobody asked for %+v", a.Rotation)
	}
	_, a := c.beat(old, "x", &wire.NextCredential{Rotation: "", SHA256: sum})
	if r, _ := c.beat(next, "x", nil); a.Rotation != nil || r.status != 401 {
		t.Errorf("a secret that nobody asked for: %+v, %d", a.Rotation, r.status)
	}

	if got := c.credential(site, "rotate"); got.State != store.CredentialRotating || got.RotationAskedAt == nil {
		t.Errorf("%+v", got)
	}
	asked := c.wantBeat(200, "", old, "x").Rotation
	if asked == nil || asked.ID == "" || asked.Accepted != "" {
		t.Fatalf("asked for %+v", asked)
	}
	for _, wrong := range []wire.NextCredential{
		{Rotation: "another", SHA256: sum},
		{Rotation: asked.ID},
		{Rotation: asked.ID, SHA256: sum[1:]},
		{Rotation: asked.ID, SHA256: strings.ToUpper(sum)},
		{Rotation: asked.ID, SHA256: sha256hex("secret-of-berlin")},
	} {
		if _, a := c.beat(old, "x", &wrong); a.Rotation == nil || *a.Rotation != *asked {
			t.Errorf("%+v: answered %+v", wrong, a.Rotation)
		}
	}
	// Both are valid until the new one is used.
	for range 2 {
		if _, a := c.beat(old, "x", &wire.NextCredential{Rotation: asked.ID, SHA256: sum}); a.Rotation == nil || a.Rotation.Accepted != sum {
			t.Errorf("announced: %+v", a.Rotation)
		}
		c.wantBeat(200, "", old, "x")
	}
	c.wantState(site, store.CredentialRotating)
	var wg sync.WaitGroup
	for range 4 { // at once, and on any route
		wg.Go(func() {
			if r := c.do("GET", wire.PathManifest, next, nil); r.status != 200 {
				t.Errorf("the new one: %d %s", r.status, r.body)
			}
		})
	}
	wg.Wait()
	c.wantState(site, store.CredentialValid)
	c.wantBeat(401, "", old, "x")
	if a := c.wantBeat(200, "", next, "x"); a.Rotation != nil {
		t.Errorf("it is over, and answered is %+v", a.Rotation)
	}
	for action, want := range map[string]int{"site.agent_credential.rotate": 1, "agent.credential.rotated": 1} {
		entries := c.audited(action)
		if len(entries) != want {
			t.Errorf("%s was audited %d times", action, len(entries))
		}
		for _, e := range entries {
			if all := e.Detail + string(e.Before) + string(e.After); strings.Contains(all, sum) || strings.Contains(all, "another") {
				t.Errorf("the audit of %s holds a secret: %s", action, all)
			}
		}
	}
	if r := c.do("GET", "/api/v1/agents/"+site.ID.String()+"/status", c.viewer, nil); strings.Contains(string(r.body), sum) {
		t.Errorf("everybody reads the hash: %s", r.body)
	}
}

// TestARotationBeginsAnew: no secret that was made before an administrator asked remains.
func TestARotationBeginsAnew(t *testing.T) {
	c := newCentral(t)
	site := c.site("berlin")
	old := c.enrol(site)
	c.credential(site, "rotate")
	first := c.wantBeat(200, "", old, "x").Rotation
	announce := &wire.NextCredential{Rotation: first.ID, SHA256: sha256hex("first")}
	c.beat(old, "x", announce)
	c.credential(site, "rotate")
	if r, _ := c.beat("pba_"+site.ID.String()+"_first", "x", nil); r.status != 401 {
		t.Errorf("the secret of the first rotation: %d", r.status)
	}
	if _, a := c.beat(old, "x", announce); a.Rotation == nil || a.Rotation.ID == first.ID || a.Rotation.Accepted != "" {
		t.Errorf("%+v", a.Rotation)
	}
}

func TestARevokedAgentIsRefusedAtOnce(t *testing.T) { onBoth(t, testARevokedAgentIsRefusedAtOnce) }

func testARevokedAgentIsRefusedAtOnce(t *testing.T, c *central) {
	site := c.site("berlin")
	join := c.join(site)
	if r := c.register(join, "mine"); r.status != 201 {
		t.Fatal(r.status)
	}
	credential := "pba_" + site.ID.String() + "_mine"
	c.credential(site, "rotate")
	asked := c.wantBeat(200, "", credential, "x").Rotation
	c.beat(credential, "x", &wire.NextCredential{Rotation: asked.ID, SHA256: sha256hex("next")})

	first := c.credential(site, "revoke")
	if again := c.credential(site, "revoke"); again.State != store.CredentialRevoked || !again.RevokedAt.Equal(*first.RevokedAt) {
		t.Errorf("revoked %+v, again %+v", first, again)
	}
	for range 30 { // it is no guess at a secret, and not counted as one
		c.wantBeat(401, wire.ProblemRevoked, credential, "x")
	}
	if r := c.do("GET", wire.PathManifest, credential, nil); r.status != 401 || r.problem(t).Type != wire.ProblemRevoked {
		t.Errorf("another route: %d %s", r.status, r.body)
	}
	c.wantBeat(401, "", "pba_"+site.ID.String()+"_next", "x")
	c.wantBeat(401, "", "pba_"+site.ID.String()+"_wrong", "x")
	if r := c.register(join, "mine"); r.status != 409 {
		t.Errorf("the spent token brings it back: %d", r.status)
	}
	if r := c.do("POST", "/api/v1/sites/"+site.ID.String()+"/agent-credential/rotate", c.admin, nil); r.status != 409 {
		t.Errorf("rotated: %d", r.status)
	}
	c.wantState(site, store.CredentialRevoked)

	if r := c.register(c.join(site), "anew"); r.status != 201 {
		t.Fatalf("enrolled again: %d", r.status)
	}
	c.wantBeat(200, "", "pba_"+site.ID.String()+"_anew", "x")
	c.wantBeat(401, "", credential, "x")
	c.wantState(site, store.CredentialValid)
}

// TestTheOtherCentralRefusesARevokedAgent at once: both have one database.
func TestTheOtherCentralRefusesARevokedAgent(t *testing.T) {
	dsn := database(t)
	one, other := openCentral(t, dsn), openCentral(t, dsn)
	site := one.site("berlin")
	credential := one.enrol(site)
	other.wantBeat(200, "", credential, "x")
	one.credential(site, "revoke")
	other.wantBeat(401, wire.ProblemRevoked, credential, "x")

	// So with a rotation: announced here, used there, ended here.
	credential = other.enrol(site)
	one.credential(site, "rotate")
	asked := other.wantBeat(200, "", credential, "x").Rotation
	one.beat(credential, "x", &wire.NextCredential{Rotation: asked.ID, SHA256: sha256hex("next")})
	other.wantBeat(200, "", "pba_"+site.ID.String()+"_next", "x")
	one.wantBeat(401, "", credential, "x")
}

func TestTwoAgentsWithOneCredential(t *testing.T) { onBoth(t, testTwoAgentsWithOneCredential) }

func testTwoAgentsWithOneCredential(t *testing.T, c *central) {
	site := c.site("berlin")
	credential := c.enrol(site)
	for _, boot := range []string{"a", "b", "a", "b", "c", "c", "", "b", "not a name", "c"} {
		c.wantBeat(200, "", credential, boot) // restarts, with what comes late of each
	}
	c.wantState(site, store.CredentialValid)
	for _, boot := range []string{"clone", "c", "clone", "c"} {
		c.wantBeat(200, "", credential, boot)
	}
	c.wantState(site, store.CredentialFenced)
	c.wantBeat(403, wire.ProblemFenced, credential, "clone")
	if r := c.do("GET", wire.PathManifest, credential, nil, wire.HeaderBoot, "clone"); r.status != 403 || r.problem(t).Type != wire.ProblemFenced {
		t.Errorf("another route: %d %s", r.status, r.body)
	}
	if r := c.do("GET", wire.PathManifest, credential, nil, wire.HeaderBoot, "c"); r.status != 200 {
		t.Errorf("the one that is kept: %d %s", r.status, r.body)
	}
	c.wantBeat(403, wire.ProblemFenced, credential, "restarted")
	c.wantBeat(200, "", credential, "c")
	if n := len(c.audited("agent.fenced")); n != 1 {
		t.Errorf("audited %d times", n)
	}
	if lines := c.log.lines("two agents have one credential"); len(lines) != 1 || !strings.Contains(lines[0], "kept=c refused=clone") {
		t.Errorf("logged %q", lines)
	}

	// A rotation reaches the one that is kept alone, and is the end of it.
	c.credential(site, "rotate")
	c.wantState(site, store.CredentialFenced)
	r := c.do("POST", wire.PathHeartbeat, credential, wire.Heartbeat{BootID: "clone", Next: &wire.NextCredential{SHA256: sha256hex("theirs")}}, wire.HeaderBoot, "clone")
	if r.status != 403 {
		t.Errorf("the clone announces: %d", r.status)
	}
	asked := c.wantBeat(200, "", credential, "c").Rotation
	c.beat(credential, "c", &wire.NextCredential{Rotation: asked.ID, SHA256: sha256hex("next")})
	next := "pba_" + site.ID.String() + "_next"
	c.wantBeat(200, "", next, "restarted")
	c.wantState(site, store.CredentialValid)
	c.wantBeat(401, "", credential, "clone")
	c.wantBeat(401, "", credential, "c")
	for i := range 40 {
		c.wantBeat(200, "", next, fmt.Sprint(i))
	}

	// So is a new enrolment.
	for _, boot := range []string{"39", "x", "39", "x", "39"} {
		c.beat(next, boot, nil)
	}
	c.wantState(site, store.CredentialFenced)
	anew := c.enrol(site)
	c.wantState(site, store.CredentialValid)
	c.wantBeat(200, "", anew, "x")
	c.wantBeat(401, "", next, "39")
}

func TestWhoMayRotateAndRevoke(t *testing.T) {
	c := newCentral(t)
	site, alone := c.site("berlin"), c.site("oslo")
	agent := c.enrol(site)
	for _, what := range []string{"rotate", "revoke"} {
		path := "/api/v1/sites/" + site.ID.String() + "/agent-credential/" + what
		for token, want := range map[string]int{"": 401, c.viewer: 403, c.operator: 403, agent: 403} {
			if r := c.do("POST", path, token, nil); r.status != want {
				t.Errorf("%s: %d, want %d", what, r.status, want)
			}
		}
		for _, id := range []string{alone.ID.String(), "0192f0c1-0000-7000-8000-000000000000"} {
			if r := c.do("POST", "/api/v1/sites/"+id+"/agent-credential/"+what, c.admin, nil); r.status != 404 {
				t.Errorf("%s without an agent: %d", what, r.status)
			}
		}
	}
	c.write(func(tx *ent.Tx) error {
		row := tx.Agent.Query().OnlyX(t.Context())
		if row.Rotation != "" || row.RevokedAt != nil {
			t.Errorf("changed all the same: %+v", row)
		}
		return nil
	})
}
