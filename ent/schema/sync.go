package schema

import (
	"entgo.io/ent"
	"entgo.io/ent/dialect/entsql"
	"entgo.io/ent/schema/edge"
	"entgo.io/ent/schema/field"
	"entgo.io/ent/schema/index"
	"github.com/google/uuid"
)

// entityType is what sites and central both have a copy of.
func entityType() ent.Field {
	return field.Enum("entity_type").Values("node", "workflow", "template").Immutable()
}

// SyncState is which version of an entity there is. It is written with the entity, in one transaction.
type SyncState struct{ ent.Schema }

func (SyncState) Fields() []ent.Field {
	return []ent.Field{
		field.Int64("id").Immutable(),
		entityType(),
		field.UUID("entity_id", uuid.UUID{}).Immutable(),
		field.UUID("site_id", uuid.UUID{}).Comment("Home of a node; zero for what is no one site's: a unique index takes no null"),
		field.Int64("version").Default(1).Comment("Grows with each write to the entity"),
		field.Time("last_modified").Default(now),
		field.String("last_modified_by").MaxLen(36).Default("central").Comment("A site's id, or central"),
		field.String("checksum").MaxLen(64).Default("").Comment("SHA-256 of what the entity says"),
	}
}

func (SyncState) Indexes() []ent.Index {
	return []ent.Index{
		index.Fields("entity_type", "entity_id", "site_id").Unique(), index.Fields("site_id", "entity_type"),
	}
}

// SyncConflict is an entity that central and a site changed both, not knowing of each other.
type SyncConflict struct{ ent.Schema }

func (SyncConflict) Fields() []ent.Field {
	return []ent.Field{
		orderedID(),
		entityType(),
		field.UUID("entity_id", uuid.UUID{}).Immutable(),
		field.UUID("site_id", uuid.UUID{}).Immutable(),
		field.JSON("fields", []string{}).Default([]string{}).Immutable().Comment("That differ"),
		field.Bytes("base_state").Immutable().Optional().Comment("JSON, what both began with"),
		field.Bytes("central_state").Immutable().Optional().Comment("JSON"),
		field.Bytes("site_state").Immutable().Optional().Comment("JSON"),
		field.Time("detected_at").Default(now).Immutable(),
		field.Time("resolved_at").Optional().Nillable().Comment("Null while it is open"),
		field.Enum("resolution").Values("accepted_central", "accepted_site", "merged").Optional().Nillable(),
		field.Bytes("merged_state").Optional().Comment("JSON, of a resolution that is neither's"),
		field.String("resolved_by").MaxLen(200).Default(""),
	}
}

func (SyncConflict) Edges() []ent.Edge {
	return []ent.Edge{
		edge.From("site", DeviceGroup.Type).Ref("conflicts").Field("site_id").Unique().Required().Immutable(),
	}
}

func (SyncConflict) Indexes() []ent.Index {
	return []ent.Index{
		index.Fields("site_id", "id"), index.Fields("entity_type", "entity_id"),
		index.Fields("site_id").StorageKey("syncconflict_open").Annotations(entsql.IndexWhere("resolved_at IS NULL")),
	}
}

// MigrationClaim is a site's claim to a node that booted there and whose home is another.
type MigrationClaim struct{ ent.Schema }

func (MigrationClaim) Fields() []ent.Field {
	return []ent.Field{
		orderedID(),
		field.UUID("node_id", uuid.UUID{}).Immutable(),
		field.UUID("source_site_id", uuid.UUID{}).Optional().Nillable().Comment("Null once that site is deleted"),
		field.UUID("target_site_id", uuid.UUID{}).Immutable(),
		field.Enum("status").Values("pending", "approved", "rejected", "expired").Default("pending"),
		field.Bool("auto_approve_eligible").Default(false).Immutable(),
		field.String("policy_matched").MaxLen(50).Default("").Immutable(),
		field.UUID("approval_id", uuid.UUID{}).Optional().Nillable(),
		field.Time("created_at").Default(now).Immutable(),
		field.Time("resolved_at").Optional().Nillable(),
		field.Time("expires_at").Immutable(),
	}
}

func (MigrationClaim) Edges() []ent.Edge {
	return []ent.Edge{
		edge.From("node", Node.Type).Ref("claims").Field("node_id").Unique().Required().Immutable(),
		edge.From("source_site", DeviceGroup.Type).Ref("claims_from").Field("source_site_id").Unique(),
		edge.From("target_site", DeviceGroup.Type).Ref("claims_to").Field("target_site_id").Unique().Required().Immutable(),
		edge.From("approval", Approval.Type).Ref("claim").Field("approval_id").Unique(),
	}
}

func (MigrationClaim) Indexes() []ent.Index {
	return []ent.Index{
		index.Fields("status", "id"), index.Fields("status", "expires_at"), index.Fields("node_id", "id"),
		index.Fields("source_site_id"), index.Fields("target_site_id"), index.Fields("approval_id"),
		index.Fields("node_id").Unique().StorageKey("migrationclaim_one_pending").
			Annotations(entsql.IndexWhere("resolved_at IS NULL")),
	}
}

// Approval is somebody's leave, asked for and given or not.
type Approval struct{ ent.Schema }

func (Approval) Fields() []ent.Field {
	return []ent.Field{
		orderedID(),
		field.String("action").NotEmpty().MaxLen(100).Immutable().Comment("As node.migrate"),
		field.String("subject").NotEmpty().MaxLen(300).Immutable().Comment("As node/<id>"),
		field.String("requested_by").MaxLen(200).Immutable(),
		field.Enum("status").Values("pending", "approved", "rejected", "expired").Default("pending"),
		field.String("decided_by").MaxLen(200).Default(""),
		field.Time("decided_at").Optional().Nillable(),
		field.String("comment").MaxLen(1000).Default("").Comment("Of who decided"),
		field.Time("created_at").Default(now).Immutable(),
		field.Time("expires_at").Immutable(),
	}
}

func (Approval) Edges() []ent.Edge { return []ent.Edge{edge.To("claim", MigrationClaim.Type)} }

func (Approval) Indexes() []ent.Index {
	return []ent.Index{
		index.Fields("status", "id"), index.Fields("status", "expires_at"), index.Fields("subject", "id"),
	}
}
