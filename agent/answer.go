package agent

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pureboot/pureboot/agent/uplink"
	"github.com/pureboot/pureboot/central/wire"
)

// answerPatience is how long the next heartbeat waits for what an answer has the agent ask of central. It is far below
// the two seconds within which central hears what became of its commands.
const answerPatience = 500 * time.Millisecond

// following is what an answer has the agent ask of central, one answer's at a time.
type following struct {
	work sync.WaitGroup

	mu    sync.Mutex // held by Answer
	ended chan error // of the one that is under way; nil: none is

	names atomic.Bool // nodes have changed, and with them perhaps what their workflows name
}

// Answer implements uplink.Site: it carries out what central said. What fails is said again by the next heartbeat. What
// takes longer than answerPatience goes on, for the heartbeats shall not stop meanwhile: central waits for what becomes
// of its commands, and a manifest may be long. Until it is over, what other answers have the agent ask is left; central
// says it again, as long as the epochs that are reported are the old ones.
func (a *Agent) Answer(ctx context.Context, answer wire.HeartbeatAnswer) error {
	a.following.mu.Lock()
	defer a.following.mu.Unlock()
	err := errors.Join(
		a.config.Answered(answer.Config), // before the commands, which may be about it
		a.commands.Answer(ctx, answer),
	)
	over := time.NewTimer(answerPatience)
	defer over.Stop()
	if a.following.ended != nil {
		select {
		case before := <-a.following.ended:
			err = errors.Join(err, before)
		case <-over.C:
			return err
		}
	}
	ended := make(chan error, 1)
	a.following.ended = ended
	a.following.work.Go(func() { ended <- a.follow(ctx, answer) })
	select {
	case now := <-ended:
		a.following.ended = nil
		return errors.Join(err, now)
	case <-over.C:
		return err
	}
}

// follow does what of an answer needs central.
func (a *Agent) follow(ctx context.Context, answer wire.HeartbeatAnswer) error {
	return errors.Join(
		a.nodes.Deliver(ctx), // before the changes, which these reports may have caused
		a.expire(ctx, answer),
		a.pull(ctx, answer),
	)
}

// pull learns what has changed of central's files and, if nodes have, what their workflows name by now: what they name anew
// comes at once, since a machine may be about to boot it.
func (a *Agent) pull(ctx context.Context, answer wire.HeartbeatAnswer) error {
	if answer.AllNodes || len(answer.ChangedNodes) > 0 {
		a.following.names.Store(true) // until it was learnt
	}
	var err error
	if a.following.names.Load() {
		_, err = a.files.Refresh(ctx, false)
	} else {
		err = a.files.Pull(ctx, answer.ContentEpoch)
	}
	if err != nil {
		return err
	}
	a.following.names.Store(false)
	if a.files.NewNames() {
		a.syncer.Start(uplink.SyncRequest{Trigger: wire.TriggerNodes, Workflows: true})
	}
	return nil
}

func (a *Agent) expire(ctx context.Context, answer wire.HeartbeatAnswer) error {
	var err error
	if answer.AllNodes {
		err = a.nodes.ExpireAll(ctx)
	} else if len(answer.ChangedNodes) > 0 {
		err = a.nodes.Expire(ctx, answer.ChangedNodes)
	}
	if err != nil || answer.NodeEpoch.Stream == "" {
		return err
	}
	return a.nodes.SetEpoch(ctx, answer.NodeEpoch)
}
