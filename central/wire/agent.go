package wire

import "time"

// Hello begins every message of an agent.
type Hello struct {
	ProtocolVersion int      `json:"protocol_version"`
	Capabilities    []string `json:"capabilities"`
	AgentVersion    string   `json:"agent_version"`
}

// Register enrols an agent with the join token of its site. The agent makes its own secret and sends only the
// SHA-256 of it, so that no answer carries a secret and a lost answer may be asked for again.
type Register struct {
	Hello
	JoinToken        string `json:"join_token"`
	CredentialSHA256 string `json:"credential_sha256"` // hexadecimal, of the secret's text
	Hostname         string `json:"hostname,omitempty"`
	CSR              string `json:"csr,omitempty"` // PEM, for a certificate as of CertificateRequest
}

// Registered answers Register. The agent's credential is pba_<SiteID>_<secret>.
type Registered struct {
	SiteID     string    `json:"site_id"`
	SiteName   string    `json:"site_name"`
	ServerTime time.Time `json:"server_time"`

	Certificate string `json:"certificate,omitempty"` // PEM, if one was asked for and central makes them
}

// Heartbeat is an agent's regular report.
type Heartbeat struct {
	Hello
	BootID string `json:"boot_id"` // of the agent's process
	Seq    int64  `json:"seq"`     // grows with each heartbeat of that process

	UptimeSeconds     int64             `json:"uptime_seconds"`
	Services          map[string]string `json:"services"` // name: running or the reason why not
	NodesSeenLastHour int               `json:"nodes_seen_last_hour"`
	ActiveBoots       int               `json:"active_boots"` // machines that are being served
	CacheSizeBytes    int64             `json:"cache_size_bytes"`
	CacheEntries      int               `json:"cache_entries"`
	CacheHitRate      float64           `json:"cache_hit_rate"` // share of the reads since its start that needed nothing of central, 0 to 1
	NodeCacheEntries  int               `json:"node_cache_entries"`
	DiskUsagePercent  float64           `json:"disk_usage_percent"`
	OfflineSeconds    int64             `json:"offline_seconds"` // that it was without central the last time, or is; 0 if that never happened since its start
	LastSyncAt        *time.Time        `json:"last_sync_at,omitempty"`
	LastSyncResult    string            `json:"last_sync_result,omitempty"` // success, partial or failed; empty before the first
	PendingSyncItems  int               `json:"pending_sync_items"`         // files that the next sync would fetch
	Sync              *SyncProgress     `json:"sync,omitempty"`             // that runs
	ConflictsPending  int               `json:"conflicts_pending"`

	ContentEpoch Epoch `json:"content_epoch"` // what the agent has seen
	NodeEpoch    Epoch `json:"node_epoch"`

	Config *ConfigReport `json:"config,omitempty"` // none: of an agent that takes no settings

	CommandEpoch Epoch           `json:"command_epoch,omitzero"` // up to where commands are in its journal
	Results      []CommandResult `json:"results,omitempty"`      // what became of them

	Next *NextCredential `json:"next_credential,omitempty"`
}

// HeartbeatAnswer is central's answer.
type HeartbeatAnswer struct {
	ProtocolVersion int       `json:"protocol_version"`
	Capabilities    []string  `json:"capabilities"`
	ServerTime      time.Time `json:"server_time"`
	NextIn          int       `json:"next_in"`          // seconds until the next heartbeat
	Jitter          int       `json:"jitter,omitempty"` // seconds that it may come earlier or later; left out, a tenth of NextIn

	ContentEpoch Epoch `json:"content_epoch"`

	// The nodes of this site that changed after the agent's NodeEpoch, by id, and the epoch to report next.
	// AllNodes means that central cannot tell which: every copy the agent has is to be asked for again.
	NodeEpoch    Epoch    `json:"node_epoch"`
	ChangedNodes []string `json:"changed_nodes,omitempty"`
	AllNodes     bool     `json:"all_nodes,omitempty"`

	Config *SiteConfig `json:"config,omitempty"` // if it is not the one that was offered last

	// CommandEpoch is that of the site's last command. Another stream than the agent's is that of a central that was
	// restored: what the agent has not begun, it is told again or never.
	CommandEpoch Epoch           `json:"command_epoch,omitzero"`
	Commands     []AgentCommand  `json:"commands,omitempty"` // in their order; some may have come before
	Recalled     []CommandRecall `json:"recalled,omitempty"`
	Acked        []CommandAck    `json:"acked,omitempty"` // of the heartbeat's results

	Rotation *Rotation `json:"rotate_credential,omitempty"`
}

// JoinToken answers an admin who asks for one. It is shown once.
type JoinToken struct {
	Token     string    `json:"token" doc:"pbj1.<SHA-256 of the CA's public key>.<id>.<secret>; shown once"`
	ExpiresAt time.Time `json:"expires_at"`
}
