package store

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/lifecycle"
	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/ent"
	"github.com/pureboot/pureboot/ent/agent"
	"github.com/pureboot/pureboot/ent/devicegroup"
)

// ErrNoAgent says that there is the site, and no agent of it.
var ErrNoAgent = errors.New("no agent is enrolled for this site")

// Errors of an agent whose credential is right.
var (
	ErrRevoked = errors.New("an administrator has revoked this agent's credential: enrol it again")
	ErrFenced  = errors.New("another agent has the same credential and is the one that is served: enrol one of the two again, or have the credential rotated")
)

// The states of a credential.
const (
	CredentialValid    = "valid"
	CredentialRotating = "rotating" // the agent is asked for a new one and has not used it yet
	CredentialFenced   = "fenced"   // two agents had it; one is served
	CredentialRevoked  = "revoked"
)

// Credential is how it is with what an agent proves itself by.
type Credential struct {
	State                string     `json:"state" enum:"valid,rotating,fenced,revoked"`
	RotationAskedAt      *time.Time `json:"rotation_asked_at" doc:"Null unless a rotation is under way"`
	FencedAt             *time.Time `json:"fenced_at" doc:"When two agents were found to have it; null unless so"`
	RevokedAt            *time.Time `json:"revoked_at" doc:"Null unless it was revoked"`
	CertificateExpiresAt *time.Time `json:"certificate_expires_at" doc:"Of the agent's certificate; null if it has none"`
}

func credentialRecord(row *ent.Agent) Credential {
	c := Credential{
		State: CredentialValid, RotationAskedAt: row.RotationAskedAt, FencedAt: row.FencedAt, RevokedAt: row.RevokedAt,
		CertificateExpiresAt: row.CertificateExpiresAt,
	}
	switch {
	case row.RevokedAt != nil:
		c.State = CredentialRevoked
	case row.FencedAt != nil:
		c.State = CredentialFenced
	case row.Rotation != "":
		c.State = CredentialRotating
	}
	return c
}

// Standing is what the check of an agent's credential found beside its site.
type Standing struct {
	Boot     string // the agent's process that was heard last
	Rotation string // that the agent is to be asked for; empty: none
	Accepted string // hash of the secret that it has announced for that
}

func secrets(row *ent.Agent) lifecycle.Credential {
	return lifecycle.Credential{Current: row.CredentialHash, Next: row.NextCredentialHash, Rotation: row.Rotation}
}

func boots(row *ent.Agent) lifecycle.Boots {
	var b lifecycle.Boots
	_ = json.Unmarshal(row.Boots, &b) // none yet
	return b
}

// AuthenticateAgent returns the actor that a site's credential stands for, asked by a process of the agent. The first use
// of a new secret ends the old one. Errors: ErrUnauthorized if it is not that of the agent of the site; ErrRevoked,
// ErrFenced.
func (s *Store) AuthenticateAgent(ctx context.Context, site uuid.UUID, secretHash, boot string) (Actor, error) {
	row, err := s.agentOf(ctx, site)
	if err != nil {
		return Actor{}, err
	}
	known := secrets(row)
	after, ok := known.Use(secretHash)
	switch {
	case !ok:
		return Actor{}, ErrUnauthorized
	case row.RevokedAt != nil:
		return Actor{}, ErrRevoked
	case after != known: // only the one that made it has the new secret, so the fence is behind it
		return s.firstUse(ctx, row, secretHash)
	case row.KeptBootID != "" && boot != row.KeptBootID:
		return Actor{}, ErrFenced
	}
	return agentActor(row), nil
}

// AuthenticateCertificate is AuthenticateAgent for the SHA-256 of a certificate that the site's agent was given. The first
// use of a newer one ends the one before.
func (s *Store) AuthenticateCertificate(ctx context.Context, site uuid.UUID, hash, boot string) (Actor, error) {
	row, err := s.agentOf(ctx, site)
	if err != nil {
		return Actor{}, err
	}
	known := lifecycle.Credential{Current: row.CertificateHash, Next: row.NextCertificateHash}
	after, ok := known.Use(hash)
	switch {
	case !ok:
		return Actor{}, ErrUnauthorized
	case row.RevokedAt != nil:
		return Actor{}, ErrRevoked
	case row.KeptBootID != "" && boot != row.KeptBootID:
		return Actor{}, ErrFenced
	case after != known:
		err = s.Write(ctx, func(tx *ent.Tx) error {
			return tx.Agent.Update().Where(agent.ID(row.ID), agent.NextCertificateHash(hash)).
				SetCertificateHash(hash).SetNextCertificateHash("").Exec(ctx)
		})
		if errors.Is(err, ErrNoSpace) { // both stay valid until there is room
			s.log.Warn("an agent's old certificate is not ended yet", "site", site, "err", err)
		} else if err != nil {
			return Actor{}, err
		}
	}
	return agentActor(row), nil
}

