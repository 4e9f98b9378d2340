package api

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pureboot/pureboot/central/fleet"
	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/ent"
)

// join asks for a join token.
func (c *central) join(site store.Group) string {
	c.t.Helper()
	token := must[wire.JoinToken](c, 201, "POST", "/api/v1/sites/"+site.ID.String()+"/agent-token", c.admin, nil)
	if left := time.Until(token.ExpiresAt); left < 23*time.Hour || left > 24*time.Hour {
		c.t.Errorf("the token expires in %v", left)
	}
	return token.Token
}

func (c *central) register(token, secret string) reply {
	c.t.Helper()
	return c.do("POST", wire.PathRegister, "", wire.Register{
		Hello: wire.Hello{ProtocolVersion: 1, AgentVersion: "1.0", Capabilities: []string{"x"}}, JoinToken: token,
		CredentialSHA256: strings.ToUpper(sha256hex(secret)), Hostname: "agent.example",
	})
}

func TestAJoinTokenIsGoodForOneAgent(t *testing.T) { onBoth(t, testAJoinTokenIsGoodForOneAgent) }

func testAJoinTokenIsGoodForOneAgent(t *testing.T, c *central) {
	site := c.site("berlin")
	token := c.join(site)
	if parts := strings.Split(token, "."); len(parts) != 4 || parts[0] != "pbj1" || parts[1] != "010203"+strings.Repeat("0", 58) || len(parts[3]) < 43 {
		t.Errorf("token %s", token)
	}
	first := c.register(token, "mine")
	if first.status != 201 || !strings.Contains(string(first.body), site.ID.String()) || !strings.Contains(string(first.body), `"site_name":"berlin"`) {
		t.Fatalf("%d %s", first.status, first.body)
	}
	if again := c.register(token, "mine"); again.status != 201 {
		t.Errorf("asked again for a lost answer: %d %s", again.status, again.body)
	}
	if r := c.register(token, "another's"); r.status != 409 || !strings.Contains(string(r.body), "has been used") {
		t.Errorf("used by another: %d %s", r.status, r.body)
	}
	credential := "pba_" + site.ID.String() + "_mine"
	if r := c.do("POST", wire.PathHeartbeat, credential, "{}"); r.status != 200 {
		t.Errorf("the credential: %d", r.status)
	}
	if found := c.log.lines(strings.Split(token, ".")[3]); len(found) > 0 {
		t.Errorf("the log holds the join token: %s", found[0])
	}
	for _, action := range []string{"site.agent_token", "agent.register", "agent.register.refused"} {
		entries := c.audited(action)
		if len(entries) != 1 {
			t.Errorf("%s was audited %d times", action, len(entries))
		}
		for _, e := range entries {
			if all := e.Who + e.Subject + e.Detail + string(e.Before) + string(e.After); strings.Contains(all, strings.Split(token, ".")[3]) || strings.Contains(all, "mine") {
				t.Errorf("the audit of %s holds a secret: %s", action, all)
			}
		}
	}

	// A machine that replaces the agent gets a token of its own, and the old credential ends.
	c.join(site)
	if r := c.register(c.join(site), "new"); r.status != 201 {
		t.Fatalf("the replacement: %d %s", r.status, r.body)
	}
	if r := c.do("POST", wire.PathHeartbeat, credential, "{}"); r.status != 401 {
		t.Errorf("the replaced agent: %d", r.status)
	}
}

// TestARefusedTokenLeavesOneTrace counts what each bad token writes.
func TestARefusedTokenLeavesOneTrace(t *testing.T) {
	c := newCentral(t)
	site := c.site("berlin")
	voided, used := c.join(site), c.join(site)
	if r := c.register(used, "mine"); r.status != 201 {
		t.Fatal(r.status)
	}
	other := c.site("paris")
	expired := c.join(other)
	c.write(func(tx *ent.Tx) error {
		return tx.DeviceGroup.UpdateOneID(other.ID).SetAgentTokenExpiresAt(time.Now().Add(-time.Second)).Exec(t.Context())
	})
	late := c.site("rome")
	lateToken := c.join(late)
	if r := c.register(lateToken, "mine"); r.status != 201 {
		t.Fatal(r.status)
	}
	c.write(func(tx *ent.Tx) error {
		return tx.Agent.Update().SetEnrolledAt(time.Now().Add(-11 * time.Minute)).Exec(t.Context())
	})
	parts := strings.Split(expired, ".")
	for name, bad := range map[string]struct {
		token  string
		status int
		word   string
	}{
		"voided by a newer one": {voided, 401, "not valid"},
		"used":                  {used, 409, "has been used"},
		"used, too late":        {lateToken, 409, "has been used"},
		"expired":               {expired, 409, "has expired"},
		"another secret":        {strings.Join([]string{parts[0], parts[1], parts[2], strings.Repeat("A", 43)}, "."), 401, "not valid"},
		"another id":            {strings.Join([]string{parts[0], parts[1], "0123456789abcdef", parts[3]}, "."), 401, "not valid"},
		"an id in capitals":     {strings.Join([]string{parts[0], parts[1], strings.Repeat("A", 16), parts[3]}, "."), 401, "not whole"},
		"another central":       {strings.Join([]string{parts[0], strings.Repeat("0", 64), parts[2], parts[3]}, "."), 401, "another central"},
		"cut":                   {expired[:40], 401, "not whole"},
		"empty":                 {"", 401, "not whole"},
		"huge":                  {strings.Repeat("x.", 3000), 401, "not whole"},
	} {
		t.Run(name, func(t *testing.T) {
			before, lines := c.rows(), len(c.log.lines("enrolment refused"))
			secret := "mine"
			if name == "used" {
				secret = "another's"
			}
			r := c.register(bad.token, secret)
			if r.status != bad.status || !strings.Contains(r.problem(t).Detail, bad.word) {
				t.Errorf("%d %s; want %d and %q", r.status, r.body, bad.status, bad.word)
			}
			after := c.rows()
			if after.audit != before.audit+1 {
				t.Errorf("%d audit entries", after.audit-before.audit)
			}
			after.audit = before.audit
			if after != before {
				t.Errorf("something else was written: %+v, before %+v", after, before)
			}
			if got := len(c.log.lines("enrolment refused")) - lines; got != 1 {
				t.Errorf("%d lines in the log", got)
			}
		})
	}
	for _, e := range c.audited("agent.register.refused") {
		if strings.Contains(e.Subject+e.Detail, parts[3]) || e.Who != "unknown" || e.FromAddress != "127.0.0.1" {
			t.Errorf("audited as %+v", e)
		}
	}
}

