package store

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/lifecycle"
	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/ent"
	"github.com/pureboot/pureboot/ent/agentcommand"
	"github.com/pureboot/pureboot/ent/counter"
	"github.com/pureboot/pureboot/ent/devicegroup"
	"github.com/pureboot/pureboot/ent/migrationclaim"
)

// Limits of commands.
const (
	maxWaiting    = 100  // of a site, in no final state
	maxKept       = 1000 // of a site, in a final one; the oldest go
	maxParamBytes = 64 << 10
	defaultTTL    = 24 * time.Hour
	maxTTL        = 30 * 24 * time.Hour
)

// Command is something a site's agent is told to do.
type Command struct {
	ID         uuid.UUID       `json:"id"`
	SiteID     uuid.UUID       `json:"site_id"`
	Seq        int64           `json:"seq" doc:"Dense within the site"`
	Command    string          `json:"command" enum:"sync,invalidate,update_config"`
	Params     json.RawMessage `json:"params"`
	State      string          `json:"state" enum:"queued,sent,accepted,running,succeeded,failed,rejected,expired,canceled,superseded"`
	Result     string          `json:"result" doc:"What the agent says of it"`
	Once       bool            `json:"once" doc:"Sent no second time, even if the first got lost"`
	CreatedBy  string          `json:"created_by"`
	CreatedAt  time.Time       `json:"created_at"`
	ExpiresAt  time.Time       `json:"expires_at"`
	SentAt     *time.Time      `json:"sent_at"`
	StartedAt  *time.Time      `json:"started_at"`
	FinishedAt *time.Time      `json:"finished_at"`
}

// CommandSpec is a command to queue.
type CommandSpec struct {
	Command string          // sync, invalidate or update_config
	Params  json.RawMessage // an object; empty means one without fields
	TTL     time.Duration   // 0 means a day; a month at most
	Once    bool
}

// CommandCounter is the name of the counter of a site's commands.
func CommandCounter(site uuid.UUID) string { return "commands/" + site.String() }

// QueueCommand queues a command for the agent of a site, which may be offline or yet to be enrolled. One that waits
// and is the same, or an update of the configuration, is superseded by it.
func (s *Store) QueueCommand(ctx context.Context, by Actor, site uuid.UUID, spec CommandSpec) (Command, error) {
	if err := spec.check(); err != nil {
		return Command{}, err
	}
	var queued Command
	err := s.Write(ctx, func(tx *ent.Tx) error {
		row, err := tx.DeviceGroup.Query().Where(devicegroup.ID(site), devicegroup.IsSite(true)).Only(ctx)
		if err != nil {
			return missing(err)
		}
		at := now()
		if err := clearQueue(ctx, tx, site, spec, at); err != nil {
			return err
		}
		seq, err := nextCommand(ctx, tx, site)
		if err != nil {
			return err
		}
		made, err := tx.AgentCommand.Create().SetSiteID(site).SetSeq(seq).SetCommand(agentcommand.Command(spec.Command)).
			SetParams(spec.Params).SetOnce(spec.Once).SetTTLSeconds(int(spec.TTL / time.Second)).SetCreatedBy(clean(by.Name, 200)).
			SetCreatedAt(at).SetExpiresAt(at.Add(spec.TTL)).Save(ctx)
		if err != nil {
			return fmt.Errorf("queue command: %w", err)
		}
		queued = commandRecord(made)
		return Audit(ctx, tx, by, Act{Action: "command.queue", Subject: subject(row), After: queued})
	})
	return queued, err
}

// check says what is wrong with a command, and fills in what was left out.
func (c *CommandSpec) check() error {
	var f faults
	if agentcommand.CommandValidator(agentcommand.Command(c.Command)) != nil {
		f.add("command", clean(c.Command, maxName), "want sync, invalidate or update_config")
	}
	if len(c.Params) == 0 {
		c.Params = json.RawMessage("{}")
	}
	var object map[string]json.RawMessage
	var compact bytes.Buffer
	switch {
	case len(c.Params) > maxParamBytes:
		f.add("params", nil, "longer than %d bytes", maxParamBytes)
	case json.Unmarshal(c.Params, &object) != nil || object == nil || json.Compact(&compact, c.Params) != nil:
		f.add("params", nil, "want a JSON object")
	default:
		c.Params = compact.Bytes()
	}
	if c.TTL == 0 {
		c.TTL = defaultTTL
	}
	if c.TTL < time.Second || c.TTL > maxTTL {
		f.add("ttl_seconds", int64(c.TTL/time.Second), "want 1 to %d", int64(maxTTL/time.Second))
	}
	return f.err()
}

