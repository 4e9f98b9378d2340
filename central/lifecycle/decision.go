package lifecycle

import (
	"fmt"
	"slices"
	"strings"
)

// Decision is how far a question to the administrators has come: a claim to a node, or any other approval.
type Decision string

// The decisions. All but Undecided are final.
const (
	Undecided Decision = "pending"
	Approved  Decision = "approved"
	Rejected  Decision = "rejected"
	Expired   Decision = "expired" // nobody decided in time
)

// Next returns the decisions that may follow d; none follows a final one.
func (d Decision) Next() []Decision {
	if d == Undecided {
		return []Decision{Approved, Rejected, Expired}
	}
	return nil
}

// To says by a *StepError why d cannot become another decision; nil if it can.
func (d Decision) To(to Decision) error { return step(d, to, d.Next()) }

// CommandState is how far a command to an agent has come.
type CommandState string

// The states of a command.
const (
	CommandQueued     CommandState = "queued"   // waits for the agent's next heartbeat
	CommandSent       CommandState = "sent"     // was in an answer to one, which may have been lost
	CommandAccepted   CommandState = "accepted" // is in the agent's journal
	CommandRunning    CommandState = "running"
	CommandSucceeded  CommandState = "succeeded"
	CommandFailed     CommandState = "failed"
	CommandRejected   CommandState = "rejected" // the agent does not know it, or will not do it
	CommandExpired    CommandState = "expired"  // its time was over before it ended
	CommandCanceled   CommandState = "canceled"
	CommandSuperseded CommandState = "superseded" // a later one made it pointless
)

// afterSend is what an agent may report of a command that it was sent: reports come late, and some not at all.
var afterSend = []CommandState{
	CommandAccepted, CommandRunning, CommandSucceeded, CommandFailed, CommandRejected, CommandExpired, CommandCanceled, CommandSuperseded,
}

// Next returns the states that may follow s; none follows a final one.
func (s CommandState) Next() []CommandState {
	switch s {
	case CommandQueued:
		return []CommandState{CommandSent, CommandExpired, CommandCanceled, CommandSuperseded}
	case CommandSent:
		return afterSend
	case CommandAccepted:
		return afterSend[1:]
	case CommandRunning: // which nobody can call back any more
		return []CommandState{CommandSucceeded, CommandFailed, CommandRejected, CommandExpired}
	}
	return nil
}

// Final says whether nothing follows s.
func (s CommandState) Final() bool { return len(s.Next()) == 0 }

// To says by a *StepError why s cannot become another state; nil if it can.
func (s CommandState) To(to CommandState) error { return step(s, to, s.Next()) }

// StepError is a step that the rules do not allow.
type StepError struct {
	From, To string
	Valid    []string // what may follow From
}

func (e *StepError) Error() string {
	if len(e.Valid) == 0 {
		return fmt.Sprintf("it is %s, which is final", e.From)
	}
	return fmt.Sprintf("%s cannot become %s: valid are %s", e.From, e.To, strings.Join(e.Valid, ", "))
}

func step[S ~string](from, to S, next []S) error {
	if slices.Contains(next, to) {
		return nil
	}
	e := &StepError{From: string(from), To: string(to)}
	for _, s := range next {
		e.Valid = append(e.Valid, string(s))
	}
	return e
}
