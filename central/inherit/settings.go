package inherit

// Settings are what a group or a site may set for itself and all below it. Null inherits: the nearest ancestor that
// sets it decides, else the default. An empty list or map is a value like any other.
type Settings struct {
	DefaultWorkflowID  *string           `json:"default_workflow_id" required:"false" format:"uuid" doc:"Of nodes without a workflow of their own"`
	AutoProvision      *bool             `json:"auto_provision" required:"false" doc:"Install a machine never seen before at once; default false"`
	AutonomyLevel      *string           `json:"autonomy_level" required:"false" enum:"readonly,limited,full" doc:"Default readonly"`
	ConflictResolution *string           `json:"conflict_resolution" required:"false" enum:"central_wins,last_write,site_wins,manual" doc:"Default central_wins"`
	CachePolicy        *string           `json:"cache_policy" required:"false" enum:"minimal,assigned,mirror,pattern" doc:"Default minimal"`
	CachePatterns      []string          `json:"cache_patterns" required:"false" maxItems:"100" doc:"Globs; default none"`
	CacheMaxSizeGB     *int              `json:"cache_max_size_gb" required:"false" minimum:"1" maximum:"1000000" doc:"Default 50"`
	CacheRetentionDays *int              `json:"cache_retention_days" required:"false" minimum:"1" maximum:"36500" doc:"Default 30, and less for scripts and templates"`
	DiscoveryMethod    *string           `json:"discovery_method" required:"false" enum:"dhcp,dns,anycast,fallback" doc:"Default dhcp"`
	DiscoveryConfig    map[string]string `json:"discovery_config" required:"false" maxProperties:"100" doc:"Default empty"`
	MigrationPolicy    *string           `json:"migration_policy" required:"false" enum:"manual,auto_accept,auto_release,bidirectional" doc:"Default manual"`
	SyncSchedule       *string           `json:"sync_schedule" required:"false" maxLength:"100" pattern:"^[0-9A-Za-z*/,?#-]+( [0-9A-Za-z*/,?#-]+){4}$" patternDescription:"five fields of cron" doc:"Default 0 2 * * *"`
	SyncMaxMBPerS      *int              `json:"sync_max_mb_per_s" required:"false" minimum:"0" maximum:"1000000" doc:"Default 0, no limit"`
	HeartbeatSeconds   *int              `json:"heartbeat_seconds" required:"false" minimum:"1" maximum:"3600" doc:"Default 60"`
}

// Group is one link of a chain of groups.
type Group struct {
	ID       string
	Settings Settings
	Params   map[string]string
}

// Value is a setting in effect and where it comes from.
type Value[T any] struct {
	Value T      `json:"value"`
	From  string `json:"from" doc:"The id of the group that sets it, or default"`
}

// Default is the origin of a value that no group sets.
const Default = "default"

// Effective holds every setting and parameter in effect for a group.
type Effective struct {
	DefaultWorkflowID  Value[string]            `json:"default_workflow_id" doc:"Empty when there is none"`
	AutoProvision      Value[bool]              `json:"auto_provision"`
	AutonomyLevel      Value[string]            `json:"autonomy_level"`
	ConflictResolution Value[string]            `json:"conflict_resolution"`
	CachePolicy        Value[string]            `json:"cache_policy"`
	CachePatterns      Value[[]string]          `json:"cache_patterns"`
	CacheMaxSizeGB     Value[int]               `json:"cache_max_size_gb"`
	CacheRetentionDays Value[int]               `json:"cache_retention_days"`
	DiscoveryMethod    Value[string]            `json:"discovery_method"`
	DiscoveryConfig    Value[map[string]string] `json:"discovery_config"`
	MigrationPolicy    Value[string]            `json:"migration_policy"`
	SyncSchedule       Value[string]            `json:"sync_schedule"`
	SyncMaxMBPerS      Value[int]               `json:"sync_max_mb_per_s"`
	HeartbeatSeconds   Value[int]               `json:"heartbeat_seconds"`
	Params             map[string]Value[string] `json:"params" doc:"Merged key by key: each has the group it comes from"`
}
