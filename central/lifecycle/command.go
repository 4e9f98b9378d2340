package lifecycle

import "slices"

// CommandState is how far a command to an agent has come.
type CommandState string

// The states of a command. The last six are final.
const (
	CommandQueued     CommandState = "queued"     // waits for the agent's next heartbeat
	CommandSent       CommandState = "sent"       // was in an answer to one, which may have been lost
	CommandAccepted   CommandState = "accepted"   // is in the agent's journal
	CommandRunning    CommandState = "running"    // the agent is at it
	CommandSucceeded  CommandState = "succeeded"  // it is done
	CommandFailed     CommandState = "failed"     // the agent tried
	CommandRejected   CommandState = "rejected"   // the agent does not know it, or will not do it
	CommandExpired    CommandState = "expired"    // its time was over before the agent began, and it never did
	CommandCanceled   CommandState = "canceled"   // an administrator took it back before the agent began
	CommandSuperseded CommandState = "superseded" // it was not begun: a newer one does all that it would have
)

// CommandStates lists every state, in the order of the constants.
var CommandStates = []CommandState{
	CommandQueued, CommandSent, CommandAccepted, CommandRunning, CommandSucceeded, CommandFailed, CommandRejected,
	CommandExpired, CommandCanceled, CommandSuperseded,
}

// afterCommand holds what may follow each state. An agent's reports may skip some, since those may get lost. What was
// sent is out of central's hands, and ends by the agent's word alone: to call it canceled or expired while the agent may
// be at it would be a guess.
var afterCommand = map[CommandState][]CommandState{
	CommandQueued: {CommandSent, CommandExpired, CommandCanceled, CommandSuperseded},
	CommandSent: {
		CommandAccepted, CommandRunning, CommandSucceeded, CommandFailed, CommandRejected, CommandExpired, CommandCanceled,
		CommandSuperseded,
	},
	CommandAccepted: {
		CommandRunning, CommandSucceeded, CommandFailed, CommandRejected, CommandExpired, CommandCanceled, CommandSuperseded,
	},
	CommandRunning: {CommandSucceeded, CommandFailed, CommandRejected},
}

// Next returns the states that may follow s; none follows a final one.
func (s CommandState) Next() []CommandState { return slices.Clone(afterCommand[s]) }

// Final says whether nothing follows s.
func (s CommandState) Final() bool { return len(afterCommand[s]) == 0 }

// To says by a *StepError why s cannot become another state; nil if it can.
func (s CommandState) To(to CommandState) error { return step(s, to, afterCommand[s]) }
