package api

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/fleet"
	"github.com/pureboot/pureboot/central/lifecycle"
	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/ent"
	"github.com/pureboot/pureboot/ent/agentcommand"
)

func TestASyncIsQueuedForASiteThatIsAway(t *testing.T) {
	onBoth(t, testASyncIsQueuedForASiteThatIsAway)
}

func testASyncIsQueuedForASiteThatIsAway(t *testing.T, c *central) {
	site := c.site("berlin")
	at := "/api/v1/sites/" + site.ID.String()
	r := c.do("POST", at+"/sync", c.operator, nil)
	if r.status != 202 || r.header.Get("Location") != at+"/commands/1" {
		t.Fatalf("%d %s %s", r.status, r.header.Get("Location"), r.body)
	}
	first := must[store.Command](c, 200, "GET", at+"/commands/1", c.viewer, nil)
	if _, err := uuid.Parse(first.ID); err != nil || first.Seq != 1 || first.Command != "sync" || first.State != "queued" ||
		!first.ExpiresAt.Equal(first.CreatedAt.Add(7*24*time.Hour)) || first.CreatedBy != "admin:operator" || !strings.Contains(first.Params.Epoch, ":") {
		t.Errorf("queued: %+v", first)
	}
	second := must[store.Command](c, 202, "POST", at+"/sync", c.operator, object{"categories": []string{"images"}})
	third := must[store.Command](c, 202, "POST", at+"/sync", c.operator, object{"force": true, "ttl_seconds": 2_592_000})
	if second.Seq != 2 || third.Seq != 3 || !third.Params.Force {
		t.Errorf("queued: %+v, %+v", second, third)
	}
	for n, want := range map[int]string{1: "superseded by command 3", 2: "superseded by command 3", 3: "queued "} {
		got := must[store.Command](c, 200, "GET", fmt.Sprint(at, "/commands/", n), c.viewer, nil)
		if text := string(got.State) + " " + got.Result; text != want || (got.FinishedAt == nil) != (got.State == "queued") {
			t.Errorf("command %d: %s, finished %v, want %s", n, text, got.FinishedAt, want)
		}
	}
	if got := must[fleet.Health](c, 200, "GET", at+"/health", c.viewer, nil); got.PendingCommands != 1 {
		t.Errorf("pending: %d", got.PendingCommands)
	}
	entries := c.audited("site.sync")
	if len(entries) != 3 || entries[0].Subject != "site/"+site.ID.String() || entries[0].Who != "admin:operator" || !strings.Contains(string(entries[2].After), `"force":true`) {
		t.Errorf("audited: %v", entries)
	}
}

func TestCommandsAreListedAndCanceled(t *testing.T) { onBoth(t, testCommandsAreListedAndCanceled) }