// rows counts what an enrolment could write.
type rows struct{ audit, groups, tokens, agents, nodes int }

func (c *central) rows() (r rows) {
	ctx, db := c.t.Context(), c.store.Read()
	r.audit, r.groups, r.nodes = db.AuditEntry.Query().CountX(ctx), db.DeviceGroup.Query().CountX(ctx), db.Node.Query().CountX(ctx)
	for _, g := range db.DeviceGroup.Query().AllX(ctx) {
		if g.AgentTokenHash != nil {
			r.tokens++
		}
	}
	for _, a := range db.Agent.Query().AllX(ctx) {
		r.agents += len(a.CredentialHash) + int(a.EnrolledAt.Unix()%1_000_000)
	}
	return r
}

func (c *central) write(fn func(tx *ent.Tx) error) {
	c.t.Helper()
	if err := c.store.Write(c.t.Context(), fn); err != nil {
		c.t.Fatal(err)
	}
}

func TestOfManyAtOnceOneEnrols(t *testing.T) { onBoth(t, testOfManyAtOnceOneEnrols) }

func testOfManyAtOnceOneEnrols(t *testing.T, c *central) {
	token := c.join(c.site("berlin"))
	var wg sync.WaitGroup
	statuses := make([]int, 10)
	for i := range statuses {
		wg.Go(func() { statuses[i] = c.register(token, strings.Repeat("x", i+1)).status })
	}
	wg.Wait()
	won := 0
	for _, status := range statuses {
		switch status {
		case 201:
			won++
		case 409:
		default:
			t.Errorf("status %d", status)
		}
	}
	if won != 1 {
		t.Errorf("%d agents enrolled with one token", won)
	}
}

func TestWhoTriesTooOftenWaits(t *testing.T) {
	c := newCentral(t)
	refused := 0
	for range 60 {
		r := c.register("pbj1.x", "mine")
		if r.status == 429 {
			if refused++; r.header.Get("Retry-After") != "1" {
				t.Errorf("Retry-After %q", r.header.Get("Retry-After"))
			}
		}
	}
	if refused < 30 {
		t.Errorf("%d of 60 attempts were refused", refused)
	}
	if written := len(c.audited("agent.register.refused")); written != 60-refused {
		t.Errorf("%d audit entries for %d attempts that were heard", written, 60-refused)
	}
}

func TestAnAgentThatEndedWhileItReported(t *testing.T) {
	c := newCentral(t)
	site := c.site("berlin")
	credential := c.enrol(site)
	must[wire.HeartbeatAnswer](c, 200, "POST", wire.PathHeartbeat, credential, wire.Heartbeat{})
	c.write(func(tx *ent.Tx) error { _, err := tx.Agent.Delete().Exec(t.Context()); return err })
	must[wire.Problem](c, 401, "POST", wire.PathHeartbeat, credential, wire.Heartbeat{})
	if err := c.api.Fleet.Close(); err != nil { // writes the report of the one that is gone
		t.Error(err)
	}
	if health := must[fleet.Health](c, 200, "GET", "/api/v1/sites/"+site.ID.String()+"/health", c.viewer, nil); health.LastSeen != nil {
		t.Errorf("heard of at %v", health.LastSeen)
	}
	c.enrol(site)
	if health := must[fleet.Health](c, 200, "GET", "/api/v1/sites/"+site.ID.String()+"/health", c.viewer, nil); health.LastSeen != nil {
		t.Errorf("the new agent was heard of at %v", health.LastSeen)
	}
}
