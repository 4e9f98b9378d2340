package schema

import (
	"entgo.io/ent"
	"entgo.io/ent/schema/edge"
	"entgo.io/ent/schema/field"
	"entgo.io/ent/schema/index"
	"github.com/google/uuid"
)

// DeviceGroup is a group of nodes, or a site: the group that one agent serves. A setting that is null is inherited
// from the nearest ancestor that sets it.
type DeviceGroup struct{ ent.Schema }

func (DeviceGroup) Mixin() []ent.Mixin { return []ent.Mixin{times{}} }

func (DeviceGroup) Fields() []ent.Field {
	return []ent.Field{
		id(),
		field.String("name").NotEmpty().MaxLen(100).Unique(),
		field.String("description").MaxLen(500).Default(""),
		field.UUID("parent_id", uuid.UUID{}).Optional().Nillable(),
		field.String("path").Comment("Names of the ancestors and its own, joined by /"),
		field.Int("depth").NonNegative().Default(0),
		field.Bool("is_site").Default(false).Immutable(),
		field.JSON("params", map[string]string{}).Default(texts),
		field.Int64("version").Default(1),

		field.UUID("default_workflow_id", uuid.UUID{}).Optional().Nillable(),
		field.Bool("auto_provision").Optional().Nillable(),

		// Of a site only; null on a plain group. How its agent is, which a read answers as agent_status, is no column:
		// it follows from the agent's last heartbeat and the clock, so a stored one would be wrong as soon as nobody
		// writes it, which is when it matters.
		field.String("agent_url").MaxLen(500).Optional().Nillable(),
		field.String("agent_token_id").MaxLen(32).Optional().Nillable().Comment("Of the outstanding join token"),
		field.String("agent_token_hash").MaxLen(64).Optional().Nillable().Sensitive().
			Comment("SHA-256 of the outstanding join token's secret; null once used"),
		field.Time("agent_token_expires_at").Optional().Nillable(),
		field.Int64("nodes_left_epoch").Default(0).
			Comment("Node counter when a node was last deleted here or moved away, for no row is left to say so, or when so many " +
				"changed at once that none is marked"),

		field.Enum("autonomy_level").Values("readonly", "limited", "full").Optional().Nillable(),
		field.Enum("conflict_resolution").Values("central_wins", "last_write", "site_wins", "manual").Optional().Nillable(),
		field.Enum("cache_policy").Values("minimal", "assigned", "mirror", "pattern").Optional().Nillable(),
		field.JSON("cache_patterns", []string{}).Optional(),
		field.Int("cache_max_size_gb").Positive().Optional().Nillable(),
		field.Int("cache_retention_days").Positive().Optional().Nillable(),
		field.Enum("discovery_method").Values("dhcp", "dns", "anycast", "fallback").Optional().Nillable(),
		field.JSON("discovery_config", map[string]string{}).Optional(),
		field.Enum("migration_policy").Values("manual", "auto_accept", "auto_release", "bidirectional").Optional().Nillable(),
		field.String("sync_schedule").MaxLen(100).Optional().Nillable(),
		field.Int("sync_max_mb_per_s").NonNegative().Optional().Nillable(),
		field.Int("heartbeat_seconds").Positive().Optional().Nillable(),
	}
}

func (DeviceGroup) Edges() []ent.Edge {
	return []ent.Edge{
		edge.To("children", DeviceGroup.Type).From("parent").Field("parent_id").Unique(),
		edge.From("default_workflow", Workflow.Type).Ref("default_of").Field("default_workflow_id").Unique(),
		edge.To("nodes", Node.Type),
		edge.To("home_nodes", Node.Type),
		edge.To("agent", Agent.Type).Unique().Annotations(cascade()),
		edge.To("agent_status_changes", AgentStatusChange.Type).Annotations(cascade()),
		edge.To("assigned_content", Content.Type),
		edge.To("commands", AgentCommand.Type).Annotations(cascade()),
		edge.To("conflicts", SyncConflict.Type).Annotations(cascade()),
		edge.To("claims_to", MigrationClaim.Type).Annotations(cascade()),
		edge.To("claims_from", MigrationClaim.Type),
	}
}

func (DeviceGroup) Indexes() []ent.Index {
	return []ent.Index{
		index.Fields("parent_id"), index.Fields("is_site", "name"), index.Fields("path"),
		index.Fields("default_workflow_id"), index.Fields("agent_token_id"),
	}
}
