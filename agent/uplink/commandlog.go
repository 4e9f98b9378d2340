package uplink

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pureboot/pureboot/central/lifecycle"
	"github.com/pureboot/pureboot/central/wire"
)

const (
	maxCommands  = 1000           // in a log
	maxWaiting   = 500            // of those, not ended; central has 100 wait at most
	maxResults   = 100            // of what has ended, in a heartbeat; the others come with the next
	maxTexts     = 128 << 10      // bytes of their texts, which JSON may make six times as long: central takes 1 MiB
	maxResult    = 4 << 10        // bytes of a result's text
	maxBegins    = 5              // of a command during which the agent ends each time
	keepFinished = 24 * time.Hour // beyond a command's time, in case central's clock is set back
)

// commandLog is the agent's side of the protocol by which commands arrive and what became of them goes back. It is
// pure: it reads no clock and touches no disk. Whoever changes it writes it to the disk before acting on it or telling
// of it, so that a crash at any moment leaves one of its states and never less than what the world has seen of it.
//
// Commands are known by their ids. What has ended stays in the log as long as central could ask for it again, which a
// central that was restored from a backup may do: the log then answers, and nothing is begun twice.
type commandLog struct {
	cursor  wire.Epoch // up to where central's commands are in the log
	entries []logged   // in the order in which they came
}

// logged is a command and how far it is.
type logged struct {
	wire.AgentCommand
	State  lifecycle.CommandState `json:"state"`
	Acked  lifecycle.CommandState `json:"acked,omitempty"` // the state that central has kept
	Result string                 `json:"result,omitempty"`
	Tries  int                    `json:"tries,omitempty"` // how often it was begun
}

// moved says whether two entries of one command differ.
func (e logged) moved(to logged) bool {
	return e.State != to.State || e.Acked != to.Acked || e.Result != to.Result || e.Tries != to.Tries
}

// clone returns a copy that can be changed.
func (l *commandLog) clone() *commandLog {
	return &commandLog{cursor: l.cursor, entries: slices.Clone(l.entries)}
}

func (l *commandLog) find(id string) *logged {
	for i := range l.entries {
		if l.entries[i].ID == id {
			return &l.entries[i]
		}
	}
	return nil
}

// take notes what an answer of central says. at is central's time, knows whether there is a way to carry out a command
// of that name. The error says what of the answer was passed over; the rest is taken.
func (l *commandLog) take(a wire.HeartbeatAnswer, at time.Time, knows func(command string) bool) error {
	for _, ack := range a.Acked {
		if e := l.find(ack.ID); e != nil && string(e.State) == ack.State {
			e.Acked = e.State
		}
	}
	if a.CommandEpoch.Stream != "" && a.CommandEpoch.Stream != l.cursor.Stream {
		// Central was restored. Whether it still wants what waits here, it says by sending it.
		l.entries = slices.DeleteFunc(l.entries, func(e logged) bool { return e.State == lifecycle.CommandAccepted })
		l.cursor = wire.Epoch{Stream: a.CommandEpoch.Stream}
	}
	var errs []error
	seen := l.cursor.N
	for _, c := range a.Commands {
		errs = append(errs, l.add(c, seen, knows))
	}
	for _, r := range a.Recalled {
		errs = append(errs, l.recall(r))
	}
	l.forget(at)
	return errors.Join(errs...)
}

// add logs a command. One that is in the log is a question how far it is.
func (l *commandLog) add(c wire.AgentCommand, seen int64, knows func(string) bool) error {
	if c.Seq < 1 || c.ID == "" || len(c.ID) > 64 || len(c.Command) > 64 {
		return fmt.Errorf("no command: number %d, id %.80q", c.Seq, c.ID)
	}
	if e := l.find(c.ID); e != nil {
		e.Acked = ""
		return nil
	}
	if len(l.entries) >= 2*maxCommands {
		return fmt.Errorf("command %d: no more room for what central has not acknowledged", c.Seq)
	}
	e := logged{AgentCommand: c, State: lifecycle.CommandAccepted}
	switch {
	case c.Seq <= seen:
		e.State, e.Result = lifecycle.CommandFailed, "it has been here before, and nothing is known of it any more"
	case !knows(c.Command):
		e.State, e.Result = lifecycle.CommandRejected, fmt.Sprintf("this agent knows no command %q", c.Command)
	case l.waiting() >= maxWaiting:
		e.State, e.Result = lifecycle.CommandRejected, "too many commands wait at this agent"
	}
	l.entries = append(l.entries, e)
	l.cursor.N = max(l.cursor.N, c.Seq)
	return nil
}

func (l *commandLog) waiting() (n int) {
	for _, e := range l.entries {
		if !e.State.Final() {
			n++
		}
	}
	return n
}

