package api

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/pureboot/pureboot/central/fleet"
	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
)

// TestAnAgentThatLies has a site's agent say what cannot be. It is refused or kept in bounds, and touches no other site.
func TestAnAgentThatLies(t *testing.T) {
	c := newCentral(t)
	own, other := c.site("berlin"), c.site("paris")
	liar := c.enrol(own)
	victim := heard{c: c, credential: c.enrol(other), site: "/api/v1/sites/" + other.ID.String() + "/commands"}
	command := victim.queue("invalidate", object{"scope": "all"}, nil)
	victim.beat() // which it is sent with
	health := func(site store.Group) fleet.Health {
		return must[fleet.Health](c, 200, "GET", "/api/v1/sites/"+site.ID.String()+"/health", c.viewer, nil)
	}
	before := health(other)

	list := func(entry string, n int) string { return "[" + strings.Repeat(entry+",", n-1) + entry + "]" }
	result := func(state string) string {
		return fmt.Sprintf(`{"id":%q,"state":%q,"result":"it was I"}`, command.ID, state)
	}
	long := strings.Repeat("x", 900_000)
	for name, tt := range map[string]struct {
		status int
		body   string
	}{
		"more than is read":         {413, `{"agent_version":"` + strings.Repeat("x", 2<<20) + `"}`},
		"a version of a megabyte":   {200, `{"agent_version":"` + long + `"}`},
		"a boot of a megabyte":      {200, `{"boot_id":"` + long + `"}`},
		"a stream of a megabyte":    {200, `{"node_epoch":{"stream":"` + long + `","n":-9}}`},
		"a service of a megabyte":   {200, `{"services":{"http":"` + long + `"}}`},
		"control characters":        {200, `{"agent_version":"1\u0000\u001b[2J\n2","boot_id":"a\nb","services":{"a\u0007":"\u202eb"}}`},
		"abilities":                 {200, `{"capabilities":` + list(`"`+strings.Repeat("y", 50)+`"`, 10_000) + `}`},
		"results of others":         {200, `{"capabilities":["commands"],"results":[` + result("succeeded") + `,` + result("rejected") + `]}`},
		"ten thousand of them":      {200, `{"capabilities":["commands"],"results":` + list(`{"id":"a","state":"failed","result":"b"}`, 10_000) + `}`},
		"results that are none":     {200, `{"capabilities":["commands"],"results":[{"id":"\u0000","state":"done"},{}]}`},
		"less than nothing":         {200, `{"uptime_seconds":-1,"active_boots":-2,"cache_size_bytes":-3,"cache_hit_rate":-4,"disk_usage_percent":-5,"offline_seconds":-6,"pending_sync_items":-7,"nodes_seen_last_hour":-8}`},
		"more than everything":      {200, `{"cache_hit_rate":1e300,"disk_usage_percent":1e300,"last_sync_result":"superb"}`},
		"no number":                 {400, `{"cache_hit_rate":NaN}`},
		"infinity":                  {400, `{"cache_hit_rate":1e999}`},
		"a text for a number":       {422, `{"cache_hit_rate":"NaN"}`},
		"a number beyond numbers":   {422, `{"seq":99999999999999999999}`},
		"backwards":                 {200, `{"boot_id":"b1","seq":-9223372036854775808}`},
		"the last number":           {200, `{"boot_id":"b1","seq":9223372036854775807}`},
		"after the last":            {200, `{"boot_id":"b1","seq":1}`},
		"another's credential":      {200, `{"site_id":"` + other.ID.String() + `","next_credential":{"rotation":"x","sha256":"y"}}`},
		"settings that nobody sent": {200, `{"config":{"generation":"\u0000g","state":"applied","reason":"` + strings.Repeat("r", 200_000) + `"}}`},
		"deep":                      {400, `{"services":` + strings.Repeat("[", 20_000) + `}`},
	} {
		t.Run(name, func(t *testing.T) {
			r := c.do("POST", wire.PathHeartbeat, liar, tt.body, "Content-Type", "application/json")
			if r.status != tt.status {
				t.Fatalf("%d, want %d: %.500s", r.status, tt.status, r.body)
			}
			if len(r.body) > 128<<10 {
				t.Errorf("an answer of %d bytes", len(r.body))
			}
			if r.status == 200 {
				var a wire.HeartbeatAnswer
				if err := json.Unmarshal(r.body, &a); err != nil || len(a.Commands)+len(a.Recalled) > 0 || len(a.Acked) > 1000 {
					t.Errorf("the answer is %.500s, %v", r.body, err)
				}
			}
			h := health(own)
			if text, err := json.Marshal(h); err != nil || len(text) > 80<<10 || strings.ContainsAny(string(text), "\x1b\u202e") || strings.Contains(h.AgentVersion, "\x1b") {
				t.Errorf("the site's health has %d bytes: %.500s, %v", len(text), text, err)
			}
			if m := h.Metrics; m != nil && (m.UptimeSeconds < 0 || m.ActiveBoots < 0 || m.OfflineSeconds < 0 || m.NodesSeenLastHour < 0 ||
				h.Cache.SizeBytes < 0 || h.Cache.HitRate < 0 || h.Cache.HitRate > 1 || h.Disk.UsagePercent < 0 || h.Disk.UsagePercent > 100 ||
				h.PendingSyncItems < 0 || h.LastSync != nil) {
				t.Errorf("figures that cannot be: %+v %+v %+v", m, h.Cache, h.Disk)
			}
		})
	}
	victim.want(command.Seq, "sent", "")
	if after := health(other); after.AgentVersion != before.AgentVersion || !after.LastSeen.Equal(*before.LastSeen) || after.PendingCommands != 1 {
		t.Errorf("the other site: %+v, was %+v", after, before)
	}
}