func testCommandsAreListedAndCanceled(t *testing.T, c *central) {
	site, other := c.site("berlin"), c.site("paris")
	at := "/api/v1/sites/" + site.ID.String() + "/commands"
	for i := range 6 {
		must[store.Command](c, 201, "POST", at, c.operator, object{"command": "invalidate", "params": object{"scope": "content", "glob": fmt.Sprint("images/", i)}})
	}
	must[store.Command](c, 201, "POST", "/api/v1/sites/"+other.ID.String()+"/commands", c.operator, object{"command": "update_config", "once": true})
	force := func(seq int64, state agentcommand.State) {
		t.Helper()
		err := c.store.Write(t.Context(), func(tx *ent.Tx) error {
			row := tx.AgentCommand.Query().Where(agentcommand.SiteID(site.ID), agentcommand.Seq(seq)).OnlyX(t.Context())
			update := tx.AgentCommand.UpdateOne(row).SetState(state)
			if lifecycle.CommandState(state).Final() {
				update.SetFinishedAt(time.Now().UTC())
			}
			return update.Exec(t.Context())
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	force(2, agentcommand.StateSent)
	force(3, agentcommand.StateSucceeded)

	cancel := func(seq int64, status int, why string) {
		t.Helper()
		for range 2 { // again changes nothing
			r := c.do("POST", fmt.Sprintf("%s/%d/cancel", at, seq), c.operator, nil)
			if r.status != status || !strings.Contains(string(r.body), why) {
				t.Errorf("cancel %d: %d %s, want %d with %q", seq, r.status, r.body, status, why)
			}
		}
	}
	cancel(1, 200, `"state":"canceled"`)
	cancel(2, 200, `"state":"sent","recall":"canceled"`)
	cancel(3, 409, "it is succeeded, which is final")
	cancel(7, 404, "")
	if entries := c.audited("site.command.cancel"); len(entries) != 2 || !strings.Contains(string(entries[0].Before), `"seq":1`) || !strings.Contains(string(entries[1].After), `"recall":"canceled"`) {
		t.Errorf("audited: %d", len(entries))
	}

	for query, want := range map[string]string{
		"": "6 5 4 3 2 1", "state=queued": "6 5 4", "state=canceled": "1", "state=sent": "2", "state=failed": "",
	} {
		var got []string
		for cursor := ""; ; {
			page := must[store.Page[store.Command]](c, 200, "GET", at+"?limit=2&cursor="+cursor+"&"+query, c.viewer, nil)
			for _, command := range page.Items {
				got = append(got, fmt.Sprint(command.Seq))
			}
			if cursor == "" && query == "" {
				must[store.Command](c, 201, "POST", at, c.operator, object{"command": "sync"}) // behind who pages
			}
			if cursor = page.NextCursor; cursor == "" {
				break
			}
		}
		if query == "state=queued" {
			got = slices.DeleteFunc(got, func(s string) bool { return s == "7" })
		}
		if text := strings.Join(got, " "); text != want {
			t.Errorf("%q: %s, want %s", query, text, want)
		}
	}
	for name, bad := range map[string]struct {
		method, path string
		body         any
		status       int
		field        string
	}{
		"a state":      {"GET", at + "?state=lost", nil, 422, "query.state"},
		"a cursor":     {"GET", at + "?cursor=eA", nil, 422, "query.cursor"},
		"no site":      {"GET", "/api/v1/sites/" + uuid.NewString() + "/commands", nil, 404, ""},
		"for no site":  {"POST", "/api/v1/sites/" + uuid.NewString() + "/sync", nil, 404, ""},
		"a number":     {"GET", at + "/0", nil, 422, "path.n"},
		"no command":   {"POST", at, object{}, 422, "body"},
		"a command":    {"POST", at, object{"command": "reboot"}, 422, "body.command"},
		"a parameter":  {"POST", at, object{"command": "sync", "params": object{"speed": 1}}, 422, "body.params.speed"},
		"a category":   {"POST", at, object{"command": "sync", "params": object{"categories": []string{"music"}}}, 422, "body.params.categories[0]"},
		"a scope":      {"POST", at, object{"command": "invalidate", "params": object{"scope": "world"}}, 422, "body.params.scope"},
		"no scope":     {"POST", at, object{"command": "invalidate"}, 422, "body.params.scope"},
		"of another":   {"POST", at, object{"command": "sync", "params": object{"scope": "all"}}, 422, "body.params.scope"},
		"a generation": {"POST", at, object{"command": "update_config", "params": object{"generation": "a b"}}, 422, "body.params.generation"},
		"a TTL":        {"POST", at, object{"command": "sync", "ttl_seconds": 9_999_999}, 422, "body.ttl_seconds"},
		"sync: a TTL":  {"POST", "/api/v1/sites/" + site.ID.String() + "/sync", object{"ttl_seconds": -1}, 422, "body.ttl_seconds"},
		"sync: twice":  {"POST", "/api/v1/sites/" + site.ID.String() + "/sync", object{"categories": []string{"images", "images"}}, 422, "body.categories"},
	} {
		if r := c.do(bad.method, bad.path, c.operator, bad.body); r.status != bad.status || bad.field != "" && !r.names(t, bad.field) {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
}

// Whether or not anybody has noted it, a command that waited too long is expired.
func TestACommandExpires(t *testing.T) { onBoth(t, testACommandExpires) }

func testACommandExpires(t *testing.T, c *central) {
	site := c.site("berlin")
	at := "/api/v1/sites/" + site.ID.String() + "/commands"
	for range 2 {
		must[store.Command](c, 201, "POST", at, c.operator, object{"command": "sync", "ttl_seconds": 1, "once": true})
	}
	past := time.Now().Add(-time.Hour)
	err := c.store.Write(t.Context(), func(tx *ent.Tx) error {
		rows := tx.AgentCommand.Query().AllX(t.Context())
		if err := tx.AgentCommand.DeleteOneID(rows[1].ID).Exec(t.Context()); err != nil {
			return err
		}
		return tx.AgentCommand.Create().SetID(rows[1].ID).SetSiteID(site.ID).SetSeq(rows[1].Seq).SetCommand(rows[1].Command).SetParams(rows[1].Params).
			SetTTLSeconds(1).SetCreatedBy("x").SetExpiresAt(past).Exec(t.Context())
	})
	if err != nil {
		t.Fatal(err)
	}
	check := func() {
		t.Helper()
		got := must[store.Command](c, 200, "GET", at+"/2", c.viewer, nil)
		if got.State != lifecycle.CommandExpired || got.FinishedAt == nil {
			t.Errorf("it is %s, finished %v", got.State, got.FinishedAt)
		}
		if list := must[store.Page[store.Command]](c, 200, "GET", at+"?state=expired", c.viewer, nil); list.Total != 1 || len(list.Items) != 1 || list.Items[0].Seq != 2 {
			t.Errorf("expired: %+v", list)
		}
		if list := must[store.Page[store.Command]](c, 200, "GET", at+"?state=queued", c.viewer, nil); list.Total != len(list.Items) || slices.ContainsFunc(list.Items, func(c store.Command) bool { return c.Seq == 2 }) {
			t.Errorf("queued: %+v", list)
		}
	}
	check()
	if r := c.do("POST", at+"/2/cancel", c.operator, nil); r.status != 409 || !strings.Contains(string(r.body), "it is expired, which is final") {
		t.Errorf("cancel: %d %s", r.status, r.body)
	}
	must[store.Command](c, 201, "POST", at, c.operator, object{"command": "sync"})
	check()
	if row := c.store.Read().AgentCommand.Query().Where(agentcommand.Seq(2)).OnlyX(t.Context()); row.State != agentcommand.StateExpired {
		t.Errorf("the row is %s", row.State)
	}
}

func TestASitesCommandsAreBounded(t *testing.T) {
	c := newCentral(t)
	site := c.site("berlin")
	at := "/api/v1/sites/" + site.ID.String() + "/commands"
	queue := func(i int) reply {
		return c.do("POST", at, c.operator, object{"command": "invalidate", "params": object{"scope": "content", "glob": fmt.Sprint("images/", i)}})
	}
	for i := range 100 {
		if r := queue(i); r.status != 201 {
			t.Fatalf("%d: %d %s", i, r.status, r.body)
		}
	}
	if r := queue(100); r.status != 409 || !strings.Contains(string(r.body), "100 commands wait") {
		t.Errorf("one more: %d %s", r.status, r.body)
	}
	all := must[store.Command](c, 201, "POST", at, c.operator, object{"command": "invalidate", "params": object{"scope": "all"}})
	if list := must[store.Page[store.Command]](c, 200, "GET", at+"?state=queued", c.viewer, nil); list.Total != 1 || list.Items[0].ID != all.ID || all.Seq != 101 {
		t.Errorf("after one that covers all: %d, %+v", list.Total, list.Items)
	}
}

// The numbers of a site's commands have no gaps and come in the order of their transactions, whoever queues beside.
func TestNumbersOfCommandsAreDense(t *testing.T) { onBoth(t, testNumbersOfCommandsAreDense) }

func testNumbersOfCommandsAreDense(t *testing.T, c *central) {
	sites := []store.Group{c.site("berlin"), c.site("paris")}
	const writers, each = 4, 8
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				_, err := c.store.QueueCommand(t.Context(), store.Actor{Name: "test"}, sites[i%2].ID, store.CommandSpec{
					Command: wire.CommandInvalidate, Params: wire.CommandParams{Scope: "content", Glob: fmt.Sprint(w, i)},
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for _, site := range sites {
		rows := c.store.Read().AgentCommand.Query().Where(agentcommand.SiteID(site.ID)).Order(ent.Asc(agentcommand.FieldSeq)).AllX(t.Context())
		if len(rows) != writers*each/2 {
			t.Errorf("%s: %d commands", site.Name, len(rows))
		}
		for i, row := range rows {
			if row.Seq != int64(i+1) {
				t.Errorf("%s: number %d is %d", site.Name, i, row.Seq)
			}
		}
	}
	if r := c.do("DELETE", "/api/v1/sites/"+sites[0].ID.String(), c.admin, nil); r.status != 204 {
		t.Fatalf("delete: %d %s", r.status, r.body)
	}
	if n := c.store.Read().AgentCommand.Query().Where(agentcommand.SiteID(sites[0].ID)).CountX(t.Context()); n != 0 {
		t.Errorf("%d commands of a deleted site", n)
	}
}

func TestTheHealthOfASite(t *testing.T) { onBoth(t, testTheHealthOfASite) }

func testTheHealthOfASite(t *testing.T, c *central) {
	region := c.site("region", object{"cache_max_size_gb": 70})
	site := c.site("berlin", object{"parent_id": region.ID, "cache_policy": "mirror"})
	at := "/api/v1/sites/" + site.ID.String() + "/health"
	if h := must[fleet.Health](c, 200, "GET", at, c.viewer, nil); h.AgentStatus != nil || h.LastSeen != nil || h.Metrics != nil || h.LastSync != nil || h.Services == nil || h.Cache.MaxSizeGB != 70 || h.Cache.Policy != "mirror" {
		t.Errorf("before there is an agent: %+v", h)
	}
	agent := c.enrol(site)
	if h := must[fleet.Health](c, 200, "GET", at, c.viewer, nil); h.AgentStatus == nil || *h.AgentStatus != "offline" || h.Metrics != nil {
		t.Errorf("before its first heartbeat: %+v", h)
	}
	synced := time.Now().UTC().Truncate(time.Second)
	must[wire.HeartbeatAnswer](c, 200, "POST", wire.PathHeartbeat, agent, wire.Heartbeat{
		Hello: wire.Hello{AgentVersion: "1.2"}, UptimeSeconds: 1, Services: map[string]string{"http": "running", "tftp": "address in use"}, NodesSeenLastHour: 2,
		ActiveBoots: 3, CacheSizeBytes: 4, CacheEntries: 5, CacheHitRate: 0.6, NodeCacheEntries: 7, DiskUsagePercent: 8.5, OfflineSeconds: 9,
		LastSyncAt: &synced, LastSyncResult: "partial", PendingSyncItems: 10,
		Sync: &wire.SyncProgress{Trigger: wire.TriggerSchedule, StartedAt: synced, FilesTotal: 12, FilesSynced: 2},
	})
	err := c.store.Write(t.Context(), func(tx *ent.Tx) error {
		for i := range 3 {
			create := tx.SyncConflict.Create().SetEntityType("node").SetEntityID(uuid.New()).SetSiteID(site.ID)
			if i == 2 {
				create.SetResolvedAt(synced).SetResolution("merged")
			}
			if err := create.Exec(t.Context()); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	h := must[fleet.Health](c, 200, "GET", at, c.viewer, nil)
	if h.SiteName != "berlin" || *h.AgentStatus != "degraded" || h.LastSeen == nil || h.AgentVersion != "1.2" || h.Services["tftp"] != "address in use" ||
		*h.Metrics != (fleet.Metrics{UptimeSeconds: 1, OfflineSeconds: 9, NodesSeenLastHour: 2, ActiveBoots: 3, NodeCacheEntries: 7}) || h.Disk.UsagePercent != 8.5 ||
		h.Cache != (fleet.Cache{SizeBytes: 4, Entries: 5, HitRate: 0.6, Policy: "mirror", MaxSizeGB: 70}) || !h.LastSync.At.Equal(synced) || h.LastSync.Result != "partial" ||
		h.PendingSyncItems != 10 || h.ConflictsPending != 2 || h.Sync == nil || h.Sync.FilesTotal != 12 {
		t.Errorf("got %+v", h)
	}
	if r := c.do("GET", "/api/v1/sites/"+uuid.NewString()+"/health", c.viewer, nil); r.status != 404 {
		t.Errorf("of no site: %d", r.status)
	}
}
