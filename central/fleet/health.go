package fleet

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
)

// Health is how a site is, as far as central knows: from its agent's last heartbeat, and from what central itself
// keeps for the site.
type Health struct {
	SiteID       uuid.UUID         `json:"site_id"`
	SiteName     string            `json:"site_name"`
	AgentStatus  *string           `json:"agent_status" enum:"online,degraded,offline" doc:"Null until an agent is enrolled"`
	LastSeen     *time.Time        `json:"last_seen" doc:"Null until the first heartbeat; all that the agent said is of then"`
	AgentVersion string            `json:"agent_version"`
	Credential   *store.Credential `json:"credential" doc:"Null until an agent is enrolled"`
	Services     map[string]string `json:"services" nullable:"false" doc:"Each running, or why it does not"`
	Metrics      *Metrics          `json:"metrics" doc:"Null until the first heartbeat"`
	Disk         *Disk             `json:"disk" doc:"Null until the first heartbeat"`
	Cache        Cache             `json:"cache"`
	Config       Config            `json:"config" doc:"How far the settings in effect have come"`
	LastSync     *LastSync         `json:"last_sync" doc:"Null until the agent tells of one"`

	Sync             *wire.SyncProgress `json:"sync" doc:"That runs, as of the last heartbeat; null: none does"`
	PendingSyncItems int                `json:"pending_sync_items" doc:"Files that the agent has still to fetch"`
	PendingCommands  int                `json:"pending_commands" doc:"Commands that are not final"`
	ConflictsPending int                `json:"conflicts_pending" doc:"Conflicts that nobody has resolved"`
}

// Metrics are the figures of a heartbeat.
type Metrics struct {
	UptimeSeconds     int64 `json:"uptime_seconds"`
	OfflineSeconds    int64 `json:"offline_seconds" doc:"That the agent was without central the last time since its start, from the first call that failed"`
	NodesSeenLastHour int   `json:"nodes_seen_last_hour"`
	ActiveBoots       int   `json:"active_boots" doc:"Machines that were being served"`
	NodeCacheEntries  int   `json:"node_cache_entries"`
}

// Disk is what the agent says of the disk that holds its cache.
type Disk struct {
	UsagePercent float64 `json:"usage_percent"`
}

// Cache is how full an agent's cache is, and how full it may be.
type Cache struct {
	SizeBytes int64   `json:"size_bytes"`
	Entries   int     `json:"entries"`
	HitRate   float64 `json:"hit_rate" doc:"Share of the reads since the agent's start that needed nothing of central, 0 to 1"`
	Policy    string  `json:"policy" enum:"minimal,assigned,mirror,pattern"`
	MaxSizeGB int     `json:"max_size_gb"`
}

// LastSync is how the agent's last sync went.
type LastSync struct {
	At     *time.Time `json:"at"`
	Result string     `json:"result" enum:"success,partial,failed"`
}

// Health returns how a site is.
func (f *Fleet) Health(ctx context.Context, site uuid.UUID) (Health, error) {
	g, waiting, err := f.Store.SiteState(ctx, site)
	if err != nil {
		return Health{}, err
	}
	f.Judge(&g)
	h := Health{
		SiteID: g.ID, SiteName: g.Name, AgentStatus: g.AgentStatus, LastSeen: g.AgentLastSeen, Services: map[string]string{},
		Cache:           Cache{Policy: g.Effective.CachePolicy.Value, MaxSizeGB: g.Effective.CacheMaxSizeGB.Value},
		PendingCommands: waiting.Commands, ConflictsPending: waiting.Conflicts,
	}
	h.Config = configState(g.Effective, nil)
	if g.Agent != nil {
		h.AgentVersion, h.Credential = g.Agent.AgentVersion, &g.Agent.Credential
		h.Config = configState(g.Effective, g.Agent.Heartbeat)
		h.add(g.Agent.Heartbeat)
	}
	return h, nil
}

// add adds what a heartbeat says.
func (h *Health) add(beat *wire.Heartbeat) {
	if beat == nil {
		return
	}
	if beat.Services != nil {
		h.Services = beat.Services
	}
	h.Metrics = &Metrics{
		UptimeSeconds: beat.UptimeSeconds, OfflineSeconds: beat.OfflineSeconds, NodesSeenLastHour: beat.NodesSeenLastHour,
		ActiveBoots: beat.ActiveBoots, NodeCacheEntries: beat.NodeCacheEntries,
	}
	h.Disk = &Disk{UsagePercent: beat.DiskUsagePercent}
	h.Cache.SizeBytes, h.Cache.Entries, h.Cache.HitRate = beat.CacheSizeBytes, beat.CacheEntries, beat.CacheHitRate
	if beat.LastSyncResult != "" {
		h.LastSync = &LastSync{At: beat.LastSyncAt, Result: beat.LastSyncResult}
	}
	h.Sync, h.PendingSyncItems = beat.Sync, beat.PendingSyncItems
}
