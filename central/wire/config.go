package wire

// SiteConfig is the settings in effect for a site, as far as its agent follows them. Central computes it from the
// site's own settings and those of the sites above it.
type SiteConfig struct {
	// Generation names what the other fields say: it changes when, and only when, one of them does. Two generations
	// are the same or not, and neither is the later.
	Generation string `json:"generation"`

	CacheMaxSizeGB     int      `json:"cache_max_size_gb"` // of 10^9 bytes
	CachePolicy        string   `json:"cache_policy" enum:"minimal,assigned,mirror,pattern"`
	CachePatterns      []string `json:"cache_patterns,omitempty"`       // globs of CATEGORY/PATH
	CacheRetentionDays int      `json:"cache_retention_days,omitempty"` // 0: each category's own time
	SyncSchedule       string   `json:"sync_schedule"`                  // five fields of cron
	SyncMaxMBPerS      int      `json:"sync_max_mb_per_s"`              // 10^6 bytes per second; 0: no bound
	HeartbeatSeconds   int      `json:"heartbeat_seconds"`
	AutonomyLevel      string   `json:"autonomy_level" enum:"readonly,limited,full"`
}

// What came of a SiteConfig at an agent.
const (
	ConfigApplied    = "applied"
	ConfigFailed     = "failed"      // the agent cannot work so, and goes on as before
	ConfigRolledBack = "rolled_back" // the agent lost central under it, and went back
)

// ConfigReport is how an agent stands to the settings that central has sent it. Central sends them again when they are
// not those that were offered last.
type ConfigReport struct {
	Generation string   `json:"generation"`       // that the agent works by; empty: none of central's
	Offered    string   `json:"offered"`          // that central sent last; State and Reason are about it
	State      string   `json:"state,omitempty"`  // ConfigApplied, ConfigFailed or ConfigRolledBack; empty: none was sent
	Reason     string   `json:"reason,omitempty"` // why it is not applied
	Pinned     []string `json:"pinned,omitempty"` // names of settings that the site's operator has fixed in the agent's own configuration
}
