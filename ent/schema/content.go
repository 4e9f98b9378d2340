package schema

import (
	"entgo.io/ent"
	"entgo.io/ent/schema/edge"
	"entgo.io/ent/schema/field"
	"entgo.io/ent/schema/index"
	"github.com/google/uuid"
)

// Content is one name in the repository of boot files. A removed name stays as a tombstone, so that an agent that
// was away learns of it.
type Content struct{ ent.Schema }

func (Content) Mixin() []ent.Mixin { return []ent.Mixin{times{}} }

func (Content) Fields() []ent.Field {
	return []ent.Field{
		id(),
		field.Enum("category").Values("bootloaders", "scripts", "templates", "images").Immutable(),
		field.String("path").NotEmpty().MaxLen(512).Immutable(),
		field.UUID("blob_id", uuid.UUID{}).Optional().Nillable().Comment("Null once removed"),
		field.UUID("previous_blob_id", uuid.UUID{}).Optional().Nillable().Comment("Kept for rollback"),
		field.Time("modified").Default(now).Comment("When blob_id last changed"),
		field.Int64("epoch").Comment("Content counter at the last change"),
	}
}

func (Content) Edges() []ent.Edge {
	return []ent.Edge{
		edge.From("blob", Blob.Type).Ref("current").Field("blob_id").Unique(),
		edge.From("previous_blob", Blob.Type).Ref("previous").Field("previous_blob_id").Unique(),
		edge.From("sites", DeviceGroup.Type).Ref("assigned_content"),
	}
}

func (Content) Indexes() []ent.Index {
	return []ent.Index{index.Fields("category", "path").Unique(), index.Fields("epoch")}
}

// Blob is the bytes behind any number of names, known by their digest.
type Blob struct{ ent.Schema }

func (Blob) Fields() []ent.Field {
	return []ent.Field{
		id(),
		field.String("sha256").MinLen(64).MaxLen(64).Unique().Immutable(),
		field.Int64("size").NonNegative().Immutable(),
		field.Bytes("chunks").Immutable().Comment("SHA-256 of each 256 KiB, one after the other"),
		field.Time("created_at").Default(now).Immutable(),
	}
}

func (Blob) Edges() []ent.Edge {
	return []ent.Edge{edge.To("current", Content.Type), edge.To("previous", Content.Type)}
}
