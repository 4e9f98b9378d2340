package store

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/lifecycle"
	"github.com/pureboot/pureboot/ent"
	"github.com/pureboot/pureboot/ent/auditentry"
	"github.com/pureboot/pureboot/ent/migrationclaim"
)

func conflict(err error) bool { _, ok := errors.AsType[*Conflict](err); return ok }

func TestAClaimIsDecidedOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		f, ctx := fixed(t, o), t.Context()
		id := uuid.MustParse(f.node(1, &f.berlin.ID, lifecycle.Discovered).ID)
		home := func() uuid.UUID { return *f.Read().Node.GetX(ctx, id).HomeSiteID }

		if _, err := f.ClaimNode(ctx, f.atBerlin, id); !conflict(err) {
			t.Errorf("its own home claims it: %v", err)
		}
		if _, err := f.ClaimNode(ctx, root, id); !errors.Is(err, ErrForbidden) {
			t.Errorf("an administrator claims it: %v", err)
		}
		first, err := f.ClaimNode(ctx, f.atRome, id)
		if err != nil || first.Status != "pending" || first.ApprovalID == nil || home() != f.berlin.ID {
			t.Fatalf("the claim is %+v, %v; the home %v", first, err, home())
		}
		if again, err := f.ClaimNode(ctx, f.atRome, id); err != nil || again.ID != first.ID {
			t.Errorf("claimed again: %+v, %v", again, err)
		}
		asked, err := f.Approval(ctx, *first.ApprovalID)
		if err != nil || asked.Status != "pending" || asked.Subject != "node/"+id.String() {
			t.Errorf("the approval is %+v, %v", asked, err)
		}
		if rejected, err := f.DecideClaim(ctx, root, first.ID, lifecycle.Rejected, "not yet"); err != nil || rejected.Status != "rejected" || rejected.ResolvedAt == nil {
			t.Errorf("rejected: %+v, %v", rejected, err)
		}
		for _, to := range []lifecycle.Decision{lifecycle.Approved, lifecycle.Rejected, lifecycle.Undecided} {
			if _, err := f.DecideClaim(ctx, root, first.ID, to, ""); !conflict(err) {
				t.Errorf("decided again as %s: %v", to, err)
			}
			if _, err := f.DecideApproval(ctx, root, *first.ApprovalID, to, ""); !conflict(err) {
				t.Errorf("its approval decided again as %s: %v", to, err)
			}
		}
		if home() != f.berlin.ID {
			t.Error("a rejected claim moved the node")
		}

		// No is no at the next boot too, but to this site alone and not for ever.
		if held, err := f.ClaimNode(ctx, f.atRome, id); err != nil || held.ID != first.ID || held.Status != "rejected" {
			t.Errorf("claimed once more: %+v, %v", held, err)
		}
		if waiting, err := f.Approvals(ctx, ApprovalQuery{Status: "pending"}); err != nil || waiting.Total != 0 {
			t.Errorf("somebody is asked again: %+v, %v", waiting, err)
		}
		long := time.Now().UTC().Add(-refusalHold - time.Minute)
		if _, err := f.write.ExecContext(ctx, "UPDATE migration_claims SET resolved_at = $1 WHERE id = $2", long, first.ID); err != nil {
			t.Fatal(err)
		}

		// An approval decides its claim, and the node moves.
		second, err := f.ClaimNode(ctx, f.atRome, id)
		if err != nil || second.ID == first.ID {
			t.Fatalf("the second claim is %+v, %v", second, err)
		}
		left := f.Read().DeviceGroup.GetX(ctx, f.berlin.ID).NodesLeftEpoch
		given, err := f.DecideApproval(ctx, root, *second.ApprovalID, lifecycle.Approved, "go")
		if err != nil || given.Status != "approved" || given.DecidedBy != root.Name || given.Comment != "go" {
			t.Errorf("given: %+v, %v", given, err)
		}
		if c, err := f.Claim(ctx, second.ID); err != nil || c.Status != "approved" || home() != f.rome.ID {
			t.Errorf("the claim is %+v, %v; the home %v", c, err, home())
		}
		if now := f.Read().DeviceGroup.GetX(ctx, f.berlin.ID).NodesLeftEpoch; now <= left {
			t.Errorf("the agent it left is not told: %d, %d", left, now)
		}
		page, err := f.Claims(ctx, ClaimQuery{Paging: Paging{Limit: 1}, Site: f.berlin.ID})
		if err != nil || page.Total != 2 || len(page.Items) != 1 || page.Items[0].ID != second.ID {
			t.Errorf("the list begins %+v, %v", page, err)
		}
		rest, err := f.Claims(ctx, ClaimQuery{Paging: Paging{Cursor: page.NextCursor}, Node: id})
		if err != nil || len(rest.Items) != 1 || rest.Items[0].ID != first.ID || rest.NextCursor != "" {
			t.Errorf("it goes on %+v, %v", rest, err)
		}
		if done, err := f.Claims(ctx, ClaimQuery{Status: "approved"}); err != nil || done.Total != 1 {
			t.Errorf("approved are %+v, %v", done, err)
		}

		// A claim goes with its node, and nobody waits for an answer about it.
		third, err := f.ClaimNode(ctx, f.atBerlin, id)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.DeleteNode(ctx, root, id, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Claim(ctx, third.ID); !errors.Is(err, ErrNotFound) {
			t.Errorf("the claim of a deleted node: %v", err)
		}
		if a, err := f.Approval(ctx, *third.ApprovalID); err != nil || a.Status != "expired" {
			t.Errorf("its approval is %+v, %v", a, err)
		}
		if waiting, err := f.Approvals(ctx, ApprovalQuery{Status: "pending"}); err != nil || waiting.Total != 0 {
			t.Errorf("pending are %+v, %v", waiting, err)
		}
	})
}

