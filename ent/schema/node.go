package schema

import (
	"entgo.io/ent"
	"entgo.io/ent/schema/edge"
	"entgo.io/ent/schema/field"
	"entgo.io/ent/schema/index"
	"github.com/google/uuid"
)

// Node is one machine.
type Node struct{ ent.Schema }

func (Node) Mixin() []ent.Mixin { return []ent.Mixin{times{}} }

func (Node) Fields() []ent.Field {
	return []ent.Field{
		id(),
		field.String("mac_address").MaxLen(17).Unique().Comment("Of the primary interface"),
		field.String("hostname").MaxLen(253).Default(""),
		field.String("ip_address").MaxLen(45).Default(""),
		field.Enum("state").Values("discovered", "pending", "installing", "install_failed", "installed", "active",
			"reprovision", "deprovisioning", "migrating", "retired").Default("discovered"),
		field.UUID("workflow_id", uuid.UUID{}).Optional().Nillable(),
		field.UUID("group_id", uuid.UUID{}).Optional().Nillable(),
		field.UUID("home_site_id", uuid.UUID{}).Optional().Nillable().Comment("Where it physically boots"),
		field.Enum("arch").Values("x86_64", "arm64").Optional().Nillable(),
		field.Enum("boot_mode").Values("bios", "uefi").Optional().Nillable(),
		field.String("vendor").MaxLen(200).Default(""),
		field.String("model").MaxLen(200).Default(""),
		field.String("serial_number").MaxLen(200).Default(""),
		field.String("system_uuid").MaxLen(36).Optional().Nillable(),
		field.JSON("params", map[string]string{}).Default(texts),
		field.String("extra_cmdline").MaxLen(4096).Default(""),
		field.String("next_boot").MaxLen(36).Default("").
			Comment("For one boot: local, installer or the id of a workflow; empty for what its state says"),
		field.JSON("tags", []string{}).Default([]string{}).Comment("In their order; NodeTag is the index of them"),
		field.Int64("install_seq").Default(0).Comment("Grows each time the node becomes pending"),
		field.Int("install_attempts").Default(0),
		field.Time("install_started_at").Optional().Nillable().Comment("Begin of the latest attempt"),
		field.UUID("install_workflow_id", uuid.UUID{}).Optional().Nillable().Comment("That the latest attempt used"),
		field.Int64("install_revision").Default(0).Comment("Of that workflow; 0 before the first attempt"),
		field.String("last_install_error").MaxLen(1000).Default(""),
		field.Time("state_changed_at").Default(now),
		field.Time("last_seen_at").Optional().Nillable(),
		field.Int64("version").Default(1).Comment("Grows with each write"),
		field.Int64("epoch").Default(0).Comment("Node counter at the last write that an agent must see"),
	}
}

func (Node) Edges() []ent.Edge {
	return []ent.Edge{
		edge.To("interfaces", NodeInterface.Type).Annotations(cascade()),
		edge.To("tag_rows", NodeTag.Type).Annotations(cascade()),
		edge.To("events", NodeEvent.Type).Annotations(cascade()),
		edge.To("state_log", NodeStateLog.Type).Annotations(cascade()),
		edge.To("claims", MigrationClaim.Type).Annotations(cascade()),
		edge.From("group", DeviceGroup.Type).Ref("nodes").Field("group_id").Unique(),
		edge.From("home_site", DeviceGroup.Type).Ref("home_nodes").Field("home_site_id").Unique(),
		edge.From("workflow", Workflow.Type).Ref("nodes").Field("workflow_id").Unique(),
	}
}

func (Node) Indexes() []ent.Index {
	return []ent.Index{
		index.Fields("state", "mac_address"), index.Fields("group_id", "mac_address"), index.Fields("group_id", "home_site_id"),
		index.Fields("home_site_id", "mac_address"), index.Fields("home_site_id", "epoch"),
		index.Fields("workflow_id"), index.Fields("system_uuid"), index.Fields("serial_number"),
		index.Fields("hostname", "id"), index.Fields("created_at", "id"), index.Fields("last_seen_at", "id"),
	}
}

