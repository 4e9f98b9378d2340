package schema

import (
	"entgo.io/ent"
	"entgo.io/ent/schema/edge"
	"entgo.io/ent/schema/field"
	"entgo.io/ent/schema/index"
	"github.com/google/uuid"
)

// Agent is the appliance that was enrolled for a site.
type Agent struct{ ent.Schema }

func (Agent) Mixin() []ent.Mixin { return []ent.Mixin{times{}} }

func (Agent) Fields() []ent.Field {
	return []ent.Field{
		id(),
		field.UUID("site_id", uuid.UUID{}).Unique().Immutable(),
		field.String("credential_hash").MaxLen(64).Sensitive().Comment("SHA-256 of the credential's secret"),
		field.String("join_token_hash").MaxLen(64).Sensitive().
			Comment("Of the join token it came with: a lost answer may be asked for again"),
		field.Time("enrolled_at"),
		field.String("hostname").MaxLen(253).Default(""),
		field.String("agent_version").MaxLen(100).Default(""),
		field.Int("protocol_version").Default(0),
		field.JSON("capabilities", []string{}).Default([]string{}),
		field.String("boot_id").MaxLen(64).Default(""),
		field.Int64("seq").Default(0),
		field.Bytes("heartbeat").Optional().Comment("The last one, JSON"),
		field.Time("last_heartbeat_at").Optional().Nillable(),
		field.Int("heartbeat_interval").Default(0).Comment("Seconds, that it was last told; 0 before its first heartbeat"),
		field.String("status").MaxLen(20).Default("").Comment("That the latest AgentStatusChange says; empty before the first"),

		field.String("next_credential_hash").MaxLen(64).Default("").Sensitive().
			Comment("Of the secret that the agent made for a rotation: valid too, and alone once it was used"),
		field.String("rotation").MaxLen(64).Default("").Comment("Id of the rotation that was asked for and is not over"),
		field.Time("rotation_asked_at").Optional().Nillable(),
		field.Time("revoked_at").Optional().Nillable().Comment("Since when the credential opens nothing"),
		field.Bytes("boots").Optional().Comment("The agent's processes that were heard, JSON of lifecycle.Boots"),
		field.String("kept_boot_id").MaxLen(64).Default("").Comment("Once two agents have the credential: the one it still serves"),
		field.Time("fenced_at").Optional().Nillable().Comment("When that was found"),
		field.String("certificate_hash").MaxLen(64).Default("").Comment("SHA-256 of the certificate that was used last"),
		field.String("next_certificate_hash").MaxLen(64).Default("").Comment("Of a newer one, not used yet"),
		field.Time("certificate_expires_at").Optional().Nillable().Comment("Of the newer of the two"),
	}
}

func (Agent) Edges() []ent.Edge {
	return []ent.Edge{
		edge.From("site", DeviceGroup.Type).Ref("agent").Field("site_id").Unique().Required().Immutable(),
	}
}

// AgentStatusChange is one change of how the agent of a site is, as the centrals noticed it.
type AgentStatusChange struct{ ent.Schema }

func (AgentStatusChange) Fields() []ent.Field {
	return []ent.Field{
		field.Int64("id").Immutable().Comment("Grows, so it orders the changes of one instant"),
		field.UUID("site_id", uuid.UUID{}).Immutable(),
		field.String("from_status").MaxLen(20).Immutable().Comment("Empty for the first"),
		field.String("to_status").MaxLen(20).Immutable(),
		field.String("reason").MaxLen(500).Default("").Immutable(),
		field.Time("at").Immutable(),
	}
}

func (AgentStatusChange) Edges() []ent.Edge {
	return []ent.Edge{
		edge.From("site", DeviceGroup.Type).Ref("agent_status_changes").Field("site_id").Unique().Required().Immutable(),
	}
}

func (AgentStatusChange) Indexes() []ent.Index { return []ent.Index{index.Fields("site_id", "id")} }

// AgentCommand is something a site's agent is told to do.
type AgentCommand struct{ ent.Schema }

func (AgentCommand) Fields() []ent.Field {
	return []ent.Field{
		orderedID(),
		field.UUID("site_id", uuid.UUID{}).Immutable(),
		field.Int64("seq").Positive().Immutable().Comment("Dense within the site: the agent's cursor"),
		field.Enum("command").Values("sync", "invalidate", "update_config").Immutable(),
		field.Bytes("params").Immutable().MaxLen(64 << 10).Comment("JSON"),
		field.Enum("state").Values("queued", "sent", "accepted", "running", "succeeded", "failed", "rejected", "expired",
			"canceled", "superseded").Default("queued"),
		field.Enum("recall").Values("canceled", "superseded").Optional().Nillable().
			Comment("How it is to end if the agent, who may have it, has not begun it"),
		field.String("result").MaxLen(4096).Default("").Comment("What the agent says of it"),
		field.Bool("once").Default(false).Immutable().Comment("Sent no second time, even if the first got lost"),
		field.Int("ttl_seconds").Positive().Immutable(),
		field.String("created_by").MaxLen(200).Immutable(),
		field.Time("created_at").Default(now).Immutable(),
		field.Time("expires_at").Immutable(),
		field.Time("sent_at").Optional().Nillable().Comment("First"),
		field.Time("started_at").Optional().Nillable(),
		field.Time("finished_at").Optional().Nillable().Comment("When its state became final"),
	}
}

func (AgentCommand) Edges() []ent.Edge {
	return []ent.Edge{
		edge.From("site", DeviceGroup.Type).Ref("commands").Field("site_id").Unique().Required().Immutable(),
	}
}

func (AgentCommand) Indexes() []ent.Index {
	return []ent.Index{
		index.Fields("site_id", "seq").Unique(), index.Fields("site_id", "state"), index.Fields("state", "expires_at"),
	}
}
