// Package schema is central's data model, written by hand; the rest of ent/ is generated from it.
package schema

import (
	"time"

	"entgo.io/ent"
	"entgo.io/ent/dialect/entsql"
	"entgo.io/ent/schema/field"
	"entgo.io/ent/schema/mixin"
	"github.com/google/uuid"
)

// id is the UUID that names an entity for good.
func id() ent.Field { return field.UUID("id", uuid.UUID{}).Default(uuid.New).Immutable() }

// orderedID is an id that sorts by the time of its making, so that a list by id is one by time.
func orderedID() ent.Field {
	return field.UUID("id", uuid.UUID{}).Default(func() uuid.UUID { return uuid.Must(uuid.NewV7()) }).Immutable()
}

// now is the clock of every default time: UTC, in the microseconds that both databases keep.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

// texts is the default of a map column: an empty map, never null.
func texts() map[string]string { return map[string]string{} }

// times is the mixin of created_at and updated_at.
type times struct{ mixin.Schema }

func (times) Fields() []ent.Field {
	return []ent.Field{
		field.Time("created_at").Default(now).Immutable(),
		field.Time("updated_at").Default(now).UpdateDefault(now),
	}
}

// cascade deletes the rows of an edge with the entity they belong to.
func cascade() entsql.Annotation { return entsql.Annotation{OnDelete: entsql.Cascade} }
