package store

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/lifecycle"
	"github.com/pureboot/pureboot/ent"
	"github.com/pureboot/pureboot/ent/approval"
	"github.com/pureboot/pureboot/ent/migrationclaim"
	"github.com/pureboot/pureboot/ent/predicate"
)

const (
	claimTTL    = 7 * 24 * time.Hour  // for which a claim waits for somebody to decide it
	refusalHold = 30 * 24 * time.Hour // for which a rejected one is not made again
)

// Claim is a site's claim to a node that booted there and whose home is another.
type Claim struct {
	ID                  uuid.UUID  `json:"id"`
	NodeID              uuid.UUID  `json:"node_id"`
	SourceSiteID        *uuid.UUID `json:"source_site_id" format:"uuid" doc:"Null once that site is deleted"`
	TargetSiteID        uuid.UUID  `json:"target_site_id"`
	Status              string     `json:"status" enum:"pending,approved,rejected,expired"`
	AutoApproveEligible bool       `json:"auto_approve_eligible"`
	PolicyMatched       string     `json:"policy_matched" doc:"Empty when an administrator has to decide"`
	ApprovalID          *uuid.UUID `json:"approval_id" format:"uuid"`
	CreatedAt           time.Time  `json:"created_at"`
	ResolvedAt          *time.Time `json:"resolved_at"`
	ExpiresAt           time.Time  `json:"expires_at"`
}

// ClaimQuery selects claims; a zero field does not narrow.
type ClaimQuery struct {
	Paging
	Status string
	Node   uuid.UUID
	Site   uuid.UUID // source or target
}

// ClaimNode claims a node for the site of an agent, where it booted. If the policy of one of the sites allows it, the
// claim is approved at once and the node has moved; else it waits for an administrator. A claim of the same site that
// waits already is returned as it is, one of another site gives way: the machine has gone on. So is one that was rejected
// within the last 30 days, while the node still has the home that it had then: a machine boots often, and nobody wants to
// say no each time.
func (s *Store) ClaimNode(ctx context.Context, by Actor, id uuid.UUID) (Claim, error) {
	var claim Claim
	err := s.Write(ctx, func(tx *ent.Tx) error {
		row, err := tx.Node.Get(ctx, id)
		if err != nil {
			return missing(err)
		}
		switch {
		case !by.agent():
			return fmt.Errorf("%w: only a site claims a node", ErrForbidden)
		case row.HomeSiteID == nil || *row.HomeSiteID == by.Site:
			return &Conflict{Message: "the node belongs to no other site"}
		}
		claim, err = claimNode(ctx, tx, by, row)
		return err
	})
	return claim, err
}

// claimNode is ClaimNode of a node whose home is another site than the agent's.
func claimNode(ctx context.Context, tx *ent.Tx, by Actor, row *ent.Node) (Claim, error) {
	waiting, err := tx.MigrationClaim.Query().
		Where(migrationclaim.NodeID(row.ID), migrationclaim.StatusEQ(migrationclaim.StatusPending)).Only(ctx)
	if err != nil && !ent.IsNotFound(err) {
		return Claim{}, err
	}
	if waiting != nil && waiting.TargetSiteID == by.Site && now().Before(waiting.ExpiresAt) {
		return claimRecord(waiting), nil
	}
	policy, err := migrationPolicy(ctx, tx, *row.HomeSiteID, by.Site)
	if err != nil {
		return Claim{}, err
	}
	if policy == "" {
		refused, err := tx.MigrationClaim.Query().Where(
			migrationclaim.NodeID(row.ID), migrationclaim.SourceSiteID(*row.HomeSiteID), migrationclaim.TargetSiteID(by.Site),
			migrationclaim.StatusEQ(migrationclaim.StatusRejected), migrationclaim.ResolvedAtGT(now().Add(-refusalHold)),
		).Order(ent.Desc(migrationclaim.FieldID)).First(ctx)
		if err == nil {
			return claimRecord(refused), nil
		} else if !ent.IsNotFound(err) {
			return Claim{}, err
		}
	}
	if waiting != nil {
		if err := resolveClaim(ctx, tx, by, waiting, lifecycle.Expired, "the node was claimed again"); err != nil {
			return Claim{}, err
		}
	}
	at := now()
	create := tx.MigrationClaim.Create().SetNodeID(row.ID).SetSourceSiteID(*row.HomeSiteID).SetTargetSiteID(by.Site).
		SetAutoApproveEligible(policy != "").SetPolicyMatched(policy).SetCreatedAt(at).SetExpiresAt(at.Add(claimTTL))
	if policy == "" {
		asked, err := tx.Approval.Create().SetAction("node.migrate").SetSubject("node/" + row.ID.String()).
			SetRequestedBy(clean(by.Name, 200)).SetCreatedAt(at).SetExpiresAt(at.Add(claimTTL)).Save(ctx)
		if err != nil {
			return Claim{}, fmt.Errorf("ask for approval: %w", err)
		}
		create.SetApprovalID(asked.ID)
	}
	made, err := create.Save(ctx)
	if err != nil {
		return Claim{}, fmt.Errorf("claim node: %w", err)
	}
	claim := claimRecord(made)
	if err := Audit(ctx, tx, by, Act{Action: "migration.claim", Subject: "migration/" + made.ID.String(), After: claim}); err != nil {
		return Claim{}, err
	}
	if policy == "" {
		return claim, nil
	}
	if err := resolveClaim(ctx, tx, by, made, lifecycle.Approved, policy); err != nil {
		return Claim{}, err
	}
	return readClaim(ctx, tx, made.ID)
}