// recall ends a command that was not begun, known or not, and has it reported in any case.
func (l *commandLog) recall(r wire.CommandRecall) error {
	as := lifecycle.CommandState(r.State)
	switch as {
	case lifecycle.CommandCanceled, lifecycle.CommandSuperseded, lifecycle.CommandExpired, lifecycle.CommandFailed:
	default:
		return fmt.Errorf("no way to end a command: %.80q", r.State)
	}
	if r.Seq < 1 || r.ID == "" || len(r.ID) > 64 {
		return fmt.Errorf("no command: number %d, id %.80q", r.Seq, r.ID)
	}
	e := l.find(r.ID)
	if e == nil && len(l.entries) >= 2*maxCommands {
		return fmt.Errorf("command %d: no more room for what central has not acknowledged", r.Seq)
	}
	if e == nil { // and if it still comes, it is known
		l.entries = append(l.entries, logged{
			AgentCommand: wire.AgentCommand{Seq: r.Seq, ID: r.ID, ExpiresAt: r.ExpiresAt}, State: lifecycle.CommandAccepted,
		})
		e = &l.entries[len(l.entries)-1]
		l.cursor.N = max(l.cursor.N, r.Seq)
	}
	if e.State == lifecycle.CommandAccepted {
		e.State, e.Result = as, shorten(r.Result)
	}
	e.Acked = ""
	return nil
}

// forget drops what has ended and was acknowledged once its time is over, or if it is too much, the oldest first.
func (l *commandLog) forget(at time.Time) {
	over := func(e logged) bool { return e.State.Final() && e.Acked == e.State }
	l.entries = slices.DeleteFunc(l.entries, func(e logged) bool { return over(e) && at.Sub(e.ExpiresAt) > keepFinished })
	excess := len(l.entries) - maxCommands
	l.entries = slices.DeleteFunc(l.entries, func(e logged) bool {
		if excess <= 0 || !over(e) {
			return false
		}
		excess--
		return true
	})
}

// next returns the command to be carried out now, begun, and false if there is none. What the agent was at when it
// ended comes first, unless it may be begun only once; the others follow in the order of their numbers. What nobody
// began in time expires.
func (l *commandLog) next(at time.Time) (wire.AgentCommand, bool) {
	var first *logged
	for i := range l.entries {
		e := &l.entries[i]
		switch {
		case e.State == lifecycle.CommandRunning && e.Once:
			e.State, e.Result = lifecycle.CommandFailed, "the agent ended while it was at it, and it may run only once"
		case e.State == lifecycle.CommandRunning && e.Tries >= maxBegins:
			e.State, e.Result = lifecycle.CommandFailed, fmt.Sprintf("the agent ended %d times while it was at it", e.Tries)
		case e.State == lifecycle.CommandAccepted && !at.Before(e.ExpiresAt):
			e.State, e.Result = lifecycle.CommandExpired, ""
		case e.State == lifecycle.CommandRunning:
			first = e
		case e.State == lifecycle.CommandAccepted && (first == nil || first.State == lifecycle.CommandAccepted && e.Seq < first.Seq):
			first = e
		}
	}
	if first == nil {
		return wire.AgentCommand{}, false
	}
	first.State, first.Tries = lifecycle.CommandRunning, first.Tries+1
	return first.AgentCommand, true
}

// finish notes how a command ended that next returned.
func (l *commandLog) finish(id string, as lifecycle.CommandState, result string) {
	if e := l.find(id); e != nil && e.State == lifecycle.CommandRunning {
		e.State, e.Result = as, shorten(result)
	}
}

// results is what central has to be told: how far each command is that has not ended, so that central notices if one is
// lost here, and what it has not acknowledged of the others.
func (l *commandLog) results(progress string) []wire.CommandResult {
	var open, ended []wire.CommandResult
	texts := 0
	for _, e := range l.entries {
		r := wire.CommandResult{ID: e.ID, State: string(e.State), Result: e.Result}
		switch {
		case e.State == lifecycle.CommandRunning:
			r.Result = shorten(progress)
			open = append(open, r)
		case !e.State.Final():
			open = append(open, r)
		case e.State != e.Acked && len(ended) < maxResults && texts+len(r.Result) <= maxTexts:
			texts += len(r.Result)
			ended = append(ended, r)
		}
	}
	return append(open, ended...)
}

// pending says whether there is something that central has not acknowledged.
func (l *commandLog) pending() bool {
	return slices.ContainsFunc(l.entries, func(e logged) bool { return e.State != e.Acked })
}

// shorten bounds a result's text.
func shorten(text string) string {
	if len(text) <= maxResult {
		return text
	}
	n := maxResult
	for n > 0 && text[n]&0xc0 == 0x80 { // not within a character
		n--
	}
	return text[:n]
}