// clearQueue ends the commands of a site whose time is over or which a new one makes pointless, and forgets the
// oldest that have ended.
func clearQueue(ctx context.Context, tx *ent.Tx, site uuid.UUID, spec CommandSpec, at time.Time) error {
	waiting, err := tx.AgentCommand.Query().Where(agentcommand.SiteID(site), agentcommand.FinishedAtIsNil()).All(ctx)
	if err != nil {
		return fmt.Errorf("read the queue: %w", err)
	}
	left := 0
	for _, c := range waiting {
		state := lifecycle.CommandState(c.State)
		again := string(c.Command) == spec.Command && (spec.Command == "update_config" || bytes.Equal(c.Params, spec.Params))
		to := state
		switch {
		case !at.Before(c.ExpiresAt):
			to = lifecycle.CommandExpired
		case state == lifecycle.CommandQueued && again:
			to = lifecycle.CommandSuperseded
		}
		if to == state {
			left++
			continue
		}
		if err := c.Update().SetState(agentcommand.State(to)).SetFinishedAt(at).Exec(ctx); err != nil {
			return fmt.Errorf("end command %d: %w", c.Seq, err)
		}
	}
	if left >= maxWaiting {
		return &Conflict{Message: fmt.Sprintf("%d commands wait for this site already: cancel some", left)}
	}
	oldest, err := tx.AgentCommand.Query().Where(agentcommand.SiteID(site), agentcommand.FinishedAtNotNil()).
		Order(ent.Desc(agentcommand.FieldSeq)).Offset(maxKept).First(ctx)
	if ent.IsNotFound(err) {
		return nil
	} else if err != nil {
		return fmt.Errorf("read the queue: %w", err)
	}
	_, err = tx.AgentCommand.Delete().Where(agentcommand.SiteID(site), agentcommand.FinishedAtNotNil(), agentcommand.SeqLTE(oldest.Seq)).Exec(ctx)
	return err
}

// nextCommand advances the counter of a site's commands, and makes it for the first.
func nextCommand(ctx context.Context, tx *ent.Tx, site uuid.UUID) (int64, error) {
	name := CommandCounter(site)
	known, err := tx.Counter.Query().Where(counter.ID(name)).Exist(ctx)
	if err == nil && !known {
		err = makeCounter(ctx, tx, name)
	}
	if err != nil {
		return 0, err
	}
	e, err := Next(ctx, tx, name)
	return e.N, err
}

// forgetSite forgets what a site that is deleted leaves beside its rows.
func forgetSite(ctx context.Context, tx *ent.Tx, site uuid.UUID) error {
	if _, err := tx.Counter.Delete().Where(counter.ID(CommandCounter(site))).Exec(ctx); err != nil {
		return fmt.Errorf("forget the commands of a site: %w", err)
	}
	return withdrawApprovals(ctx, tx, migrationclaim.TargetSiteID(site), "the site was deleted")
}

// Commands lists the commands of a site, the latest first.
func (s *Store) Commands(ctx context.Context, site uuid.UUID, paging Paging) (Page[Command], error) {
	var page Page[Command]
	limit, before, err := paging.beforeNumber()
	if err != nil {
		return page, err
	}
	err = s.View(ctx, func(tx *ent.Tx) error {
		if _, err := tx.DeviceGroup.Query().Where(devicegroup.ID(site), devicegroup.IsSite(true)).OnlyID(ctx); err != nil {
			return missing(err)
		}
		total, err := tx.AgentCommand.Query().Where(agentcommand.SiteID(site)).Count(ctx)
		if err != nil {
			return err
		}
		rows, err := tx.AgentCommand.Query().Where(agentcommand.SiteID(site), agentcommand.SeqLT(before)).
			Order(ent.Desc(agentcommand.FieldSeq)).Limit(limit + 1).All(ctx)
		page = pageOf(rows, limit, total, func(c *ent.AgentCommand) string { return strconv.FormatInt(c.Seq, 10) }, commandRecord)
		return err
	})
	return page, err
}

// Command returns a command of a site by its number.
func (s *Store) Command(ctx context.Context, site uuid.UUID, seq int64) (Command, error) {
	row, err := s.reader.AgentCommand.Query().Where(agentcommand.SiteID(site), agentcommand.Seq(seq)).Only(ctx)
	if err != nil {
		return Command{}, missing(err)
	}
	return commandRecord(row), nil
}

