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
		field.String("created_by").MaxLen(200).Default("").Immutable(),
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
	return []ent.Index{
		index.Fields("at"), index.Fields("subject", "id"), index.Fields("who", "id"), index.Fields("action", "id"),
	}
}

// IdempotencyKey is the answer to a request that a client may send again. Status is 0 while the first is under way.
type IdempotencyKey struct{ ent.Schema }

func (IdempotencyKey) Fields() []ent.Field {
	return []ent.Field{
		field.Int64("id").Immutable(),
		field.String("principal").MaxLen(200).Immutable().Comment("Whose key it is: keys of others do not collide"),
		field.String("key").NotEmpty().MaxLen(255).Immutable(),
		field.String("route").MaxLen(300).Immutable().Comment("Method and path"),
		field.String("request_hash").MaxLen(64).Immutable().Comment("SHA-256 of the body"),
		field.Int("status").Default(0),
		field.JSON("header", map[string]string{}).Default(texts).Comment("Of the answer: Location, ETag"),
		field.Bytes("body").Optional(),
		field.Time("created_at").Default(now).Immutable(),
		field.Time("expires_at"),
	}
}

func (IdempotencyKey) Indexes() []ent.Index {
	return []ent.Index{index.Fields("principal", "key").Unique(), index.Fields("expires_at")}
}
