package schema

import (
	"entgo.io/ent"
	"entgo.io/ent/schema/edge"
	"entgo.io/ent/schema/field"
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
	}
}

func (Agent) Edges() []ent.Edge {
	return []ent.Edge{
		edge.From("site", DeviceGroup.Type).Ref("agent").Field("site_id").Unique().Required().Immutable(),
	}
}
