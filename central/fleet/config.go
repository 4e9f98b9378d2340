package fleet

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	"github.com/pureboot/pureboot/central/inherit"
	"github.com/pureboot/pureboot/central/wire"
)

// siteConfig returns the settings in effect for a site as its agent gets them. The generation is a digest of the rest:
// every central computes the same one, also after its database was restored, and it changes with a setting of a
// site above as with one of the site's own.
func siteConfig(e inherit.Effective) wire.SiteConfig {
	c := wire.SiteConfig{
		CacheMaxSizeGB:   e.CacheMaxSizeGB.Value,
		CachePolicy:      e.CachePolicy.Value,
		CachePatterns:    e.CachePatterns.Value,
		SyncSchedule:     e.SyncSchedule.Value,
		SyncMaxMBPerS:    e.SyncMaxMBPerS.Value,
		HeartbeatSeconds: e.HeartbeatSeconds.Value,
		AutonomyLevel:    e.AutonomyLevel.Value,
	}
	if e.CacheRetentionDays.From != inherit.Default { // else each category has its own time
		c.CacheRetentionDays = e.CacheRetentionDays.Value
	}
	text, _ := json.Marshal(c) // which cannot fail: it is text and numbers
	sum := sha256.Sum256(text)
	c.Generation = hex.EncodeToString(sum[:8])
	return c
}

// configFor returns what an agent that reports so is to be sent: nothing if it was offered the settings in effect
// already, whatever came of that, or is of a build that takes none.
func configFor(e inherit.Effective, report *wire.ConfigReport) *wire.SiteConfig {
	if report == nil {
		return nil
	}
	c := siteConfig(e)
	if c.Generation == report.Offered {
		return nil
	}
	return &c
}

// ConfigPending is the state of settings that the agent has not heard of yet, or not said what came of them.
const ConfigPending = "pending"

// Config is how far the settings in effect for a site have come.
type Config struct {
	Generation string   `json:"generation" doc:"Of the settings in effect; update_config may name it"`
	Applied    string   `json:"applied" doc:"The generation that the agent works by; empty: none of central's"`
	State      string   `json:"state" enum:"pending,applied,failed,rolled_back" doc:"Of the settings in effect; pending: the agent has not said yet"`
	Reason     string   `json:"reason" doc:"Why the agent does not work by them"`
	Pinned     []string `json:"pinned" nullable:"false" doc:"Settings that the agent's own configuration fixes, which central cannot change"`
}

// configState compares what is in effect with what an agent said of it, which may be nothing.
func configState(e inherit.Effective, beat *wire.Heartbeat) Config {
	c := Config{Generation: siteConfig(e).Generation, State: ConfigPending, Pinned: []string{}}
	if beat == nil || beat.Config == nil {
		return c
	}
	c.Applied = beat.Config.Generation
	if beat.Config.Pinned != nil {
		c.Pinned = beat.Config.Pinned
	}
	switch said := beat.Config.State; {
	case beat.Config.Offered != c.Generation:
	case said == wire.ConfigApplied, said == wire.ConfigFailed, said == wire.ConfigRolledBack:
		c.State, c.Reason = said, beat.Config.Reason
	}
	return c
}
