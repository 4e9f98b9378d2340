package api

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pureboot/pureboot/central/store"
)

func TestATokensLife(t *testing.T) {
	onBoth(t, func(t *testing.T, c *central) {
		const path = "/api/v1/tokens"
		end := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
		answer := c.do("POST", path, c.admin, object{"name": "ci", "role": "operator", "expires_at": end})
		if answer.status != http.StatusCreated || answer.header.Get("Cache-Control") != "no-store" {
			t.Fatalf("%d %v %s", answer.status, answer.header, answer.body)
		}
		made := must[newToken](c, 200, "GET", answer.header.Get("Location"), c.admin, nil)
		if made.Name != "ci" || made.Role != store.Operator || !made.ExpiresAt.Equal(end) || made.CreatedBy != "admin:admin" || made.Text != "" {
			t.Errorf("it reads %+v", made)
		}
		made = must[newToken](c, 201, "POST", path, c.admin, object{"name": "deploy", "role": "viewer"})
		if r := c.do("GET", "/api/v1/nodes", made.Text, nil); r.status != 200 {
			t.Errorf("it opens %d", r.status)
		}
		if got := must[store.Token](c, 200, "PATCH", path+"/"+made.ID, c.admin, object{"role": "admin", "expires_at": end}); got.Role != store.Admin || got.Name != "deploy" || got.ExpiresAt == nil {
			t.Errorf("changed it is %+v", got)
		}
		if r := c.do("GET", path, made.Text, nil); r.status != 200 {
			t.Errorf("its new role opens %d", r.status)
		}
		if got := must[store.Token](c, 200, "PATCH", path+"/"+made.ID, c.admin, object{"expires_at": nil}); got.ExpiresAt != nil {
			t.Errorf("without an end it is %+v", got)
		}
		for range 2 {
			if r := c.do("DELETE", path+"/"+made.ID, c.admin, nil); r.status != http.StatusNoContent {
				t.Errorf("revoking it: %d %s", r.status, r.body)
			}
		}
		if r := c.do("GET", path, made.Text, nil); r.status != http.StatusUnauthorized {
			t.Errorf("revoked it opens %d", r.status)
		}
		if r := c.do("PATCH", path+"/"+made.ID, c.admin, object{"name": "x"}); r.status != http.StatusConflict {
			t.Errorf("changing what was revoked: %d", r.status)
		}
		page := must[store.Page[store.Token]](c, 200, "GET", path+"?limit=3", c.admin, nil)
		if page.Total != 5 || len(page.Items) != 3 || page.NextCursor == "" || page.Items[2].RevokedAt == nil {
			t.Errorf("the list begins %+v", page)
		}
		own := page.Items[0]
		if r := c.do("DELETE", path+"/"+own.ID, c.admin, nil); own.Name != "admin" || r.status != http.StatusConflict {
			t.Errorf("revoking the last admin, %s: %d", own.Name, r.status)
		}
		for what, body := range map[string]any{
			"no role": object{"name": "x"}, "a past end": object{"name": "x", "role": "viewer", "expires_at": "2020-01-01T00:00:00Z"},
			"a role that is none": object{"name": "x", "role": "root"}, "a line break": object{"name": "x\ny", "role": "viewer"},
			"a secret of one's own": object{"name": "x", "role": "viewer", "secret": "hunter2"},
			"an end before Christ":  object{"name": "x", "role": "viewer", "expires_at": "0000-01-01T00:00:00+01:00"},
			"an end in year 10000":  object{"name": "x", "role": "viewer", "expires_at": "9999-12-31T23:59:59-01:00"},
		} {
			if r := c.do("POST", path, c.admin, body); r.status != http.StatusUnprocessableEntity {
				t.Errorf("%s: %d %s", what, r.status, r.body)
			}
		}
		for _, end := range []string{"0000-01-01T00:00:00+01:00", "0000-12-31T00:00:00Z", "9999-12-31T23:59:59-01:00"} {
			if r := c.do("PATCH", path+"/"+own.ID, c.admin, object{"expires_at": end}); r.status != http.StatusUnprocessableEntity || !r.names(t, "body.expires_at") {
				t.Errorf("an end at %s: %d %s", end, r.status, r.body)
			}
		}
		_, secret, _ := strings.Cut(strings.TrimPrefix(made.Text, "pbt_"), "_")
		for _, entry := range c.audited("token.create") {
			if strings.Contains(string(entry.After), secret) {
				t.Error("the audit holds the secret")
			}
		}
		if len(c.log.lines(secret)) > 0 {
			t.Error("the log holds the secret")
		}
	})
}

// Failed logins are limited for each address; what opens something is not, until they were too many.
func TestFailedLoginsAreLimited(t *testing.T) {
	c := newCentral(t)
	c.api.logins.Burst = 5
	agent := c.enrol(c.site("berlin"))
	for i := range 5 {
		token := []string{"pbt_0123456789abcdef_x", agent + "x"}[i%2]
		if r := c.do("GET", "/api/v1/nodes", token, nil); r.status != http.StatusUnauthorized {
			t.Fatalf("attempt %d: %d", i, r.status)
		}
		if r := c.do("GET", "/api/v1/nodes", "", nil); r.status != http.StatusUnauthorized {
			t.Fatalf("without a credential: %d", r.status)
		}
		if i < 4 {
			if r := c.do("GET", "/api/v1/nodes", c.viewer, nil); r.status != 200 {
				t.Errorf("the right one after %d failures: %d", i+1, r.status)
			}
		}
	}
	// Each second gives another attempt back, so a slow machine needs more of them.
	tries := 0
	for ; tries < 100; tries++ {
		if r := c.do("GET", "/api/v1/nodes", "pbt_0123456789abcdef_x", nil); r.status == http.StatusTooManyRequests {
			if wait, err := strconv.Atoi(r.header.Get("Retry-After")); err != nil || wait < 1 {
				t.Errorf("Retry-After: %q", r.header.Get("Retry-After"))
			}
			break
		}
	}
	if tries == 100 {
		t.Error("no address is ever limited")
	}
	if r := c.do("GET", "/healthz", "", nil); r.status != 200 {
		t.Errorf("what is open to all: %d", r.status)
	}
}
