package agent

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/pureboot/pureboot/agent/uplink"
	"github.com/pureboot/pureboot/central/wire"
)

// Apply has every room work by settings of the site while it goes on serving, but for those that the operator has
// pinned. They are checked for all rooms first: after an error, which names everything that is wrong, nothing has
// changed. It is called by one goroutine at a time.
func (a *Agent) Apply(s wire.SiteConfig) error {
	c := a.cfg.under(s)
	if err := c.Validate(); err != nil {
		return err
	}
	if a.syncer != nil {
		if err := a.syncer.Configure(c.syncSettings()); err != nil {
			return err
		}
	}
	a.operator.SetRetention(c.Cache.RetentionDays)
	a.cache.SetLimits(int64(c.Cache.MaxSizeGB)*1e9, int64(c.Cache.MinFreeGB)*1e9)
	a.budget.SetRate(int64(c.Sync.MaxMBPerS) * 1e6)
	a.current.Store(&c)
	return nil
}

// siteKeys are the keys of agent.yaml that central sets too, as sites call them with an underscore for the dot.
var siteKeys = []struct {
	key string
	set func(*Config, wire.SiteConfig)
}{
	{"cache.max_size_gb", func(c *Config, s wire.SiteConfig) { c.Cache.MaxSizeGB = s.CacheMaxSizeGB }},
	{"cache.policy", func(c *Config, s wire.SiteConfig) { c.Cache.Policy = s.CachePolicy }},
	{"cache.patterns", func(c *Config, s wire.SiteConfig) { c.Cache.Patterns = s.CachePatterns }},
	{"cache.retention_days", func(c *Config, s wire.SiteConfig) { c.Cache.RetentionDays = s.CacheRetentionDays }},
	{"sync.schedule", func(c *Config, s wire.SiteConfig) { c.Sync.Schedule = s.SyncSchedule }},
	{"sync.max_mb_per_s", func(c *Config, s wire.SiteConfig) { c.Sync.MaxMBPerS = s.SyncMaxMBPerS }},
}

// under returns the configuration with a site's settings in it where nothing is pinned.
func (c Config) under(s wire.SiteConfig) Config {
	for _, k := range siteKeys {
		if !slices.Contains(c.Pinned, settingName(k.key)) {
			k.set(&c, s)
		}
	}
	c.HeartbeatSeconds, c.Autonomy = s.HeartbeatSeconds, s.AutonomyLevel
	return c
}

func (c Config) syncSettings() uplink.SyncSettings {
	return uplink.SyncSettings{Policy: c.Cache.Policy, Patterns: c.Cache.Patterns, Schedule: c.Sync.Schedule}
}

// local is the configuration as the settings of a site, of no generation.
func (c Config) local() wire.SiteConfig {
	return wire.SiteConfig{
		CacheMaxSizeGB: c.Cache.MaxSizeGB, CachePolicy: c.Cache.Policy, CachePatterns: c.Cache.Patterns,
		CacheRetentionDays: c.Cache.RetentionDays, SyncSchedule: c.Sync.Schedule, SyncMaxMBPerS: c.Sync.MaxMBPerS,
		HeartbeatSeconds: c.HeartbeatSeconds, AutonomyLevel: c.Autonomy,
	}
}

// settingName is what a site calls a key of agent.yaml.
func settingName(key string) string { return strings.ReplaceAll(key, ".", "_") }

// pinned returns which of the keys that central sets too are set in a file, or in the environment.
func pinned(text []byte) ([]string, error) {
	var file map[string]any
	if err := yaml.Unmarshal(text, &file); err != nil {
		return nil, fmt.Errorf("find out what is set: %w", err)
	}
	var names []string
	for _, k := range siteKeys {
		section, key, _ := strings.Cut(k.key, ".")
		inside, _ := file[section].(map[string]any)
		text, inEnv := os.LookupEnv(envPrefix + strings.ToUpper(settingName(k.key)))
		// What is set to nothing counts where that means something: no schedule.
		if inside[key] != nil || inEnv && (text != "" || k.key == "sync.schedule") {
			names = append(names, settingName(k.key))
		}
	}
	return names, nil
}
