package schema

import (
	"entgo.io/ent"
	"entgo.io/ent/schema/field"
)

// Counter is a dense sequence. The transaction that advances it holds its row, so that numbers become visible in
// their order: a database's own sequence does not promise that, and a reader of changes would skip some.
type Counter struct{ ent.Schema }

func (Counter) Fields() []ent.Field {
	return []ent.Field{
		field.String("id").MaxLen(64).Immutable().Comment("content, nodes, commands/SITE"),
		field.String("stream").MaxLen(64).Comment("Changes when the database is restored from a backup"),
		field.String("origin").MaxLen(200).Default("").
			Comment("The database that the stream belongs to, as it names itself: in any other it was restored"),
		field.Int64("value").Default(0),
	}
}