func TestPoliciesDecideClaims(t *testing.T) {
	for _, test := range []struct{ source, target, matched string }{
		{"manual", "manual", ""},
		{"auto_accept", "auto_release", ""},
		{"manual", "auto_accept", "target: auto_accept"},
		{"auto_release", "manual", "source: auto_release"},
		{"manual", "bidirectional", "target: bidirectional"},
		{"bidirectional", "manual", "source: bidirectional"},
	} {
		t.Run(test.source+" to "+test.target, func(t *testing.T) {
			f, ctx := fixed(t, Options{Dir: t.TempDir(), Log: quiet()}), t.Context()
			// The target has its policy from the site above it.
			above := f.site("italy", func(s *GroupSpec) { s.MigrationPolicy = &test.target })
			set := func(id uuid.UUID, edit func(*GroupSpec)) {
				_, err := f.UpdateGroup(ctx, root, true, id, 0, func(s GroupSpec) (GroupSpec, error) { edit(&s); return s, nil })
				if err != nil {
					t.Fatal(err)
				}
			}
			set(f.berlin.ID, func(s *GroupSpec) { s.MigrationPolicy = &test.source })
			set(f.rome.ID, func(s *GroupSpec) { s.ParentID = &above.ID })
			id := uuid.MustParse(f.node(1, &f.berlin.ID, lifecycle.Discovered).ID)
			c, err := f.ClaimNode(ctx, f.atRome, id)
			home, status := f.berlin.ID, "pending"
			if test.matched != "" {
				home, status = f.rome.ID, "approved"
			}
			if err != nil || c.PolicyMatched != test.matched || c.AutoApproveEligible != (test.matched != "") || c.Status != status {
				t.Errorf("the claim is %+v, %v", c, err)
			}
			if got := *f.Read().Node.GetX(ctx, id).HomeSiteID; got != home {
				t.Errorf("the home is %v, want %v", got, home)
			}
		})
	}
}

