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

// Approval is somebody's leave, asked for and given or not.
type Approval struct {
	ID          uuid.UUID  `json:"id"`
	Action      string     `json:"action" doc:"As node.migrate"`
	Subject     string     `json:"subject" doc:"As node/<id>"`
	RequestedBy string     `json:"requested_by"`
	Status      string     `json:"status" enum:"pending,approved,rejected,expired"`
	DecidedBy   string     `json:"decided_by"`
	DecidedAt   *time.Time `json:"decided_at"`
	Comment     string     `json:"comment" doc:"Of who decided"`
	CreatedAt   time.Time  `json:"created_at"`
	ExpiresAt   time.Time  `json:"expires_at"`
}

// ApprovalQuery selects approvals; a zero field does not narrow.
type ApprovalQuery struct {
	Paging
	Status  string
	Subject string
}

// Approval returns an approval.
func (s *Store) Approval(ctx context.Context, id uuid.UUID) (Approval, error) {
	row, err := s.reader.Approval.Get(ctx, id)
	if err != nil {
		return Approval{}, missing(err)
	}
	return approvalRecord(row), nil
}

// Approvals lists approvals, the latest first.
func (s *Store) Approvals(ctx context.Context, q ApprovalQuery) (Page[Approval], error) {
	var page Page[Approval]
	limit, before, err := q.before()
	if err != nil {
		return page, err
	}
	which := statusOf(q.Status, approval.ExpiresAtGT, approval.ExpiresAtLTE,
		func(s string) predicate.Approval { return approval.StatusEQ(approval.Status(s)) }, approval.And, approval.Or)
	if q.Subject != "" {
		which = append(which, approval.Subject(q.Subject))
	}
	err = s.View(ctx, func(tx *ent.Tx) error {
		total, err := tx.Approval.Query().Where(which...).Count(ctx)
		if err != nil {
			return err
		}
		rows, err := tx.Approval.Query().Where(which...).Where(approval.IDLT(before)).
			Order(ent.Desc(approval.FieldID)).Limit(limit + 1).All(ctx)
		page = pageOf(rows, limit, total, func(a *ent.Approval) string { return a.ID.String() }, approvalRecord)
		return err
	})
	return page, err
}

// DecideApproval gives or denies an approval, with what waits for it. One that was decided before is a *Conflict.
func (s *Store) DecideApproval(ctx context.Context, by Actor, id uuid.UUID, to lifecycle.Decision, comment string) (Approval, error) {
	var decided Approval
	err := s.Write(ctx, func(tx *ent.Tx) error {
		row, err := tx.Approval.Get(ctx, id)
		if err != nil {
			return missing(err)
		}
		before := approvalRecord(row)
		if err := decidable(before.Status, to); err != nil {
			return err
		}
		claim, err := tx.MigrationClaim.Query().Where(migrationclaim.ApprovalID(id)).Only(ctx)
		switch {
		case err == nil:
			err = resolveClaim(ctx, tx, by, claim, to, comment)
		case ent.IsNotFound(err):
			err = row.Update().SetStatus(approval.Status(to)).SetDecidedBy(clean(by.Name, 200)).SetDecidedAt(now()).
				SetComment(clean(comment, maxMessage)).Exec(ctx)
		}
		if err != nil {
			return fmt.Errorf("decide an approval: %w", err)
		}
		if row, err = tx.Approval.Get(ctx, id); err != nil {
			return missing(err)
		}
		decided = approvalRecord(row)
		return Audit(ctx, tx, by, Act{
			Action: "approval." + string(to), Subject: "approval/" + id.String(), Detail: comment, Before: before, After: decided,
		})
	})
	return decided, err
}

// withdrawApprovals ends what was asked about claims that are deleted with a node or a site: nothing waits for the
// answer any more.
func withdrawApprovals(ctx context.Context, tx *ent.Tx, claims predicate.MigrationClaim, why string) error {
	_, err := tx.Approval.Update().Where(approval.StatusEQ(approval.StatusPending), approval.HasClaimWith(claims)).
		SetStatus(approval.StatusExpired).SetDecidedAt(now()).SetComment(why).Save(ctx)
	if err != nil {
		return fmt.Errorf("withdraw approvals: %w", err)
	}
	return nil
}

func approvalRecord(row *ent.Approval) Approval {
	return Approval{
		ID: row.ID, Action: row.Action, Subject: row.Subject, RequestedBy: row.RequestedBy,
		Status: overdue(string(row.Status), row.ExpiresAt), DecidedBy: row.DecidedBy, DecidedAt: row.DecidedAt,
		Comment: row.Comment, CreatedAt: row.CreatedAt, ExpiresAt: row.ExpiresAt,
	}
}
