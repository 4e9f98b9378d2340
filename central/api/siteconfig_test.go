package api

import (
	"slices"
	"testing"

	"github.com/pureboot/pureboot/central/fleet"
	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
)

func TestTheSettingsOfASiteReachItsAgent(t *testing.T) {
	onBoth(t, testTheSettingsOfASiteReachItsAgent)
}

func testTheSettingsOfASiteReachItsAgent(t *testing.T, c *central) {
	region := c.site("region", object{"cache_max_size_gb": 70})
	site := c.site("berlin", object{"parent_id": region.ID, "cache_policy": "pattern", "cache_patterns": []string{"images/**"}})
	agent := c.enrol(site)
	beat := func(report *wire.ConfigReport) *wire.SiteConfig {
		t.Helper()
		return must[wire.HeartbeatAnswer](c, 200, "POST", wire.PathHeartbeat, agent, wire.Heartbeat{Config: report}).Config
	}
	health := func() fleet.Config {
		t.Helper()
		return must[fleet.Health](c, 200, "GET", "/api/v1/sites/"+site.ID.String()+"/health", c.viewer, nil).Config
	}
	patch := func(id string, fields object) {
		t.Helper()
		must[store.Group](c, 200, "PATCH", "/api/v1/sites/"+id, c.admin, fields)
	}

	if got := beat(nil); got != nil {
		t.Errorf("an agent that takes no settings was sent %+v", got)
	}
	if h := health(); h.State != fleet.ConfigPending || h.Applied != "" || h.Pinned == nil {
		t.Errorf("before the agent said anything: %+v", h)
	}
	first := beat(&wire.ConfigReport{})
	if first == nil {
		t.Fatal("a new agent is sent nothing")
	}
	if first.CacheMaxSizeGB != 70 || first.CachePolicy != "pattern" || !slices.Equal(first.CachePatterns, []string{"images/**"}) ||
		first.CacheRetentionDays != 0 || first.SyncSchedule != "0 2 * * *" || first.SyncMaxMBPerS != 0 || first.HeartbeatSeconds != 60 ||
		first.AutonomyLevel != "readonly" || first.Generation == "" {
		t.Errorf("sent %+v", first)
	}
	applied := &wire.ConfigReport{Generation: first.Generation, Offered: first.Generation, State: wire.ConfigApplied, Pinned: []string{"cache_policy"}}
	if got := beat(applied); got != nil {
		t.Errorf("what is applied was sent again: %+v", got)
	}
	if h := health(); h.State != wire.ConfigApplied || h.Generation != first.Generation || h.Applied != first.Generation || !slices.Equal(h.Pinned, applied.Pinned) {
		t.Errorf("once it is applied: %+v", h)
	}

	patch(region.ID.String(), object{"description": "the north", "auto_provision": true})
	if got := beat(applied); got != nil {
		t.Errorf("for what is no setting of an agent's it was sent %+v", got)
	}
	patch(region.ID.String(), object{"cache_retention_days": 30, "heartbeat_seconds": 5})
	second := beat(applied)
	if second == nil || second.Generation == first.Generation || second.CacheRetentionDays != 30 || second.HeartbeatSeconds != 5 {
		t.Fatalf("after a change of the site above it was sent %+v", second)
	}
	if h := health(); h.State != fleet.ConfigPending || h.Generation != second.Generation || h.Applied != first.Generation {
		t.Errorf("while the agent has yet to say: %+v", h)
	}
	failed := &wire.ConfigReport{Generation: first.Generation, Offered: second.Generation, State: wire.ConfigFailed, Reason: "no room"}
	if got := beat(failed); got != nil {
		t.Errorf("what the agent refused was sent again: %+v", got)
	}
	if h := health(); h.State != wire.ConfigFailed || h.Reason != "no room" || h.Applied != first.Generation || h.Generation != second.Generation {
		t.Errorf("once it is refused: %+v", h)
	}

	// Taken back, the settings are the first ones again, and the agent learns that it may forget the others.
	patch(region.ID.String(), object{"cache_retention_days": nil, "heartbeat_seconds": nil})
	if got := beat(failed); got == nil || got.Generation != first.Generation {
		t.Errorf("taken back: sent %+v", got)
	}
	if h := health(); h.State != fleet.ConfigPending || h.Reason != "" {
		t.Errorf("once it is taken back: %+v", h)
	}
}
