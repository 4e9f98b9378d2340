package store

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/ent"
	"github.com/pureboot/pureboot/ent/nodetag"
)

// TagNode adds tags to a node and takes others off. A node that has and lacks them already is not written. ifVersion is as
// that of UpdateNode.
func (s *Store) TagNode(ctx context.Context, by Actor, id uuid.UUID, ifVersion int64, add, remove []string) (wire.Node, error) {
	unchanged := errors.New("unchanged")
	n, err := s.UpdateNode(ctx, by, id, ifVersion, func(spec NodeSpec) (NodeSpec, error) {
		tags := slices.DeleteFunc(slices.Clone(spec.Tags), func(tag string) bool { return slices.Contains(remove, tag) })
		for _, tag := range add {
			if !slices.Contains(tags, tag) {
				tags = append(tags, tag)
			}
		}
		if slices.Equal(tags, spec.Tags) {
			return spec, unchanged
		}
		spec.Tags = tags
		return spec, nil
	})
	if errors.Is(err, unchanged) {
		return s.Node(ctx, by, id)
	}
	return n, err
}

// replaceTags keeps the index of tags.
func replaceTags(ctx context.Context, tx *ent.Tx, id uuid.UUID, old, tags []string) error {
	if slices.Equal(old, tags) {
		return nil
	}
	if len(old) > 0 {
		if _, err := tx.NodeTag.Delete().Where(nodetag.NodeID(id)).Exec(ctx); err != nil {
			return fmt.Errorf("update tags: %w", err)
		}
	}
	for _, tag := range tags {
		if err := tx.NodeTag.Create().SetNodeID(id).SetTag(tag).Exec(ctx); err != nil {
			return fmt.Errorf("tag node: %w", err)
		}
	}
	return nil
}
