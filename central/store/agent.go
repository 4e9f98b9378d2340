package store

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/inherit"
	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/ent"
	"github.com/pureboot/pureboot/ent/counter"
	"github.com/pureboot/pureboot/ent/devicegroup"
	"github.com/pureboot/pureboot/ent/node"
)

// Errors of an enrolment.
var (
	ErrJoinToken        = errors.New("the join token is not valid: no site has it outstanding")
	ErrJoinTokenUsed    = errors.New("the join token has been used")
	ErrJoinTokenExpired = errors.New("the join token has expired")
)

// retryWindow is how long an agent may ask again for the answer to its enrolment.
const retryWindow = 10 * time.Minute

// maxChanged is how many changed nodes a heartbeat's answer names; more, and the agent asks for all again.
const maxChanged = 1000

// Agent is the appliance of a site.
type Agent struct {
	SiteID          uuid.UUID  `json:"site_id"`
	SiteName        string     `json:"site_name"`
	Status          string     `json:"status" enum:"online,degraded,offline"`
	EnrolledAt      time.Time  `json:"enrolled_at"`
	LastSeen        *time.Time `json:"last_seen" doc:"Null until its first heartbeat"`
	Hostname        string     `json:"hostname"`
	AgentVersion    string     `json:"agent_version"`
	ProtocolVersion int        `json:"protocol_version"`
	Capabilities    []string   `json:"capabilities"`

	HeartbeatInterval int `json:"heartbeat_interval" doc:"Seconds, that it was last told; 0 before its first heartbeat"`

	Credential Credential      `json:"credential"`
	Heartbeat  *wire.Heartbeat `json:"heartbeat" doc:"The last one; null until it came"`
}

// SetJoinToken makes a join token the outstanding one of a site, in place of any before it.
func (s *Store) SetJoinToken(ctx context.Context, by Actor, site uuid.UUID, id, secretHash string, expires time.Time) error {
	return s.Write(ctx, func(tx *ent.Tx) error {
		row, err := tx.DeviceGroup.Query().Where(devicegroup.ID(site), devicegroup.IsSite(true)).Only(ctx)
		if err != nil {
			return missing(err)
		}
		err = tx.DeviceGroup.UpdateOneID(site).
			SetAgentTokenID(id).SetAgentTokenHash(secretHash).SetAgentTokenExpiresAt(expires.UTC()).Exec(ctx)
		if err != nil {
			return fmt.Errorf("set join token: %w", err)
		}
		return Audit(ctx, tx, by, Act{Action: "site.agent_token", Subject: subject(row), Detail: "join token " + id})
	})
}

// Enrolment is an agent that joins.
type Enrolment struct {
	TokenID, SecretHash string // of the join token; the hash is the SHA-256 of its secret, in hexadecimal
	CredentialHash      string // SHA-256 of the agent's own secret, in hexadecimal
	Hostname            string
	Hello               wire.Hello
}

// Enrol spends a join token and makes the agent that of the token's site, in place of any before it. The same token
// with the same credential gets the same answer for ten minutes. Errors are ErrJoinToken, ErrJoinTokenUsed and
// ErrJoinTokenExpired; after them nothing has changed.
func (s *Store) Enrol(ctx context.Context, by Actor, e Enrolment) (wire.Registered, error) {
	var answer wire.Registered
	err := s.Write(ctx, func(tx *ent.Tx) error {
		site, err := tx.DeviceGroup.Query().
			Where(devicegroup.AgentTokenID(e.TokenID), devicegroup.IsSite(true)).WithAgent().Only(ctx)
		if ent.IsNotFound(err) {
			return ErrJoinToken
		} else if err != nil {
			return err
		}
		at := now()
		answer = wire.Registered{SiteID: site.ID.String(), SiteName: site.Name, ServerTime: at}
		old := site.Edges.Agent
		if site.AgentTokenHash == nil {
			switch {
			case old == nil || !same(old.JoinTokenHash, e.SecretHash):
				return ErrJoinToken
			case same(old.CredentialHash, e.CredentialHash) && old.RevokedAt == nil && at.Sub(old.EnrolledAt) < retryWindow:
				return nil
			}
			return ErrJoinTokenUsed
		}
		switch {
		case !same(*site.AgentTokenHash, e.SecretHash):
			return ErrJoinToken
		case site.AgentTokenExpiresAt == nil || !at.Before(*site.AgentTokenExpiresAt):
			return ErrJoinTokenExpired
		}
		// Of two that come at once with one token, only one still finds its hash.
		spent, err := tx.DeviceGroup.Update().
			Where(devicegroup.ID(site.ID), devicegroup.AgentTokenHash(e.SecretHash)).
			ClearAgentTokenHash().ClearAgentTokenExpiresAt().Save(ctx)
		if err != nil {
			return fmt.Errorf("spend join token: %w", err)
		}
		if spent != 1 {
			return ErrJoinTokenUsed
		}
		if old != nil {
			if err := tx.Agent.DeleteOne(old).Exec(ctx); err != nil {
				return fmt.Errorf("replace agent: %w", err)
			}
		}
		err = tx.Agent.Create().SetSiteID(site.ID).SetCredentialHash(e.CredentialHash).SetJoinTokenHash(e.SecretHash).
			SetEnrolledAt(at).SetHostname(clean(e.Hostname, 253)).SetAgentVersion(clean(e.Hello.AgentVersion, 100)).
			SetProtocolVersion(e.Hello.ProtocolVersion).SetCapabilities(capabilities(e.Hello)).Exec(ctx)
		if err != nil {
			return fmt.Errorf("enrol agent: %w", err)
		}
		by.Name = "site:" + site.Name
		return Audit(ctx, tx, by, Act{
			Action: "agent.register", Subject: subject(site), Detail: "with join token " + e.TokenID + " from " + e.Hostname,
		})
	})
	return answer, err
}

