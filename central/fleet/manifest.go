package fleet

import (
	"context"

	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
)

// Manifest returns a page of what changed in the content since an epoch, which is empty for all there is. To an agent
// that tells which list of what its nodes' workflows name it has, the first page brings that list if it has changed.
func (f *Fleet) Manifest(ctx context.Context, by store.Actor, since, cursor, needed string) (wire.Manifest, error) {
	var from wire.Epoch
	if since != "" {
		var err error
		if from, err = wire.ParseEpoch(since); err != nil {
			return wire.Manifest{}, &store.Invalid{Fields: []wire.ProblemField{{Location: "query.since", Message: err.Error()}}}
		}
	}
	m, err := f.Content.Manifest(ctx, by.Site, from, cursor, 0)
	if err != nil || needed == "" || cursor != "" {
		return m, err
	}
	list, err := f.Store.Needed(ctx, by.Site)
	if err != nil {
		return wire.Manifest{}, err
	}
	if list.Tag != needed {
		m.Needed = &list
	}
	return m, nil
}
