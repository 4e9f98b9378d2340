package fleet

import (
	"context"
	"time"

	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
)

// Heartbeat keeps an agent's report and answers what it needs to know.
func (f *Fleet) Heartbeat(ctx context.Context, by store.Actor, h wire.Heartbeat) (wire.HeartbeatAnswer, error) {
	answer, err := f.Store.Heartbeat(ctx, by, h)
	if err != nil {
		return answer, err
	}
	settings, err := f.Store.Effective(ctx, by.Site)
	if err != nil {
		return answer, err
	}
	answer.ProtocolVersion = wire.ProtocolVersion
	answer.Capabilities = []string{}
	answer.ServerTime = time.Now().UTC()
	answer.NextIn = settings.HeartbeatSeconds.Value
	answer.Config = configFor(settings, h.Config)
	return answer, nil
}

// Manifest returns a page of what changed in the content since an epoch, which is empty for all there is.
func (f *Fleet) Manifest(ctx context.Context, by store.Actor, since, cursor string) (wire.Manifest, error) {
	var from wire.Epoch
	if since != "" {
		var err error
		if from, err = wire.ParseEpoch(since); err != nil {
			return wire.Manifest{}, &store.Invalid{Fields: []wire.ProblemField{{Location: "query.since", Message: err.Error()}}}
		}
	}
	return f.Content.Manifest(ctx, by.Site, from, cursor, 0)
}
