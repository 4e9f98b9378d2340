package api

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
)

func TestAMigrationIsDecidedOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, c *central) {
		s := &scene{central: c}
		path := s.aClaim()
		claim := must[store.Claim](c, 200, "GET", path, c.viewer, nil)
		waiting := must[store.Page[store.Claim]](c, 200, "GET", "/api/v1/migrations?status=pending&node_id="+claim.NodeID.String(), c.viewer, nil)
		if claim.Status != "pending" || waiting.Total != 1 || waiting.Items[0].ID != claim.ID {
			t.Errorf("it is %+v, and waiting are %+v", claim, waiting)
		}
		if r := c.do("GET", "/api/v1/migrations?status=lost", c.viewer, nil); r.status != 422 {
			t.Errorf("a status that is none: %d", r.status)
		}
		approved := must[store.Claim](c, 200, "POST", path+"/approve", c.operator, object{"comment": "go"})
		if approved.Status != "approved" || approved.ResolvedAt == nil {
			t.Errorf("approved it is %+v", approved)
		}
		for _, verb := range []string{"/approve", "/reject"} {
			if r := c.do("POST", path+verb, c.operator, nil); r.status != http.StatusConflict || !strings.Contains(string(r.body), "it is approved, which is final") {
				t.Errorf("%s again: %d %s", verb, r.status, r.body)
			}
		}
		node := must[wire.Node](c, 200, "GET", "/api/v1/nodes/"+claim.NodeID.String(), c.viewer, nil)
		if node.HomeSiteID != claim.TargetSiteID.String() {
			t.Errorf("the node's home is %s", node.HomeSiteID)
		}
		approval := must[store.Approval](c, 200, "GET", "/api/v1/approvals/"+claim.ApprovalID.String(), c.viewer, nil)
		if approval.Status != "approved" || approval.DecidedBy != "admin:operator" || approval.Comment != "go" {
			t.Errorf("the approval is %+v", approval)
		}
		if page := must[store.Page[store.Approval]](c, 200, "GET", "/api/v1/approvals?status=approved&subject=node/"+node.ID, c.viewer, nil); page.Total != 1 {
			t.Errorf("approvals are %+v", page)
		}
		rejected := must[store.Claim](c, 200, "POST", s.aClaim()+"/reject", c.operator, nil)
		if node := must[wire.Node](c, 200, "GET", "/api/v1/nodes/"+rejected.NodeID.String(), c.viewer, nil); node.HomeSiteID != rejected.SourceSiteID.String() {
			t.Errorf("after a rejected claim the home is %s", node.HomeSiteID)
		}
	})
}

func TestTheAuditIsListed(t *testing.T) {
	onBoth(t, func(t *testing.T, c *central) {
		began := time.Now().Add(-time.Minute).UTC()
		site := c.site("berlin")
		must[store.Group](c, 200, "PATCH", "/api/v1/sites/"+site.ID.String(), c.admin, object{"description": "x"}, wire.HeaderRequestID, "my-request")
		c.site("rome")
		for query, want := range map[string]int{
			"":                                 6, // three of them the tokens'
			"action=site.create":               2,
			"subject=site/" + site.ID.String(): 2,
			"who=admin:admin":                  3,
			"who=admin:nobody":                 0,
			"action=site.update&who=admin:admin&since=" + began.Format(time.RFC3339): 1,
			"until=" + began.Format(time.RFC3339):                                    0,
		} {
			page := must[store.Page[store.AuditEntry]](c, 200, "GET", "/api/v1/audit?"+query, c.admin, nil)
			if page.Total != want || len(page.Items) != want {
				t.Errorf("%q lists %d of %d, want %d", query, len(page.Items), page.Total, want)
			}
		}
		page := must[store.Page[store.AuditEntry]](c, 200, "GET", "/api/v1/audit?limit=2", c.admin, nil)
		if e := page.Items[1]; e.Action != "site.update" || e.RequestID != "my-request" || e.From != "127.0.0.1" || !strings.Contains(string(e.After), `"description":"x"`) {
			t.Errorf("the entry is %+v", e)
		}
		next := must[store.Page[store.AuditEntry]](c, 200, "GET", "/api/v1/audit?limit=2&cursor="+page.NextCursor, c.admin, nil)
		if next.Items[0].Action != "site.create" || next.Items[0].ID >= page.Items[1].ID {
			t.Errorf("it goes on %+v", next)
		}
	})
}

