package inherit

import "maps"

// Origins of a node's values that no group sets.
const (
	OfNode     = "node"
	OfWorkflow = "workflow"
)

// WorkflowOrigin is Workflow, with where it comes from: OfNode, the id of a group, or Default when there is none.
func WorkflowOrigin(own string, group, site []Group) Value[string] {
	if own != "" {
		return Value[string]{Value: own, From: OfNode}
	}
	for _, chain := range [][]Group{group, site} {
		if id := defaultWorkflow(chain); id.Value != "" {
			return id
		}
	}
	return Value[string]{From: Default}
}

// NodeOrigins is NodeParams, with where each comes from: the id of a group, OfWorkflow or OfNode.
func NodeOrigins(site, group []Group, workflow, own map[string]string) map[string]Value[string] {
	merged := params(site)
	maps.Copy(merged, params(group))
	for _, of := range []struct {
		params map[string]string
		from   string
	}{{workflow, OfWorkflow}, {own, OfNode}} {
		for name, value := range of.params {
			merged[name] = Value[string]{Value: value, From: of.from}
		}
	}
	return merged
}