// migrationPolicy returns the policy by which a node may move without asking: empty if none allows it.
func migrationPolicy(ctx context.Context, tx *ent.Tx, source, target uuid.UUID) (string, error) {
	for _, side := range []struct {
		site    uuid.UUID
		policy  string
		matched string
	}{{target, "auto_accept", "target"}, {source, "auto_release", "source"}} {
		row, err := tx.DeviceGroup.Get(ctx, side.site)
		if err != nil {
			return "", missing(err)
		}
		g, err := groupRecord(ctx, tx, row)
		if err != nil {
			return "", err
		}
		switch own := g.Effective.MigrationPolicy.Value; own {
		case side.policy, "bidirectional":
			return side.matched + ": " + own, nil
		}
	}
	return "", nil
}

// DecideClaim approves a claim, by which the node moves, or rejects it. One that was decided before is a *Conflict.
func (s *Store) DecideClaim(ctx context.Context, by Actor, id uuid.UUID, to lifecycle.Decision, comment string) (Claim, error) {
	var claim Claim
	err := s.Write(ctx, func(tx *ent.Tx) error {
		row, err := tx.MigrationClaim.Get(ctx, id)
		if err != nil {
			return missing(err)
		}
		if err := resolveClaim(ctx, tx, by, row, to, comment); err != nil {
			return err
		}
		claim, err = readClaim(ctx, tx, id)
		return err
	})
	return claim, err
}

// resolveClaim takes a decision on a claim and on the approval that it waits for, and carries it out.
func resolveClaim(ctx context.Context, tx *ent.Tx, by Actor, row *ent.MigrationClaim, to lifecycle.Decision, comment string) error {
	before := claimRecord(row)
	at := now()
	from := before.Status
	if to == lifecycle.Expired { // which an overdue one is on reading, but not yet in its row
		from = string(row.Status)
	}
	if err := decidable(from, to); err != nil {
		return err
	}
	err := row.Update().SetStatus(migrationclaim.Status(to)).SetResolvedAt(at).Exec(ctx)
	if err != nil {
		return fmt.Errorf("decide a claim: %w", err)
	}
	if row.ApprovalID != nil {
		err := tx.Approval.UpdateOneID(*row.ApprovalID).SetStatus(approval.Status(to)).SetDecidedBy(clean(by.Name, 200)).
			SetDecidedAt(at).SetComment(clean(comment, maxMessage)).Exec(ctx)
		if err != nil {
			return fmt.Errorf("decide a claim: %w", err)
		}
	}
	if to == lifecycle.Approved {
		if err := moveHome(ctx, tx, by, row.NodeID, row.TargetSiteID); err != nil {
			return err
		}
	}
	after, err := readClaim(ctx, tx, row.ID)
	if err != nil {
		return err
	}
	return Audit(ctx, tx, by, Act{
		Action: "migration." + string(to), Subject: "migration/" + row.ID.String(), Detail: comment, Before: before, After: after,
	})
}

// decidable says by a *Conflict why a question cannot be decided so.
func decidable(from string, to lifecycle.Decision) error {
	if err := lifecycle.Decision(from).To(to); err != nil {
		return &Conflict{Message: err.Error()}
	}
	return nil
}