func TestARejectedClaimHoldsForWhatWasAsked(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		f, ctx := fixed(t, o), t.Context()
		oslo := Actor{Name: "site:oslo", Site: f.site("oslo", nil).ID}
		id := uuid.MustParse(f.node(1, &f.berlin.ID, lifecycle.Discovered).ID)
		claim := func(by Actor, status string) Claim {
			t.Helper()
			c, err := f.ClaimNode(ctx, by, id)
			if err != nil || c.Status != status {
				t.Fatalf("%s: the claim is %+v, %v, want it %s", by.Name, c, err, status)
			}
			return c
		}
		reject := func(c Claim) {
			t.Helper()
			if _, err := f.DecideClaim(ctx, root, c.ID, lifecycle.Rejected, ""); err != nil {
				t.Fatal(err)
			}
		}
		reject(claim(f.atRome, "pending"))
		waiting := claim(oslo, "pending") // another site may ask
		claim(f.atRome, "rejected")
		if c, err := f.Claim(ctx, waiting.ID); err != nil || c.Status != "pending" {
			t.Errorf("the refused site took away what another one waits for: %+v, %v", c, err)
		}

		// From another home the same site may ask.
		move := func(to uuid.UUID) {
			t.Helper()
			_, err := f.UpdateNode(ctx, root, id, 0, func(n NodeSpec) (NodeSpec, error) { n.HomeSiteID = &to; return n, nil })
			if err != nil {
				t.Fatal(err)
			}
		}
		move(oslo.Site)
		reject(claim(f.atRome, "pending"))
		move(f.berlin.ID)
		claim(f.atRome, "rejected")

		// A policy that allows it now needs nobody's word.
		policy := "auto_accept"
		if _, err := f.UpdateGroup(ctx, root, true, f.rome.ID, 0, func(s GroupSpec) (GroupSpec, error) { s.MigrationPolicy = &policy; return s, nil }); err != nil {
			t.Fatal(err)
		}
		claim(f.atRome, "approved")
	})
}

