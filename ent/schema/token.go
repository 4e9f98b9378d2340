package schema

import (
	"entgo.io/ent"
	"entgo.io/ent/schema/field"
	"entgo.io/ent/schema/index"
)

// AdminToken is a credential of a person or a program that administers central. Its text is pbt_<id>_<secret>.
type AdminToken struct{ ent.Schema }

func (AdminToken) Fields() []ent.Field {
	return []ent.Field{
		field.String("id").MaxLen(32).Immutable(),
		field.String("name").NotEmpty().MaxLen(100),
		field.Enum("role").Values("admin", "operator", "viewer"),
		field.String("secret_hash").MaxLen(64).Sensitive().Immutable().Comment("SHA-256, hexadecimal"),
		field.Time("created_at").Default(now).Immutable(),
		field.Time("expires_at").Optional().Nillable(),
		field.Time("revoked_at").Optional().Nillable(),
		field.Time("last_used_at").Optional().Nillable(),
	}
}

// AuditEntry is one act that somebody answers for.
type AuditEntry struct{ ent.Schema }

func (AuditEntry) Fields() []ent.Field {
	return []ent.Field{
		field.Int64("id").Immutable(),
		field.Time("at").Default(now).Immutable(),
		field.String("who").MaxLen(200).Immutable(),
		field.String("from_address").MaxLen(64).Default("").Immutable(),
		field.String("action").MaxLen(100).Immutable().Comment("As site.create or agent.register.refused"),
		field.String("subject").MaxLen(300).Default("").Immutable(),
		field.String("detail").MaxLen(1000).Default("").Immutable(),
		field.Bytes("before").Optional().Immutable().Comment("JSON, secrets left out"),
		field.Bytes("after").Optional().Immutable().Comment("JSON, secrets left out"),
		field.String("request_id").MaxLen(64).Default("").Immutable(),
	}
}

func (AuditEntry) Indexes() []ent.Index {
	return []ent.Index{index.Fields("at"), index.Fields("subject")}
}

// Counter is a dense sequence. The transaction that advances it holds its row, so that numbers become visible in
// their order: a database's own sequence does not promise that, and a reader of changes would skip some.
type Counter struct{ ent.Schema }

func (Counter) Fields() []ent.Field {
	return []ent.Field{
		field.String("id").MaxLen(32).Immutable().Comment("content, nodes, commands"),
		field.String("stream").MaxLen(64).Comment("Changes when the database is restored from a backup"),
		field.Int64("value").Default(0),
	}
}