// moveHome gives a node another home.
func moveHome(ctx context.Context, tx *ent.Tx, by Actor, id, to uuid.UUID) error {
	row, err := tx.Node.Get(ctx, id)
	if err != nil {
		return missing(err)
	}
	if _, err := saveNode(ctx, tx, by, tx.Node.UpdateOneID(id).SetHomeSiteID(to)); err != nil {
		return err
	}
	return left(ctx, tx, row.HomeSiteID)
}

// endClaim ends the claim to a node that waits, if one does: an administrator has given the node another home, from which
// it may move by other policies.
func endClaim(ctx context.Context, tx *ent.Tx, by Actor, id uuid.UUID) error {
	waiting, err := tx.MigrationClaim.Query().
		Where(migrationclaim.NodeID(id), migrationclaim.StatusEQ(migrationclaim.StatusPending)).Only(ctx)
	if ent.IsNotFound(err) {
		return nil
	} else if err != nil {
		return err
	}
	return resolveClaim(ctx, tx, by, waiting, lifecycle.Expired, "the node was given another home")
}

// Claim returns a claim.
func (s *Store) Claim(ctx context.Context, id uuid.UUID) (Claim, error) {
	row, err := s.reader.MigrationClaim.Get(ctx, id)
	if err != nil {
		return Claim{}, missing(err)
	}
	return claimRecord(row), nil
}

// Claims lists claims, the latest first.
func (s *Store) Claims(ctx context.Context, q ClaimQuery) (Page[Claim], error) {
	var page Page[Claim]
	limit, before, err := q.before()
	if err != nil {
		return page, err
	}
	which := statusOf(q.Status, migrationclaim.ExpiresAtGT, migrationclaim.ExpiresAtLTE,
		func(s string) predicate.MigrationClaim { return migrationclaim.StatusEQ(migrationclaim.Status(s)) },
		migrationclaim.And, migrationclaim.Or)
	if q.Node != uuid.Nil {
		which = append(which, migrationclaim.NodeID(q.Node))
	}
	if q.Site != uuid.Nil {
		which = append(which, migrationclaim.Or(migrationclaim.SourceSiteID(q.Site), migrationclaim.TargetSiteID(q.Site)))
	}
	err = s.View(ctx, func(tx *ent.Tx) error {
		total, err := tx.MigrationClaim.Query().Where(which...).Count(ctx)
		if err != nil {
			return err
		}
		rows, err := tx.MigrationClaim.Query().Where(which...).Where(migrationclaim.IDLT(before)).
			Order(ent.Desc(migrationclaim.FieldID)).Limit(limit + 1).All(ctx)
		page = pageOf(rows, limit, total, func(c *ent.MigrationClaim) string { return c.ID.String() }, claimRecord)
		return err
	})
	return page, err
}

func readClaim(ctx context.Context, tx *ent.Tx, id uuid.UUID) (Claim, error) {
	row, err := tx.MigrationClaim.Get(ctx, id)
	if err != nil {
		return Claim{}, missing(err)
	}
	return claimRecord(row), nil
}

// claimRecord describes a row. One whose time is over has expired, whether or not anybody wrote so.
func claimRecord(row *ent.MigrationClaim) Claim {
	c := Claim{
		ID: row.ID, NodeID: row.NodeID, SourceSiteID: row.SourceSiteID, TargetSiteID: row.TargetSiteID,
		Status: overdue(string(row.Status), row.ExpiresAt), AutoApproveEligible: row.AutoApproveEligible,
		PolicyMatched: row.PolicyMatched, ApprovalID: row.ApprovalID, CreatedAt: row.CreatedAt,
		ResolvedAt: row.ResolvedAt, ExpiresAt: row.ExpiresAt,
	}
	if c.Status == string(lifecycle.Expired) && c.ResolvedAt == nil {
		c.ResolvedAt = &c.ExpiresAt
	}
	return c
}

// overdue returns the status of a question whose time may be over.
func overdue(status string, expires time.Time) string {
	if status == string(lifecycle.Undecided) && !time.Now().Before(expires) {
		return string(lifecycle.Expired)
	}
	return status
}

// statusOf selects what overdue gives a status.
func statusOf[P any](status string, after, until func(time.Time) P, is func(string) P, and, or func(...P) P) []P {
	switch lifecycle.Decision(status) {
	case "":
		return nil
	case lifecycle.Undecided:
		return []P{is(status), after(now())}
	case lifecycle.Expired:
		return []P{or(is(status), and(is(string(lifecycle.Undecided)), until(now())))}
	}
	return []P{is(status)}
}
