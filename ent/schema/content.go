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
		field.Time("previous_modified").Optional().Nillable().Comment("When previous_blob_id had become blob_id"),
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
	return []ent.Index{
		index.Fields("category", "path").Unique(), index.Fields("epoch"),
		index.Fields("blob_id"), index.Fields("previous_blob_id"),
	}
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
		field.Time("used_at").Default(now).
			Comment("When an upload last asked for these bytes: garbage collection leaves alone what may be named next"),
	}
}

func (Blob) Edges() []ent.Edge {
	return []ent.Edge{edge.To("current", Content.Type), edge.To("previous", Content.Type)}
}

func (Blob) Indexes() []ent.Index { return []ent.Index{index.Fields("used_at")} }

// UploadSession is an upload that may be continued after its connection broke. Its bytes are in a file of the
// repository that is named by the id; they become content when all are there.
type UploadSession struct{ ent.Schema }

func (UploadSession) Mixin() []ent.Mixin { return []ent.Mixin{times{}} }

func (UploadSession) Fields() []ent.Field {
	return []ent.Field{
		id(),
		field.Enum("category").Values("bootloaders", "scripts", "templates", "images").Immutable(),
		field.String("path").NotEmpty().MaxLen(512).Immutable(),
		field.String("sha256").MaxLen(64).Default("").Immutable().Comment("As announced, hexadecimal; empty if it was not"),
		field.Int64("size").NonNegative().Optional().Nillable().Immutable().Comment("As announced; null if it was not"),
		field.Int64("offset").NonNegative().Default(0).Comment("Bytes that have reached the disk"),
		field.String("created_by").MaxLen(200).Immutable(),
		field.Time("expires_at").Comment("Moves on with each byte that comes"),
	}
}

func (UploadSession) Indexes() []ent.Index {
	return []ent.Index{index.Fields("expires_at"), index.Fields("category", "path")}
}
