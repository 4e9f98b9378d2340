package store

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/lifecycle"
	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/ent"
	"github.com/pureboot/pureboot/ent/agentcommand"
	"github.com/pureboot/pureboot/ent/approval"
	"github.com/pureboot/pureboot/ent/auditentry"
	"github.com/pureboot/pureboot/ent/migrationclaim"
)

// TestWhatIsOverIsWrittenDown lets time pass, and several centrals sweep at once. More is over than one batch takes.
func TestWhatIsOverIsWrittenDown(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		f, ctx := fixed(t, o), t.Context()
		const claims = 3
		for i := range claims {
			n := f.node(i+1, &f.berlin.ID, lifecycle.Discovered)
			if _, err := f.ClaimNode(ctx, f.atRome, uuid.MustParse(n.ID)); err != nil {
				t.Fatal(err)
			}
		}
		decided, err := f.Claims(ctx, ClaimQuery{Paging: Paging{Limit: 1}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.DecideClaim(ctx, root, decided.Items[0].ID, lifecycle.Approved, ""); err != nil {
			t.Fatal(err)
		}
		err = f.Write(ctx, func(tx *ent.Tx) error {
			var asked []*ent.ApprovalCreate
			for i := range sweepBatch + 5 {
				asked = append(asked, tx.Approval.Create().SetAction("a.b").SetSubject(fmt.Sprint("a/", i)).SetRequestedBy("x").SetExpiresAt(now().Add(time.Hour)))
			}
			return tx.Approval.CreateBulk(asked...).Exec(ctx)
		})
		if err != nil {
			t.Fatal(err)
		}
		f.queue(CommandSpec{Command: "sync", TTLSeconds: 60})
		late := f.queue(CommandSpec{Command: "invalidate", Params: wire.CommandParams{Scope: "all"}, TTLSeconds: maxTTL})

		over := func() [3]int {
			return [3]int{
				f.Read().MigrationClaim.Query().Where(migrationclaim.StatusEQ(migrationclaim.StatusExpired)).CountX(ctx),
				f.Read().Approval.Query().Where(approval.StatusEQ(approval.StatusExpired)).CountX(ctx),
				f.Read().AgentCommand.Query().Where(agentcommand.StateEQ(agentcommand.StateExpired)).CountX(ctx),
			}
		}
		f.sweep(ctx, now())
		if got := over(); got != [3]int{} {
			t.Errorf("before its time there expired %v", got)
		}
		var sweeps sync.WaitGroup
		for range 3 {
			sweeps.Go(func() { f.sweep(ctx, now().Add(claimTTL+time.Minute)) })
		}
		sweeps.Wait()
		if got, want := over(), [3]int{claims - 1, claims - 1 + sweepBatch + 5, 1}; got != want {
			t.Errorf("there expired %v, want %v", got, want)
		}
		if n := f.Read().AuditEntry.Query().Where(auditentry.Action("migration.expired"), auditentry.Who("central")).CountX(ctx); n != claims-1 {
			t.Errorf("%d claims were audited as expired", n)
		}
		if c, err := f.Command(ctx, f.berlin.ID, late.Seq); err != nil || c.State != lifecycle.CommandQueued {
			t.Errorf("a command with time left is %+v, %v", c, err)
		}
	})
}
