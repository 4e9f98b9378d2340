package store

import (
	"context"
	"fmt"
	"time"

	"github.com/pureboot/pureboot/central/lifecycle"
	"github.com/pureboot/pureboot/ent"
	"github.com/pureboot/pureboot/ent/agentcommand"
	"github.com/pureboot/pureboot/ent/approval"
	"github.com/pureboot/pureboot/ent/idempotencykey"
	"github.com/pureboot/pureboot/ent/migrationclaim"
)

// sweepBatch is how many rows one transaction of a sweep writes at most: others wait for it.
const sweepBatch = 100

// sweep writes down what is over at a time: claims and approvals that nobody decided, commands that nobody began, and
// idempotency keys, which it deletes. Readers see all of it as over without that; rows that say so are for the audit,
// and for the sites' queues and lists to stay small. Several centrals may sweep at once: what
// one has written the other does not find any more.
func (s *Store) sweep(ctx context.Context, at time.Time) {
	for _, kind := range []struct {
		what string
		some func(ctx context.Context, tx *ent.Tx, at time.Time) (int, error)
		due  func(ctx context.Context) (bool, error)
	}{
		{"claims", expireClaims, s.reader.MigrationClaim.Query().
			Where(migrationclaim.StatusEQ(migrationclaim.StatusPending), migrationclaim.ExpiresAtLTE(at)).Exist},
		{"approvals", expireApprovals, s.reader.Approval.Query().
			Where(approval.StatusEQ(approval.StatusPending), approval.ExpiresAtLTE(at)).Exist},
		{"commands", expireCommands, s.reader.AgentCommand.Query().Where(lapsed(at)).Exist},
		{"idempotency keys", forgetAnswers, s.reader.IdempotencyKey.Query().Where(idempotencykey.ExpiresAtLTE(at)).Exist},
	} {
		// Nothing to do is the usual case, and costs no write.
		due, err := kind.due(ctx)
		for n := sweepBatch; err == nil && due && n == sweepBatch; {
			err = s.Write(ctx, func(tx *ent.Tx) (err error) {
				n, err = kind.some(ctx, tx, at)
				return err
			})
		}
		if err != nil && ctx.Err() == nil {
			s.log.Warn("cannot write down what has expired", "what", kind.what, "err", err)
		}
	}
}

// sweeper is who the audit says expired a claim.
var sweeper = Actor{Name: "central"}

// expireClaims expires some claims that nobody decided in time, each with the approval that it waits for.
func expireClaims(ctx context.Context, tx *ent.Tx, at time.Time) (int, error) {
	rows, err := tx.MigrationClaim.Query().Where(migrationclaim.StatusEQ(migrationclaim.StatusPending), migrationclaim.ExpiresAtLTE(at)).
		Order(ent.Asc(migrationclaim.FieldID)).Limit(sweepBatch).All(ctx)
	if err != nil {
		return 0, fmt.Errorf("look for claims: %w", err)
	}
	for _, row := range rows {
		if err := resolveClaim(ctx, tx, sweeper, row, lifecycle.Expired, "nobody decided in time"); err != nil {
			return 0, err
		}
	}
	return len(rows), nil
}

// expireApprovals expires some approvals, of which no claim waits for any.
func expireApprovals(ctx context.Context, tx *ent.Tx, at time.Time) (int, error) {
	ids, err := tx.Approval.Query().Where(approval.StatusEQ(approval.StatusPending), approval.ExpiresAtLTE(at)).
		Order(ent.Asc(approval.FieldID)).Limit(sweepBatch).IDs(ctx)
	if err != nil {
		return 0, fmt.Errorf("look for approvals: %w", err)
	}
	err = tx.Approval.Update().Where(approval.IDIn(ids...)).SetStatus(approval.StatusExpired).SetDecidedAt(at).
		SetDecidedBy(sweeper.Name).SetComment("nobody decided in time").Exec(ctx)
	return len(ids), err
}

// expireCommands expires some commands that nobody began in time.
func expireCommands(ctx context.Context, tx *ent.Tx, at time.Time) (int, error) {
	ids, err := tx.AgentCommand.Query().Where(lapsed(at)).Order(ent.Asc(agentcommand.FieldID)).Limit(sweepBatch).IDs(ctx)
	if err != nil {
		return 0, fmt.Errorf("look for commands: %w", err)
	}
	err = tx.AgentCommand.Update().Where(agentcommand.IDIn(ids...)).SetState(agentcommand.StateExpired).SetFinishedAt(at).Exec(ctx)
	return len(ids), err
}

// forgetAnswers deletes some keys that have expired, and their answers with them.
func forgetAnswers(ctx context.Context, tx *ent.Tx, at time.Time) (int, error) {
	ids, err := tx.IdempotencyKey.Query().Where(idempotencykey.ExpiresAtLTE(at)).
		Order(ent.Asc(idempotencykey.FieldID)).Limit(sweepBatch).IDs(ctx)
	if err != nil {
		return 0, fmt.Errorf("look for idempotency keys: %w", err)
	}
	_, err = tx.IdempotencyKey.Delete().Where(idempotencykey.IDIn(ids...)).Exec(ctx)
	return len(ids), err
}
