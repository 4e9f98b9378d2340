package fleet

import (
	"context"
	"slices"
	"time"

	"github.com/pureboot/pureboot/central/lifecycle"
	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
)

// maxResults bounds how many results of one heartbeat are heard; the agent sends the others again.
const maxResults = 1000

// Commands hears what an agent's heartbeat says of its commands, and adds to the answer what it is to know of them. An
// agent that does not say that it carries commands out gets none: they wait for one that does.
func (f *Fleet) Commands(ctx context.Context, by store.Actor, h wire.Heartbeat, answer *wire.HeartbeatAnswer) error {
	if !slices.Contains(h.Capabilities, wire.CapabilityCommands) {
		return nil
	}
	if len(h.Results) == 0 { // as most heartbeats
		if wait, err := f.Store.HasCommands(ctx, by.Site); err != nil || !wait {
			return err
		}
	}
	return f.Store.MoveCommands(ctx, by.Site, func(waiting []store.Command, last wire.Epoch, at time.Time) []store.Command {
		moved, say := Exchange(waiting, at, h.Results)
		answer.CommandEpoch, answer.Commands, answer.Recalled, answer.Acked = last, say.Commands, say.Recalled, say.Acked
		return moved
	})
}

// Say is what central tells an agent about its commands.
type Say struct {
	Commands []wire.AgentCommand
	Recalled []wire.CommandRecall
	Acked    []wire.CommandAck
}

// Exchange is central's side of the protocol by which commands reach an agent and what became of them comes back. It
// is a pure function: waiting are the commands of a site that have not ended, in their order, results what the agent says
// of some, and those that it moved are returned as they are now. They have to be kept before anything is said.
//
// Whatever was sent once is settled by the agent alone, whose journal says whether it was begun; heartbeats and answers
// may get lost, come twice, late and in another order. Central may only ask: by sending a command again, which an agent
// that has it takes for a question, or by recalling it. So a command that is expired, canceled or superseded was never
// begun.
func Exchange(waiting []store.Command, at time.Time, results []wire.CommandResult) (moved []store.Command, say Say) {
	said := map[string]wire.CommandResult{}
	for _, r := range results[:min(len(results), maxResults)] {
		said[r.ID] = r
		say.Acked = append(say.Acked, wire.CommandAck{ID: r.ID, State: r.State})
	}
	for _, before := range waiting {
		c := before
		r, known := said[c.ID]
		if known {
			hear(&c, r, at)
		}
		tell(&c, at, known, &say)
		if c.State != before.State || c.Result != before.Result {
			moved = append(moved, c)
		}
	}
	return moved, say
}

// hear takes an agent's word on a command, unless it is older than what is known. A command that central has not sent
// is nobody's to report.
func hear(c *store.Command, r wire.CommandResult, at time.Time) {
	to := lifecycle.CommandState(r.State)
	if c.State == lifecycle.CommandQueued || to == lifecycle.CommandSent || to != c.State && c.State.To(to) != nil {
		return
	}
	c.State, c.Result = to, store.CommandText(r.Result)
	if to == lifecycle.CommandRunning && c.StartedAt == nil {
		c.StartedAt = &at
	}
	if to.Final() {
		c.FinishedAt = &at
	}
}

// tell adds to what is said what a command asks for. known is whether the agent spoke of it: each heartbeat speaks of all
// that the agent has and has not ended.
func tell(c *store.Command, at time.Time, known bool, say *Say) {
	late := !at.Before(c.ExpiresAt)
	if c.State == lifecycle.CommandQueued {
		if late {
			c.State, c.FinishedAt = lifecycle.CommandExpired, &c.ExpiresAt
			return
		}
		c.State, c.SentAt = lifecycle.CommandSent, &at
		say.Commands = append(say.Commands, c.AgentCommand)
		return
	}
	recall := func(as lifecycle.CommandState, why string) {
		say.Recalled = append(say.Recalled, wire.CommandRecall{
			Seq: c.Seq, ID: c.ID, State: string(as), Result: why, ExpiresAt: c.ExpiresAt,
		})
	}
	switch {
	case c.State.Final():
	case c.State == lifecycle.CommandRunning:
		if !known {
			recall(lifecycle.CommandFailed, "the agent that began it has lost its journal")
		}
	case c.Recall != "":
		recall(c.Recall, c.Result)
	case c.State == lifecycle.CommandAccepted && known: // the agent will say
	case late:
		recall(lifecycle.CommandExpired, "")
	case c.Once:
		recall(lifecycle.CommandFailed, "it got lost on its way to the agent, and may not be sent again")
	default:
		say.Commands = append(say.Commands, c.AgentCommand)
	}
}
