package api

import (
	"context"
	"fmt"

	"github.com/danielgtaylor/huma/v2"

	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
)

// nodeTagRoutes put single tags on nodes and take them off.
func (a *api) nodeTagRoutes() {
	const path = "/api/v1/nodes/{id}/tags/{tag}"
	type tagOf struct {
		OneVersion
		Tag string `path:"tag" minLength:"1" maxLength:"100"`
	}
	for _, verb := range []struct {
		method, id, summary string
		tags                func(string) (add, remove []string)
	}{
		{"PUT", "tag-node", "Put a tag on a node", func(tag string) (add, remove []string) { return []string{tag}, nil }},
		{"DELETE", "untag-node", "Take a tag off a node", func(tag string) (add, remove []string) { return nil, []string{tag} }},
	} {
		route(a, huma.Operation{
			OperationID: verb.id, Method: verb.method, Path: path, Summary: verb.summary, Tags: []string{"nodes"},
			Description: "Done twice it is done once.",
		}, access{least: store.Operator}, func(ctx context.Context, in *tagOf) (*versioned[wire.Node], error) {
			add, remove := verb.tags(in.Tag)
			n, err := a.Store.TagNode(ctx, caller(ctx).Actor, in.ID, ifMatch(in.IfMatch), add, remove)
			return &versioned[wire.Node]{ETag: etag(n.Version), Body: n}, err
		})
	}
}

// tagChange adds tags and takes others off.
type tagChange struct {
	Add    []string `json:"add,omitempty" maxItems:"64" maxLength:"100"`
	Remove []string `json:"remove,omitempty" maxItems:"64" maxLength:"100"`
}

// check complains of tags to be added, which are not checked again for each node.
func (t *tagChange) check() []wire.ProblemField {
	probe := store.NodeSpec{MACAddress: "02:00:00:00:00:01", Tags: t.Add}
	found := probe.Check()
	for i := range found {
		found[i].Location = fmt.Sprintf("body.tags.add%s", found[i].Location[len("body.tags"):])
	}
	return found
}