// agentOf returns of a site's agent what its credentials are checked by, and of the site what it is called.
func (s *Store) agentOf(ctx context.Context, site uuid.UUID) (*ent.Agent, error) {
	called := func(q *ent.DeviceGroupQuery) { q.Select(devicegroup.FieldName, devicegroup.FieldIsSite) }
	row, err := s.reader.Agent.Query().Where(agent.SiteID(site)).WithSite(called).Select(
		agent.FieldCredentialHash, agent.FieldNextCredentialHash, agent.FieldRotation, agent.FieldRevokedAt,
		agent.FieldCertificateHash, agent.FieldNextCertificateHash, agent.FieldBoots, agent.FieldKeptBootID,
	).Only(ctx)
	if ent.IsNotFound(err) {
		return nil, ErrUnauthorized
	} else if err != nil {
		return nil, fmt.Errorf("authenticate agent: %w", err)
	}
	return row, nil
}

func agentActor(row *ent.Agent) Actor {
	return Actor{Name: "site:" + row.Edges.Site.Name, Site: row.SiteID, Standing: Standing{
		Boot: boots(row).Last, Rotation: row.Rotation, Accepted: row.NextCredentialHash,
	}}
}

// firstUse makes the new secret the only one. The certificates of before are void with the old: who copied the one may
// have copied the other.
func (s *Store) firstUse(ctx context.Context, row *ent.Agent, hash string) (Actor, error) {
	by := agentActor(row)
	by.Standing = Standing{}
	err := s.Write(ctx, func(tx *ent.Tx) error {
		n, err := tx.Agent.Update().Where(agent.ID(row.ID), agent.NextCredentialHash(hash), agent.RevokedAtIsNil()).
			SetCredentialHash(hash).SetNextCredentialHash("").SetRotation("").ClearRotationAskedAt().
			ClearFencedAt().SetKeptBootID("").ClearBoots().
			SetCertificateHash("").SetNextCertificateHash("").ClearCertificateExpiresAt().Save(ctx)
		if err != nil {
			return fmt.Errorf("end the old credential: %w", err)
		}
		if n == 0 {
			return nil // another request was the first
		}
		return Audit(ctx, tx, by, Act{Action: "agent.credential.rotated", Subject: subject(row.Edges.Site)})
	})
	if errors.Is(err, ErrNoSpace) { // both stay valid until there is room
		s.log.Warn("an agent's old credential is not ended yet", "site", row.SiteID, "err", err)
		return by, nil
	} else if err != nil {
		return Actor{}, err
	}
	return by, s.stillThere(ctx, row.SiteID, hash)
}

// stillThere says whether a credential was not revoked in the moment of its first use.
func (s *Store) stillThere(ctx context.Context, site uuid.UUID, hash string) error {
	row, err := s.agentOf(ctx, site)
	switch {
	case err != nil:
		return err
	case row.RevokedAt != nil:
		return ErrRevoked
	case !same(row.CredentialHash, hash):
		return ErrUnauthorized
	}
	return nil
}

// RotateCredential asks a site's agent for a new secret, with the next answer to its heartbeat. ErrNoAgent without an
// agent, *Conflict if its credential is revoked.
func (s *Store) RotateCredential(ctx context.Context, by Actor, site uuid.UUID) (Credential, error) {
	id := rand.Text()
	return s.changeCredential(ctx, by, site, "site.agent_credential.rotate", func(row *ent.Agent, to *ent.AgentUpdateOne) error {
		if row.RevokedAt != nil {
			return &Conflict{Message: "the credential is revoked: enrol the agent again"}
		}
		c := secrets(row).Rotate(id)
		to.SetRotation(c.Rotation).SetNextCredentialHash(c.Next).SetRotationAskedAt(now())
		return nil
	})
}

// RevokeCredential has a site's agent refused from its next request on, for good: it has to be enrolled again. To revoke
// it again changes nothing. ErrNoAgent without an agent.
func (s *Store) RevokeCredential(ctx context.Context, by Actor, site uuid.UUID) (Credential, error) {
	return s.changeCredential(ctx, by, site, "site.agent_credential.revoke", func(row *ent.Agent, to *ent.AgentUpdateOne) error {
		if row.RevokedAt == nil {
			to.SetRevokedAt(now())
		}
		to.SetNextCredentialHash("").SetRotation("").ClearRotationAskedAt()
		return nil
	})
}

