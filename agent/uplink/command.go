package uplink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/pureboot/pureboot/agent/node"
	"github.com/pureboot/pureboot/central/lifecycle"
	"github.com/pureboot/pureboot/central/wire"
)

// ErrRejected refuses a command that is not for this agent to do.
var ErrRejected = errors.New("rejected")

// Effect carries out a command; to do it twice does what doing it once does. say, which may be called at any time, tells
// how far it is. The result is a line for people. An error is the command's failure, or its rejection if it wraps
// ErrRejected; if ctx ends, the effect is begun again after the agent's next start.
type Effect func(ctx context.Context, p wire.CommandParams, say func(progress string)) (result string, err error)

// Journal keeps lines of text by their ids, and an epoch; a *node.Store does.
type Journal interface {
	Journal(ctx context.Context) (wire.Epoch, []node.Line, error)
	// WriteJournal drops lines and then puts others, does all of it or nothing, and has reached the disk when it returns.
	WriteJournal(ctx context.Context, at wire.Epoch, put []node.Line, drop []string) error
}

// CommandOptions say what Commands work with.
type CommandOptions struct {
	Journal Journal
	Effects map[string]Effect // by the names of the commands
	Soon    func()            // has the next heartbeat come soon; see Heartbeat.Soon
	Log     *slog.Logger
}

// Commands are what central tells the site to do. They come with the answers to heartbeats, are carried out one after
// the other, and what became of them goes out with the next heartbeats until central has it. Their methods may be
// called at once from many goroutines; Run once.
type Commands struct {
	opt  CommandOptions
	wake chan struct{} // there may be something to do

	mu       sync.Mutex
	log      *commandLog // as it is in the journal; never changed, but replaced
	progress string      // of the one that runs
	central  time.Time   // its clock when it was heard last; zero before that
	heard    time.Time   // when that was
}

// OpenCommands reads the journal.
func OpenCommands(ctx context.Context, opt CommandOptions) (*Commands, error) {
	c := &Commands{opt: opt, wake: make(chan struct{}, 1)}
	cursor, lines, err := opt.Journal.Journal(ctx)
	if err != nil {
		return nil, fmt.Errorf("open the journal of commands: %w", err)
	}
	c.log = &commandLog{cursor: cursor}
	for _, line := range lines {
		var e logged
		if err := json.Unmarshal(line.Text, &e); err != nil {
			// It is asked for again, or recalled.
			opt.Log.Error("line of the journal of commands not readable", "id", line.ID, "err", err)
			continue
		}
		c.log.entries = append(c.log.entries, e)
	}
	return c, nil
}

// Report adds to a heartbeat what became of the commands.
func (c *Commands) Report(h *wire.Heartbeat) {
	c.mu.Lock()
	defer c.mu.Unlock()
	h.CommandEpoch, h.Results = c.log.cursor, c.log.results(c.progress)
}

// Answer takes the commands of an answer over. After an error central says again what was not taken.
func (c *Commands) Answer(ctx context.Context, a wire.HeartbeatAnswer) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.central, c.heard = a.ServerTime, time.Now()
	var odd error
	err := c.change(ctx, func(l *commandLog) {
		odd = l.take(a, a.ServerTime, func(name string) bool { return c.opt.Effects[name] != nil })
	})
	nudge(c.wake)
	if odd != nil {
		odd = fmt.Errorf("commands of central: %w", odd)
	}
	return errors.Join(err, odd)
}

// change has edit change the log, in the journal first, and has central told soon if that leaves it something to be
// told. Callers hold mu.
func (c *Commands) change(ctx context.Context, edit func(*commandLog)) error {
	changed := c.log.clone()
	edit(changed)
	put, drop, err := difference(c.log, changed)
	if err != nil || len(put)+len(drop) == 0 && changed.cursor == c.log.cursor {
		return err
	}
	if err := c.opt.Journal.WriteJournal(ctx, changed.cursor, put, drop); err != nil {
		return fmt.Errorf("journal of commands: %w", err)
	}
	c.log = changed
	if len(put) > 0 && changed.pending() {
		c.opt.Soon()
	}
	return nil
}

// difference is what has to be written to turn one log into another, which lacks some entries and has others at its end.
// One that was taken out and came again is among both.
func difference(from, to *commandLog) (put []node.Line, drop []string, err error) {
	next := 0 // of the old entries
	for _, e := range to.entries {
		for next < len(from.entries) && from.entries[next].ID != e.ID {
			drop = append(drop, from.entries[next].ID)
			next++
		}
		next++
		if next <= len(from.entries) && !from.entries[next-1].moved(e) {
			continue
		}
		text, err := json.Marshal(e)
		if err != nil {
			return nil, nil, fmt.Errorf("journal of commands: %w", err)
		}
		put = append(put, node.Line{ID: e.ID, Text: text})
	}
	for ; next < len(from.entries); next++ {
		drop = append(drop, from.entries[next].ID)
	}
	return put, drop, nil
}

// journalRetry is the pause before what could not be written is tried again.
const journalRetry = 10 * time.Second

// Run carries the commands out until ctx ends.
func (c *Commands) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		command, ok, err := c.begin(ctx)
		if ok {
			c.carryOut(ctx, command)
			continue
		}
		var again <-chan time.Time
		if err != nil && ctx.Err() == nil {
			c.opt.Log.Error("command not begun", "err", err)
			again = time.After(journalRetry)
		}
		select {
		case <-ctx.Done():
		case <-c.wake:
		case <-again:
		}
	}
	return nil
}

// begin notes the begin of the next command and returns it; false if there is none. Whether one has expired central's
// clock says, as it was heard last and has gone on since: before the first answer nothing begins.
func (c *Commands) begin(ctx context.Context) (command wire.AgentCommand, ok bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.central.IsZero() {
		return command, false, nil
	}
	c.progress = ""
	err = c.change(ctx, func(l *commandLog) { command, ok = l.next(c.central.Add(time.Since(c.heard))) })
	return command, ok && err == nil, err
}

func (c *Commands) carryOut(ctx context.Context, command wire.AgentCommand) {
	log := c.opt.Log.With("command", command.Command, "number", command.Seq, "id", command.ID)
	log.Info("command begun")
	began := time.Now()
	result, err := c.opt.Effects[command.Command](ctx, command.Params, func(progress string) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.progress = progress
	})
	as := lifecycle.CommandSucceeded
	switch {
	case err != nil && ctx.Err() != nil:
		return // it is begun again after the next start, or has failed
	case errors.Is(err, ErrRejected):
		as, result = lifecycle.CommandRejected, err.Error()
	case err != nil && result != "":
		as, result = lifecycle.CommandFailed, result+": "+err.Error()
	case err != nil:
		as, result = lifecycle.CommandFailed, err.Error()
	}
	log.Info("command ended", "state", as, "result", result, "took", time.Since(began))
	for {
		c.mu.Lock()
		err := c.change(context.WithoutCancel(ctx), func(l *commandLog) { l.finish(command.ID, as, result) })
		c.mu.Unlock()
		if err == nil {
			return
		}
		log.Error("end of a command not noted", "err", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(journalRetry):
		}
	}
}