// CancelCommand calls a command back that the agent has not begun, else the error is a *Conflict.
func (s *Store) CancelCommand(ctx context.Context, by Actor, site uuid.UUID, seq int64) (Command, error) {
	return s.moveCommand(ctx, by, site, seq, lifecycle.CommandCanceled, "", func(tx *ent.Tx, c Command) error {
		return Audit(ctx, tx, by, Act{Action: "command.cancel", Subject: "site/" + site.String(), Before: c})
	})
}

// ReportCommand keeps what an agent says of a command of its site. A report that comes again, or after the command
// ended, changes nothing.
func (s *Store) ReportCommand(ctx context.Context, by Actor, seq int64, state lifecycle.CommandState, result string) (Command, error) {
	c, err := s.Command(ctx, by.Site, seq)
	if err != nil || lifecycle.CommandState(c.State).Final() || c.State == string(state) {
		return c, err
	}
	return s.moveCommand(ctx, by, by.Site, seq, state, result, func(*ent.Tx, Command) error { return nil })
}

func (s *Store) moveCommand(ctx context.Context, by Actor, site uuid.UUID, seq int64, to lifecycle.CommandState, result string, also func(*ent.Tx, Command) error) (Command, error) {
	var moved Command
	err := s.Write(ctx, func(tx *ent.Tx) error {
		row, err := tx.AgentCommand.Query().Where(agentcommand.SiteID(site), agentcommand.Seq(seq)).Only(ctx)
		if err != nil {
			return missing(err)
		}
		before := commandRecord(row)
		if err := lifecycle.CommandState(before.State).To(to); err != nil {
			return &Conflict{Message: err.Error()}
		}
		at := now()
		update := row.Update().SetState(agentcommand.State(to))
		switch {
		case to.Final():
			update.SetFinishedAt(at)
		case to == lifecycle.CommandSent:
			update.SetSentAt(at)
		case row.StartedAt == nil:
			update.SetStartedAt(at)
		}
		if result != "" {
			update.SetResult(clean(result, 4096))
		}
		if row, err = update.Save(ctx); err != nil {
			return fmt.Errorf("move command %d: %w", seq, err)
		}
		moved = commandRecord(row)
		return also(tx, before)
	})
	return moved, err
}

// SendCommands returns the commands that an agent has not acknowledged, in their order, and marks them as sent. Those
// that may be sent only once are not sent again.
func (s *Store) SendCommands(ctx context.Context, by Actor, limit int) ([]Command, wire.Epoch, error) {
	var commands []Command
	var cursor wire.Epoch
	err := s.Write(ctx, func(tx *ent.Tx) error {
		commands = []Command{}
		at := now()
		rows, err := tx.AgentCommand.Query().Where(
			agentcommand.SiteID(by.Site), agentcommand.ExpiresAtGT(at),
			agentcommand.Or(agentcommand.StateEQ(agentcommand.StateQueued),
				agentcommand.And(agentcommand.StateEQ(agentcommand.StateSent), agentcommand.Once(false))),
		).Order(ent.Asc(agentcommand.FieldSeq)).Limit(limit).All(ctx)
		if err != nil {
			return fmt.Errorf("read the queue: %w", err)
		}
		for _, row := range rows {
			if row.State == agentcommand.StateQueued {
				if row, err = row.Update().SetState(agentcommand.StateSent).SetSentAt(at).Save(ctx); err != nil {
					return fmt.Errorf("send command: %w", err)
				}
			}
			commands = append(commands, commandRecord(row))
		}
		cursor, err = Current(ctx, tx, CommandCounter(by.Site))
		if ent.IsNotFound(err) { // no command was ever queued
			err = nil
		}
		return err
	})
	return commands, cursor, err
}

// commandRecord describes a row. One whose time is over has expired, whether or not anybody wrote so.
func commandRecord(row *ent.AgentCommand) Command {
	c := Command{
		ID: row.ID, SiteID: row.SiteID, Seq: row.Seq, Command: string(row.Command), Params: row.Params, State: string(row.State),
		Result: row.Result, Once: row.Once, CreatedBy: row.CreatedBy, CreatedAt: row.CreatedAt, ExpiresAt: row.ExpiresAt,
		SentAt: row.SentAt, StartedAt: row.StartedAt, FinishedAt: row.FinishedAt,
	}
	if c.FinishedAt == nil && !time.Now().Before(c.ExpiresAt) {
		c.State, c.FinishedAt = string(lifecycle.CommandExpired), &c.ExpiresAt
	}
	return c
}