func TestAClaimIsDecidedByItsApproval(t *testing.T) {
	onBoth(t, func(t *testing.T, c *central) {
		s := &scene{central: c}
		for verb, want := range map[string]string{"/approve": "approved", "/reject": "rejected"} {
			claim := must[store.Claim](c, 200, "GET", s.aClaim(), c.viewer, nil)
			at := "/api/v1/approvals/" + claim.ApprovalID.String()
			if got := must[store.Approval](c, 200, "POST", at+verb, c.operator, object{"comment": "so be it"}); got.Status != want || got.Comment != "so be it" {
				t.Errorf("%s: %+v", verb, got)
			}
			if got := must[store.Claim](c, 200, "GET", "/api/v1/migrations/"+claim.ID.String(), c.viewer, nil); got.Status != want {
				t.Errorf("%s left the claim %s", verb, got.Status)
			}
			if r := c.do("POST", at+verb, c.operator, nil); r.status != 409 {
				t.Errorf("%s twice: %d %s", verb, r.status, r.body)
			}
		}
	})
}

// TestAMachineThatBootsElsewhereIsClaimed registers a machine of one site at another, by each pair of policies.
func TestAMachineThatBootsElsewhereIsClaimed(t *testing.T) {
	onBoth(t, func(t *testing.T, c *central) {
		for i, test := range []struct{ source, target, policy string }{
			{"manual", "manual", ""},
			{"auto_accept", "auto_release", ""},
			{"manual", "auto_accept", "target: auto_accept"},
			{"auto_release", "manual", "source: auto_release"},
			{"bidirectional", "manual", "source: bidirectional"},
		} {
			s := &scene{central: c, n: 16 * i}
			home := c.site(s.name(), object{"migration_policy": test.source})
			other := c.site(s.name(), object{"migration_policy": test.target})
			agent := c.enrol(other)
			n := must[wire.Node](c, 201, "POST", "/api/v1/nodes", c.operator, object{"mac_address": s.mac(), "home_site_id": home.ID})
			boots := wire.Registration{MACAddress: n.MACAddress, Vendor: "Acme"}
			r := c.do("POST", wire.PathNodes+"/register", agent, boots)
			claims := must[store.Page[store.Claim]](c, 200, "GET", "/api/v1/migrations?node_id="+n.ID, c.viewer, nil)
			if claims.Total != 1 {
				t.Fatalf("%v: %d %s, and the claims are %+v", test, r.status, r.body, claims)
			}
			claim, at := claims.Items[0], n.HomeSiteID
			if claim.PolicyMatched != test.policy || claim.TargetSiteID != other.ID || *claim.SourceSiteID != home.ID {
				t.Errorf("%v: the claim is %+v", test, claim)
			}
			if test.policy == "" {
				if again := c.do("POST", wire.PathNodes+"/register", agent, boots); r.status != 409 || again.status != 409 || claim.Status != "pending" {
					t.Errorf("%v: %d, again %d, the claim is %+v", test, r.status, again.status, claim)
				}
				if got := must[wire.Node](c, 200, "GET", "/api/v1/nodes/"+n.ID, c.viewer, nil); got.HomeSiteID != at || got.Vendor != "" {
					t.Errorf("%v: before it is decided the node is %+v", test, got)
				}
				must[store.Claim](c, 200, "POST", "/api/v1/migrations/"+claim.ID.String()+"/approve", c.operator, nil)
				if r = c.do("POST", wire.PathNodes+"/register", agent, boots); r.status != 200 {
					t.Errorf("%v: once it is approved: %d %s", test, r.status, r.body)
				}
			} else if r.status != 200 || claim.Status != "approved" {
				t.Errorf("%v: %d %s, the claim is %+v", test, r.status, r.body, claim)
			}
			if got := must[wire.Node](c, 200, "GET", "/api/v1/nodes/"+n.ID, c.viewer, nil); got.HomeSiteID != other.ID.String() || got.Vendor != "Acme" {
				t.Errorf("%v: the node is %+v", test, got)
			}
			if boot := must[wire.Boot](c, 200, "GET", wire.PathBoot+"?mac="+n.MACAddress, agent, nil); boot.Node.ID != n.ID {
				t.Errorf("%v: it boots as %+v", test, boot)
			}
			if left := must[store.Page[store.Claim]](c, 200, "GET", "/api/v1/migrations?node_id="+n.ID, c.viewer, nil); left.Total != 1 {
				t.Errorf("%v: in the end there are %d claims", test, left.Total)
			}
		}
	})
}
