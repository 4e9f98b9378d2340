package fleet

import (
	"context"
	"time"

	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
)

// Heartbeat answers an agent what it needs to know and keeps its report. What the report says of how the agent is waits
// in memory, and is written with that of others; so a central that is killed forgets the last second of it, which the
// next heartbeat says again. What must not be forgotten is written before the answer. If more agents come at once than
// can be answered in good time, the error is *Overloaded.
func (f *Fleet) Heartbeat(ctx context.Context, by store.Actor, h wire.Heartbeat) (wire.HeartbeatAnswer, error) {
	leave, err := f.Enter()
	if err != nil {
		return wire.HeartbeatAnswer{}, err
	}
	defer leave()
	rotation, err := f.credential(ctx, by, &h)
	if err != nil {
		return wire.HeartbeatAnswer{}, err
	}
	answer, settings, err := f.Store.Answer(ctx, by.Site, h.NodeEpoch)
	if err != nil {
		return answer, err
	}
	if err := f.Commands(ctx, by, h, &answer); err != nil {
		return answer, err
	}
	answer.ProtocolVersion = wire.ProtocolVersion
	answer.Capabilities = []string{}
	answer.ServerTime = time.Now().UTC()
	answer.NextIn = settings.HeartbeatSeconds.Value
	answer.Config = configFor(settings, h.Config)
	answer.Jitter = f.jitter(answer.NextIn)
	answer.Rotation = rotation

	beat, err := store.NewBeat(by.Site, answer.ServerTime, h)
	if err != nil {
		return answer, err
	}
	beat.Interval = answer.NextIn
	beat.Status, beat.Reason = reported(beat.Report)
	if err := f.live.hear(beat); err != nil {
		f.sent.Add(1)
		return answer, err
	}
	f.heard.Add(1)
	return answer, nil
}

// Heartbeats returns how many were answered, and how many were sent back because there were too many, since New.
func (f *Fleet) Heartbeats() (answered, refused int64) { return f.heard.Load(), f.sent.Load() }

// jitter returns by how much agents spread the next heartbeat. In the first minutes it is more: those that central's
// start has brought into step fall out of it.
func (f *Fleet) jitter(seconds int) int {
	if f.deaf(time.Now()) {
		return seconds / 3
	}
	return seconds / 10
}
