package schema

import (
	"entgo.io/ent"
	"entgo.io/ent/schema/edge"
	"entgo.io/ent/schema/field"
)

// Workflow says how a machine is installed. Its paths name content.
type Workflow struct{ ent.Schema }

func (Workflow) Mixin() []ent.Mixin { return []ent.Mixin{times{}} }

func (Workflow) Fields() []ent.Field {
	return []ent.Field{
		id(),
		field.String("name").NotEmpty().MaxLen(100).Unique(),
		field.Enum("arch").Values("x86_64", "arm64").Optional().Nillable(),
		field.Enum("boot_mode").Values("bios", "uefi").Optional().Nillable(),
		field.Enum("install_method").Values("kernel", "sanboot", "chain"),
		field.String("kernel").MaxLen(512).Default(""),
		field.JSON("initrd", []string{}).Default([]string{}),
		field.String("cmdline").MaxLen(4096).Default(""),
		field.String("boot_url").MaxLen(2048).Default(""),
		field.String("template").MaxLen(512).Default(""),
		field.JSON("params", map[string]string{}).Default(texts),
		field.Int64("revision").Default(1),
	}
}

func (Workflow) Edges() []ent.Edge {
	return []ent.Edge{edge.To("nodes", Node.Type), edge.To("default_of", DeviceGroup.Type)}
}
