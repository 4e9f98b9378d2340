package uplink

import (
	"net/http"
	"sync"
	"time"

	"github.com/pureboot/pureboot/central/wire"
)

// Why central refuses an agent.
const (
	RefusedUnknown = "unknown" // it does not know the credential: the site was enrolled anew, or central is an older self
	RefusedRevoked = "revoked" // an administrator has ended the credential
	RefusedFenced  = "fenced"  // another agent has the same credential, and is served
)

// Standing is what central thinks of the agent. The zero Standing is one that it does not refuse.
type Standing struct {
	Refused string    // why; empty: it does not
	Detail  string    // for people
	Since   time.Time // of the agent's clock
}

// standing is a Standing that changes.
type standing struct {
	mu  sync.Mutex
	now Standing
}

func (s *standing) get() Standing {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// set returns whether that is news.
func (s *standing) set(refused, detail string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now.Refused == refused {
		return false
	}
	s.now = Standing{Refused: refused, Detail: detail}
	if refused != "" {
		s.now.Since = time.Now()
	}
	return true
}

// Standing returns what central thinks of the agent.
func (c *Client) Standing() Standing { return c.standing.get() }

// judge learns from an answer what central thinks of the agent and its credential, and says whether the request is
// worth another try at once, with the other secret, or
// with one in place of a certificate.
func (c *Client) judge(by voucher, refusal *wire.Refusal) (again bool) {
	switch {
	case refusal == nil, refusal.Status < 500 && refusal.Status != http.StatusUnauthorized &&
		refusal.Status != http.StatusTooManyRequests && refusal.Problem.Type != wire.ProblemFenced:
		if by.cert == nil {
			c.keys.worked() // what it said no to is something else
		}
		if c.standing.set("", "") {
			c.log.Info("central serves this agent again")
		}
		return false
	case refusal.Problem.Type == wire.ProblemFenced:
		c.refused(RefusedFenced, refusal.Problem.Detail)
	case refusal.Problem.Type == wire.ProblemRevoked:
		c.refused(RefusedRevoked, refusal.Problem.Detail)
	case refusal.Status == http.StatusUnauthorized && by.cert != nil:
		c.proof.deny(by.cert)
		return true
	case refusal.Status == http.StatusUnauthorized:
		if c.keys.denied(by.era) {
			return true
		}
		c.refused(RefusedUnknown, "central does not know this agent's credential: enrol it again")
	}
	return false
}

func (c *Client) refused(why, detail string) {
	if c.standing.set(why, detail) {
		c.log.Error("central refuses this agent, which goes on with what it has", "why", why, "detail", detail)
	}
}