// NodeInterface is one network card of a node, the primary one among them.
type NodeInterface struct{ ent.Schema }

func (NodeInterface) Fields() []ent.Field {
	return []ent.Field{
		id(),
		field.UUID("node_id", uuid.UUID{}).Immutable(),
		field.String("mac_address").MaxLen(17).Unique(),
		field.String("name").MaxLen(64).Default(""),
		field.Int("position").Default(0).Comment("0 is the primary interface"),
	}
}

func (NodeInterface) Edges() []ent.Edge {
	return []ent.Edge{
		edge.From("node", Node.Type).Ref("interfaces").Field("node_id").Unique().Required().Immutable(),
	}
}

func (NodeInterface) Indexes() []ent.Index { return []ent.Index{index.Fields("node_id", "position")} }

// NodeTag is one tag of a node, to find the node by. The node's own column has them too, and both are written
// together: a list of nodes then needs no join, and a search for a tag reads no node that lacks it.
type NodeTag struct{ ent.Schema }

func (NodeTag) Fields() []ent.Field {
	return []ent.Field{
		field.Int64("id").Immutable(),
		field.UUID("node_id", uuid.UUID{}).Immutable(),
		field.String("tag").NotEmpty().MaxLen(100).Immutable(),
	}
}

func (NodeTag) Edges() []ent.Edge {
	return []ent.Edge{
		edge.From("node", Node.Type).Ref("tag_rows").Field("node_id").Unique().Required().Immutable(),
	}
}

func (NodeTag) Indexes() []ent.Index {
	return []ent.Index{index.Fields("node_id", "tag").Unique(), index.Fields("tag", "node_id")}
}

// NodeStateLog is one change of a node's state.
type NodeStateLog struct{ ent.Schema }

func (NodeStateLog) Fields() []ent.Field {
	return []ent.Field{
		field.Int64("id").Immutable().Comment("Grows, so it orders the changes of one instant"),
		field.UUID("node_id", uuid.UUID{}).Immutable(),
		field.String("from_state").MaxLen(20).Immutable().Comment("Empty for the first"),
		field.String("to_state").MaxLen(20).Immutable(),
		field.String("by").MaxLen(200).Immutable(),
		field.String("comment").MaxLen(1000).Default("").Immutable(),
		field.UUID("workflow_id", uuid.UUID{}).Optional().Nillable().Immutable().Comment("That an installation began with"),
		field.Int64("workflow_revision").Default(0).Immutable(),
		field.Time("at").Default(now).Immutable(),
	}
}

func (NodeStateLog) Edges() []ent.Edge {
	return []ent.Edge{
		edge.From("node", Node.Type).Ref("state_log").Field("node_id").Unique().Required().Immutable(),
	}
}

func (NodeStateLog) Indexes() []ent.Index { return []ent.Index{index.Fields("node_id", "id")} }

// NodeEvent is one report of a machine about itself.
type NodeEvent struct{ ent.Schema }

func (NodeEvent) Fields() []ent.Field {
	return []ent.Field{
		field.Int64("id").Immutable(),
		field.UUID("node_id", uuid.UUID{}).Immutable(),
		field.String("event_id").MaxLen(100).Immutable().Comment("The reporter's; makes a repeated report harmless"),
		field.Enum("event_type").Values("boot_started", "install_started", "install_progress", "install_complete",
			"install_failed", "first_boot", "heartbeat").Immutable(),
		field.Enum("status").Values("success", "failed", "in_progress").Default("success").Immutable(),
		field.Int("progress").Min(0).Max(100).Default(0).Immutable(),
		field.String("message").MaxLen(1000).Default("").Immutable(),
		field.Bytes("metadata").MaxLen(64 << 10).Optional().Immutable().Comment("JSON, as it came"),
		field.Time("at").Default(now).Immutable(),
	}
}

func (NodeEvent) Edges() []ent.Edge {
	return []ent.Edge{
		edge.From("node", Node.Type).Ref("events").Field("node_id").Unique().Required().Immutable(),
	}
}

func (NodeEvent) Indexes() []ent.Index {
	return []ent.Index{index.Fields("node_id", "event_id").Unique(), index.Fields("node_id", "id")}
}