// Who moves a node himself has answered what was asked about it, and its new home's policy is asked next.
func TestAMoveEndsTheClaimThatWaits(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		f, ctx := fixed(t, o), t.Context()
		oslo := f.site("oslo", nil).ID
		id := uuid.MustParse(f.node(1, &f.berlin.ID, lifecycle.Discovered).ID)
		waiting, err := f.ClaimNode(ctx, f.atRome, id)
		if err != nil || waiting.Status != "pending" {
			t.Fatalf("the claim is %+v, %v", waiting, err)
		}
		edit := func(home uuid.UUID, name string) {
			t.Helper()
			_, err := f.UpdateNode(ctx, root, id, 0, func(n NodeSpec) (NodeSpec, error) {
				n.HomeSiteID, n.Hostname = &home, name
				return n, nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		edit(f.berlin.ID, "stays")
		if c, err := f.Claim(ctx, waiting.ID); err != nil || c.Status != "pending" {
			t.Errorf("where the node stays it is %+v, %v", c, err)
		}
		edit(oslo, "moves")
		if c, err := f.Claim(ctx, waiting.ID); err != nil || c.Status != "expired" {
			t.Errorf("once the node is elsewhere it is %+v, %v", c, err)
		}
		if a, err := f.Approval(ctx, *waiting.ApprovalID); err != nil || a.Status != "expired" || a.DecidedBy != root.Name {
			t.Errorf("its approval is %+v, %v", a, err)
		}
		policy := "auto_release"
		if _, err := f.UpdateGroup(ctx, root, true, oslo, 0, func(s GroupSpec) (GroupSpec, error) { s.MigrationPolicy = &policy; return s, nil }); err != nil {
			t.Fatal(err)
		}
		if c, err := f.ClaimNode(ctx, f.atRome, id); err != nil || c.Status != "approved" || *c.SourceSiteID != oslo {
			t.Errorf("claimed from its new home: %+v, %v", c, err)
		}
	})
}

func TestAnOverdueClaimHasExpired(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		f, ctx := fixed(t, o), t.Context()
		id := uuid.MustParse(f.node(1, &f.berlin.ID, lifecycle.Discovered).ID)
		made, err := f.ClaimNode(ctx, f.atRome, id)
		if err != nil {
			t.Fatal(err)
		}
		past := time.Now().UTC().Add(-time.Minute)
		for table, id := range map[string]uuid.UUID{"migration_claims": made.ID, "approvals": *made.ApprovalID} {
			// What is immutable ages all the same.
			if _, err := f.write.ExecContext(ctx, "UPDATE "+table+" SET expires_at = $1 WHERE id = $2", past, id); err != nil {
				t.Fatal(err)
			}
		}
		if c, err := f.Claim(ctx, made.ID); err != nil || c.Status != "expired" || c.ResolvedAt == nil {
			t.Errorf("it is %+v, %v", c, err)
		}
		for status, want := range map[string]int{"pending": 0, "expired": 1, "": 1, "approved": 0} {
			claims, err1 := f.Claims(ctx, ClaimQuery{Status: status})
			approvals, err2 := f.Approvals(ctx, ApprovalQuery{Status: status})
			if err := errors.Join(err1, err2); err != nil || claims.Total != want || approvals.Total != want {
				t.Errorf("%q are %d claims and %d approvals, %v", status, claims.Total, approvals.Total, err)
			}
		}
		if _, err := f.DecideClaim(ctx, root, made.ID, lifecycle.Approved, ""); !conflict(err) {
			t.Errorf("approved too late: %v", err)
		}
		again, err := f.ClaimNode(ctx, f.atRome, id)
		if err != nil || again.ID == made.ID || again.Status != "pending" {
			t.Errorf("claimed again: %+v, %v", again, err)
		}
	})
}

// One node has one claim that waits, however many sites see it at once.
func TestOneClaimWaits(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		f, ctx := fixed(t, o), t.Context()
		third := f.site("oslo", nil)
		id := uuid.MustParse(f.node(1, &f.berlin.ID, lifecycle.Discovered).ID)
		sites := make(chan Actor, 8)
		for range 4 {
			sites <- f.atRome
			sites <- Actor{Name: "site:oslo", Site: third.ID}
		}
		together(t, 8, func(ctx context.Context) error {
			_, err := f.ClaimNode(ctx, <-sites, id)
			return err
		})
		n := f.Read().MigrationClaim.Query().Where(migrationclaim.NodeID(id), migrationclaim.ResolvedAtIsNil()).CountX(ctx)
		if n != 1 {
			t.Errorf("%d claims wait", n)
		}
	})
}

func TestASiteTakesItsClaimsAlong(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		f, ctx := fixed(t, o), t.Context()
		id := uuid.MustParse(f.node(1, &f.berlin.ID, lifecycle.Discovered).ID)
		c, err := f.ClaimNode(ctx, f.atRome, id)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.DeleteGroup(ctx, root, true, f.berlin.ID, 0); !conflict(err) || !strings.Contains(err.Error(), "1 node") {
			t.Errorf("a site with a node: %v", err)
		}
		if err := f.DeleteGroup(ctx, root, true, f.rome.ID, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Claim(ctx, c.ID); !errors.Is(err, ErrNotFound) {
			t.Errorf("the claim is %v", err)
		}
		if a, err := f.Approval(ctx, *c.ApprovalID); err != nil || a.Status != "expired" {
			t.Errorf("its approval is %+v, %v", a, err)
		}
	})
}

func TestAConflictIsResolvedOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		f, ctx := fixed(t, o), t.Context()
		node := uuid.MustParse(f.node(1, &f.berlin.ID, lifecycle.Discovered).ID)
		record := func() uuid.UUID {
			var id uuid.UUID
			err := f.Write(ctx, func(tx *ent.Tx) (err error) {
				id, err = RecordConflict(ctx, tx, SyncConflict{
					EntityType: NodeEntity, EntityID: node, SiteID: f.berlin.ID, Fields: []string{"hostname"},
					BaseState: json.RawMessage(`{"hostname":""}`), CentralState: json.RawMessage(`{"hostname":"a"}`), SiteState: json.RawMessage(`{"hostname":"b"}`),
				})
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			return id
		}
		first, second := record(), record()
		for what, r := range map[string]Resolution{
			"nothing": {}, "an unknown word": {Resolution: "both"}, "merged without a state": {Resolution: "merged"},
			"a state too many": {Resolution: "accepted_site", Merged: map[string]any{}},
			"a state too long": {Resolution: "merged", Merged: map[string]any{"hostname": strings.Repeat("x", maxMerged)}},
		} {
			if _, err := f.ResolveConflict(ctx, root, first, 0, r); err == nil || conflict(err) {
				t.Errorf("%s: %v", what, err)
			}
		}
		bad := errors.New("bad")
		refuse := func(map[string]any) func(NodeSpec) (NodeSpec, error) {
			return func(n NodeSpec) (NodeSpec, error) { return n, bad }
		}
		if _, err := f.ResolveConflict(ctx, root, first, 0, Resolution{Resolution: "accepted_site", Patch: refuse}); !errors.Is(err, bad) {
			t.Errorf("what cannot be applied: %v", err)
		}
		if c, err := f.SyncConflict(ctx, first); err != nil || c.ResolvedAt != nil || string(c.SiteState) != `{"hostname":"b"}` || c.NodeVersion != 1 {
			t.Errorf("it is %+v, %v", c, err)
		}
		name := func(patch map[string]any) func(NodeSpec) (NodeSpec, error) {
			return func(n NodeSpec) (NodeSpec, error) { n.Hostname = patch["hostname"].(string); return n, nil }
		}
		merged := Resolution{Resolution: "merged", Merged: map[string]any{"hostname": "c"}, Patch: name}
		if _, err := f.ResolveConflict(ctx, root, first, 2, merged); !errors.Is(err, ErrVersion) {
			t.Errorf("on another version of the node: %v", err)
		}
		c, err := f.ResolveConflict(ctx, root, first, 1, merged)
		if err != nil || c.ResolvedAt == nil || *c.Resolution != "merged" || c.ResolvedBy != root.Name || string(c.MergedState) != `{"hostname":"c"}` {
			t.Errorf("resolved it is %+v, %v", c, err)
		}
		if n, err := f.Node(ctx, root, node); err != nil || n.Hostname != "c" || n.Version != 2 {
			t.Errorf("the node is %+v, %v", n, err)
		}
		if _, err := f.ResolveConflict(ctx, root, first, 0, Resolution{Resolution: "accepted_central"}); !conflict(err) {
			t.Errorf("resolved again: %v", err)
		}
		if n := f.Read().AuditEntry.Query().Where(auditentry.Action("conflict.resolve")).CountX(ctx); n != 1 {
			t.Errorf("%d audit entries", n)
		}
		yes, no := true, false
		for open, want := range map[*bool]uuid.UUID{&yes: second, &no: first} {
			page, err := f.SyncConflicts(ctx, ConflictQuery{Site: f.berlin.ID, Entity: node, Open: open})
			if err != nil || len(page.Items) != 1 || page.Items[0].ID != want {
				t.Errorf("open %v are %+v, %v", *open, page, err)
			}
		}
		if err := f.DeleteNode(ctx, root, node, 0); err != nil {
			t.Fatal(err)
		}
		if page, err := f.SyncConflicts(ctx, ConflictQuery{}); err != nil || page.Total != 0 {
			t.Errorf("of a deleted node there is %+v, %v", page, err)
		}
	})
}