// capabilities bounds what an agent says it can do.
func capabilities(h wire.Hello) []string {
	known := []string{}
	for _, c := range h.Capabilities[:min(len(h.Capabilities), 64)] {
		known = append(known, clean(c, maxName))
	}
	return known
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// AgentHosts returns the host by which a site's agent is reached, as its agent_url has it (empty: nobody has set it), and
// those of the other sites: names in lower case, and addresses as net.IP writes them.
func (s *Store) AgentHosts(ctx context.Context, site uuid.UUID) (own string, others map[string]bool, err error) {
	rows, err := s.reader.DeviceGroup.Query().Where(devicegroup.IsSite(true), devicegroup.AgentURLNotNil()).
		Select(devicegroup.FieldID, devicegroup.FieldAgentURL).All(ctx)
	if err != nil {
		return "", nil, fmt.Errorf("read where agents are: %w", err)
	}
	others = map[string]bool{}
	for _, row := range rows {
		at, err := url.Parse(*row.AgentURL)
		if err != nil {
			continue // of an earlier build, and nobody's host
		}
		host := strings.ToLower(at.Hostname())
		if ip := net.ParseIP(host); ip != nil {
			host = ip.String()
		}
		if row.ID == site {
			own = host
		} else {
			others[host] = true
		}
	}
	return own, others, nil
}

// Answer returns what the answer to a heartbeat says of the content and of the site's nodes, and the settings in effect
// for the site, as of one moment.
func (s *Store) Answer(ctx context.Context, site uuid.UUID, since wire.Epoch) (wire.HeartbeatAnswer, inherit.Effective, error) {
	var answer wire.HeartbeatAnswer
	var settings inherit.Effective
	err := s.View(ctx, func(tx *ent.Tx) error {
		home, err := tx.DeviceGroup.Get(ctx, site)
		if err != nil {
			return missing(err)
		}
		up, err := ancestors(ctx, tx, home)
		if err != nil {
			return err
		}
		settings = inherit.Resolve(up.chain(&home.ID))
		answer, err = changes(ctx, tx, home, since)
		return err
	})
	return answer, settings, err
}

// changes says which nodes of a site changed after an epoch.
func changes(ctx context.Context, tx *ent.Tx, home *ent.DeviceGroup, since wire.Epoch) (wire.HeartbeatAnswer, error) {
	var a wire.HeartbeatAnswer
	counters, err := tx.Counter.Query().Where(counter.IDIn(ContentCounter, NodeCounter)).All(ctx)
	if err != nil {
		return a, fmt.Errorf("read the counters: %w", err)
	}
	for _, c := range counters {
		e := wire.Epoch{Stream: c.Stream, N: c.Value}
		if c.ID == ContentCounter {
			a.ContentEpoch = e
		} else {
			a.NodeEpoch = e
		}
	}
	switch {
	case a.NodeEpoch == since:
		return a, nil
	case !a.NodeEpoch.Covers(since), home.NodesLeftEpoch > since.N:
		a.AllNodes = true
		return a, nil
	}
	ids, err := tx.Node.Query().Where(node.HomeSiteID(home.ID), node.EpochGT(since.N)).
		Order(ent.Asc(node.FieldEpoch)).Limit(maxChanged + 1).IDs(ctx)
	if err != nil {
		return a, fmt.Errorf("find the changed nodes: %w", err)
	}
	if len(ids) > maxChanged {
		a.AllNodes = true
		return a, nil
	}
	for _, id := range ids {
		a.ChangedNodes = append(a.ChangedNodes, id.String())
	}
	return a, nil
}

// Hear makes an agent what it was when a beat came, if that is newer than what is known.
func (a *Agent) Hear(b Beat) {
	if a.LastSeen != nil && (b.At.Equal(*a.LastSeen) || b.before(*a.LastSeen)) || b.before(a.EnrolledAt) {
		return
	}
	a.LastSeen, a.Heartbeat, a.HeartbeatInterval = &b.At, &b.Report, b.Interval
	a.AgentVersion, a.ProtocolVersion, a.Capabilities = b.Report.AgentVersion, b.Report.ProtocolVersion, b.Report.Capabilities
}

func agentRecord(row *ent.Agent) *Agent {
	a := &Agent{
		SiteID: row.SiteID, EnrolledAt: row.EnrolledAt, LastSeen: row.LastHeartbeatAt, Hostname: row.Hostname,
		AgentVersion: row.AgentVersion, ProtocolVersion: row.ProtocolVersion, Capabilities: list(row.Capabilities),
		HeartbeatInterval: row.HeartbeatInterval,
		Credential:        credentialRecord(row),
	}
	if len(row.Heartbeat) > 0 {
		var h wire.Heartbeat
		if json.Unmarshal(row.Heartbeat, &h) == nil { // what an earlier build wrote may be unreadable, and is soon replaced
			a.Heartbeat = &h
		}
	}
	return a
}
