package schema

import (
	"entgo.io/ent"
	"entgo.io/ent/schema/edge"
	"entgo.io/ent/schema/field"
	"entgo.io/ent/schema/index"
	"github.com/google/uuid"
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
	return []ent.Edge{
		edge.To("nodes", Node.Type), edge.To("default_of", DeviceGroup.Type),
		edge.To("revisions", WorkflowRevision.Type).Annotations(cascade()),
	}
}

// WorkflowRevision is a workflow as it was from one write to the next. The newest is what the workflow is now.
type WorkflowRevision struct{ ent.Schema }

func (WorkflowRevision) Fields() []ent.Field {
	return []ent.Field{
		field.Int64("id").Immutable(),
		field.UUID("workflow_id", uuid.UUID{}).Immutable(),
		field.Int64("revision").Positive().Immutable(),
		field.Bytes("spec").Immutable().Comment("JSON"),
		field.String("by").MaxLen(200).Default("").Immutable(),
		field.Time("at").Default(now).Immutable(),
	}
}

func (WorkflowRevision) Edges() []ent.Edge {
	return []ent.Edge{
		edge.From("workflow", Workflow.Type).Ref("revisions").Field("workflow_id").Unique().Required().Immutable(),
	}
}

func (WorkflowRevision) Indexes() []ent.Index {
	return []ent.Index{index.Fields("workflow_id", "revision").Unique()}
}