func (s *Store) changeCredential(ctx context.Context, by Actor, site uuid.UUID, action string, change func(*ent.Agent, *ent.AgentUpdateOne) error) (Credential, error) {
	var c Credential
	err := s.Write(ctx, func(tx *ent.Tx) error {
		g, err := tx.DeviceGroup.Query().Where(devicegroup.ID(site), devicegroup.IsSite(true)).WithAgent().Only(ctx)
		if err != nil {
			return missing(err)
		}
		row := g.Edges.Agent
		if row == nil {
			return ErrNoAgent
		}
		before := credentialRecord(row)
		update := tx.Agent.UpdateOne(row)
		if err := change(row, update); err != nil {
			return err
		}
		if row, err = update.Save(ctx); err != nil {
			return fmt.Errorf("change a credential: %w", err)
		}
		c = credentialRecord(row)
		return Audit(ctx, tx, by, Act{Action: action, Subject: subject(g), Before: before, After: c})
	})
	return c, err
}

// AnnounceCredential takes the hash of the secret that an agent has made for a rotation, and returns which one it has
// taken: empty if none was asked for.
func (s *Store) AnnounceCredential(ctx context.Context, by Actor, next wire.NextCredential) (accepted string, err error) {
	err = s.Write(ctx, func(tx *ent.Tx) error {
		row, err := tx.Agent.Query().Where(agent.SiteID(by.Site)).Only(ctx)
		if ent.IsNotFound(err) {
			return ErrUnauthorized
		} else if err != nil {
			return err
		}
		known := secrets(row)
		after := known.Announce(next.Rotation, next.SHA256)
		accepted = after.Next
		if after == known {
			return nil
		}
		return tx.Agent.UpdateOne(row).SetNextCredentialHash(after.Next).Exec(ctx)
	})
	return accepted, err
}

// SetCertificate notes the certificate that an agent was given. The one before opens central until this one was used.
func (s *Store) SetCertificate(ctx context.Context, by Actor, hash string, cert *x509.Certificate) error {
	return s.Write(ctx, func(tx *ent.Tx) error {
		row, err := tx.Agent.Query().Where(agent.SiteID(by.Site), agent.RevokedAtIsNil()).WithSite().Only(ctx)
		if ent.IsNotFound(err) {
			return ErrUnauthorized // since the check of its credential
		} else if err != nil {
			return err
		}
		if err := tx.Agent.UpdateOne(row).SetNextCertificateHash(hash).SetCertificateExpiresAt(cert.NotAfter.UTC()).Exec(ctx); err != nil {
			return fmt.Errorf("note a certificate: %w", err)
		}
		names := slices.Clone(cert.DNSNames)
		for _, ip := range cert.IPAddresses {
			names = append(names, ip.String())
		}
		return Audit(ctx, tx, by, Act{
			Action: "agent.certificate", Subject: subject(row.Edges.Site), Detail: "for " + strings.Join(names, " ") + ", SHA-256 " + hash,
		})
	})
}

// HearBoot notes which process of an agent reports. Once two are alive with one credential, the one that was there first
// is kept, and found says so, once; the other gets ErrFenced.
func (s *Store) HearBoot(ctx context.Context, by Actor, boot string) (found bool, err error) {
	err = s.Write(ctx, func(tx *ent.Tx) error {
		found = false
		row, err := tx.Agent.Query().Where(agent.SiteID(by.Site)).WithSite().Only(ctx)
		if ent.IsNotFound(err) {
			return ErrUnauthorized
		} else if err != nil {
			return err
		}
		if row.KeptBootID != "" {
			return nil // the check of the credential knows
		}
		before := boots(row)
		after, alive := before.Hear(boot)
		if after.Last == before.Last {
			return nil // another request of the same process was first
		}
		text, err := json.Marshal(after)
		if err != nil {
			return err
		}
		update := tx.Agent.UpdateOne(row).SetBoots(text)
		if found = alive; found {
			update.SetKeptBootID(boot).SetFencedAt(now())
			err := Audit(ctx, tx, by, Act{
				Action: "agent.fenced", Subject: subject(row.Edges.Site), Detail: "two agents report with one credential: " + boot + " is kept, " + before.Last + " refused",
			})
			if err != nil {
				return err
			}
		}
		return update.Exec(ctx)
	})
	return found, err
}
