package store

import (
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
	"github.com/pureboot/pureboot/ent/predicate"
)

// Limits of a site's commands.
const (
	maxWaiting = 100  // in no final state
	maxKept    = 1000 // in a final one; the oldest go
)

// Command is something that a site's agent is told to do, and what became of it.
type Command struct {
	wire.AgentCommand
	SiteID     uuid.UUID              `json:"site_id"`
	State      lifecycle.CommandState `json:"state" enum:"queued,sent,accepted,running,succeeded,failed,rejected,expired,canceled,superseded"`
	Result     string                 `json:"result" doc:"What the agent says of it, or why it was not sent"`
	CreatedBy  string                 `json:"created_by"`
	CreatedAt  time.Time              `json:"created_at"`
	SentAt     *time.Time             `json:"sent_at" doc:"When it was first sent"`
	StartedAt  *time.Time             `json:"started_at"`
	FinishedAt *time.Time             `json:"finished_at" doc:"When its state became final"`
}

// CommandCounter is the name of the counter of a site's commands.
func CommandCounter(site uuid.UUID) string { return "commands/" + site.String() }

// QueueCommand queues a command for the agent of a site, which may be offline or yet to be enrolled. Of those that
// wait, the ones that it makes needless are superseded. A site with too many waiting is a *Conflict.
func (s *Store) QueueCommand(ctx context.Context, by Actor, site uuid.UUID, spec CommandSpec) (Command, error) {
	if err := faults(spec.Check()).err(); err != nil {
		return Command{}, err
	}
	var queued Command
	err := s.Write(ctx, func(tx *ent.Tx) error {
		home, err := group(ctx, tx, true, site)
		if err != nil {
			return err
		}
		at := now()
		asked := wish{CommandSpec: spec, expires: at.Add(time.Duration(spec.TTLSeconds) * time.Second)}
		if spec.Command == wire.CommandSync {
			epoch, err := Current(ctx, tx, ContentCounter)
			if err != nil {
				return err
			}
			asked.Params.Epoch = epoch.String()
		}
		params, err := json.Marshal(asked.Params)
		if err != nil {
			return fmt.Errorf("queue command: %w", err)
		}
		seq, err := nextCommand(ctx, tx, site)
		if err != nil {
			return err
		}
		if err := clearQueue(ctx, tx, site, asked, seq, at); err != nil {
			return err
		}
		row, err := tx.AgentCommand.Create().SetSiteID(site).SetSeq(seq).SetCommand(agentcommand.Command(spec.Command)).
			SetParams(params).SetOnce(spec.Once).SetTTLSeconds(spec.TTLSeconds).SetCreatedBy(clean(by.Name, 200)).
			SetCreatedAt(at).SetExpiresAt(asked.expires).Save(ctx)
		if err != nil {
			return fmt.Errorf("queue command: %w", err)
		}
		if queued, err = commandRecord(row, at); err != nil {
			return err
		}
		return Audit(ctx, tx, by, Act{Action: "site." + spec.Command, Subject: subject(home), After: queued.AgentCommand})
	})
	return queued, err
}

// clearQueue ends the commands of a site whose time is over, or which a new one makes needless, and forgets the
// oldest that have ended.
func clearQueue(ctx context.Context, tx *ent.Tx, site uuid.UUID, newer wish, seq int64, at time.Time) error {
	if err := expire(ctx, tx, site, at); err != nil {
		return err
	}
	waiting, err := tx.AgentCommand.Query().Where(agentcommand.SiteID(site), agentcommand.FinishedAtIsNil()).All(ctx)
	if err != nil {
		return fmt.Errorf("read the queue: %w", err)
	}
	var needless []uuid.UUID
	for _, row := range waiting {
		older, err := wishOf(row)
		if err != nil {
			return err
		}
		if row.State == agentcommand.StateQueued && newer.covers(older) {
			needless = append(needless, row.ID)
		}
	}
	if left := len(waiting) - len(needless); left >= maxWaiting {
		return &Conflict{Message: fmt.Sprintf("%d commands wait for this site already: cancel some", left)}
	}
	err = tx.AgentCommand.Update().Where(agentcommand.IDIn(needless...)).SetState(agentcommand.StateSuperseded).
		SetFinishedAt(at).SetResult("by command " + strconv.FormatInt(seq, 10)).Exec(ctx)
	if err != nil {
		return fmt.Errorf("supersede commands: %w", err)
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

// expire ends the commands of a site that nobody began in time.
func expire(ctx context.Context, tx *ent.Tx, site uuid.UUID, at time.Time) error {
	err := tx.AgentCommand.Update().Where(agentcommand.SiteID(site), lapsed(at)).
		SetState(agentcommand.StateExpired).SetFinishedAt(at).Exec(ctx)
	if err != nil {
		return fmt.Errorf("expire commands: %w", err)
	}
	return nil
}

// lapsed selects commands whose time is over, whether or not somebody has noted that they expired.
func lapsed(at time.Time) predicate.AgentCommand {
	var may []agentcommand.State
	for _, state := range lifecycle.CommandStates {
		if state.To(lifecycle.CommandExpired) == nil {
			may = append(may, agentcommand.State(state))
		}
	}
	return agentcommand.And(agentcommand.StateIn(may...), agentcommand.ExpiresAtLTE(at))
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

// CommandQuery selects commands of a site; a zero field does not narrow.
type CommandQuery struct {
	Paging
	State lifecycle.CommandState
}

// Commands lists the commands of a site, the latest first.
func (s *Store) Commands(ctx context.Context, site uuid.UUID, q CommandQuery) (Page[Command], error) {
	var page Page[Command]
	limit, before, err := q.beforeNumber()
	if err != nil {
		return page, err
	}
	at := now()
	which := []predicate.AgentCommand{agentcommand.SiteID(site)}
	if q.State != "" {
		of := agentcommand.And(agentcommand.StateEQ(agentcommand.State(q.State)), agentcommand.Not(lapsed(at)))
		if q.State == lifecycle.CommandExpired {
			of = agentcommand.Or(of, lapsed(at))
		}
		which = append(which, of)
	}
	err = s.View(ctx, func(tx *ent.Tx) error {
		if _, err := tx.DeviceGroup.Query().Where(devicegroup.ID(site), devicegroup.IsSite(true)).OnlyID(ctx); err != nil {
			return missing(err)
		}
		total, err := tx.AgentCommand.Query().Where(which...).Count(ctx)
		if err != nil {
			return err
		}
		rows, err := tx.AgentCommand.Query().Where(which...).Where(agentcommand.SeqLT(before)).
			Order(ent.Desc(agentcommand.FieldSeq)).Limit(limit + 1).All(ctx)
		if err != nil {
			return err
		}
		commands, err := commandRecords(rows, at)
		page = pageOf(commands, limit, total, func(c Command) string { return strconv.FormatInt(c.Seq, 10) }, itself)
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
	return commandRecord(row, now())
}

// CancelCommand takes back a command that was not sent yet, else the error is a *Conflict. To cancel it again changes
// nothing.
func (s *Store) CancelCommand(ctx context.Context, by Actor, site uuid.UUID, seq int64) (Command, error) {
	return s.moveCommand(ctx, by, site, seq, lifecycle.CommandCanceled, "", func(tx *ent.Tx, c Command) error {
		return Audit(ctx, tx, by, Act{Action: "site.command.cancel", Subject: "site/" + site.String(), Before: c, After: map[string]any{"seq": c.Seq, "state": lifecycle.CommandCanceled}})
	})
}

// ReportCommand keeps what an agent says of a command of its site. A report that comes again, or after the command
// ended, changes nothing.
func (s *Store) ReportCommand(ctx context.Context, by Actor, seq int64, state lifecycle.CommandState, result string) (Command, error) {
	c, err := s.Command(ctx, by.Site, seq)
	if err != nil || c.State.Final() {
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
		at := now()
		before, err := commandRecord(row, at)
		if err != nil {
			return err
		}
		if before.State == to {
			moved = before
			return nil
		}
		if err := before.State.To(to); err != nil {
			return &Conflict{Message: "the command: " + err.Error()}
		}
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
		if moved, err = commandRecord(row, at); err != nil {
			return err
		}
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
		at := now()
		rows, err := tx.AgentCommand.Query().Where(
			agentcommand.SiteID(by.Site), agentcommand.ExpiresAtGT(at),
			agentcommand.Or(agentcommand.StateEQ(agentcommand.StateQueued),
				agentcommand.And(agentcommand.StateEQ(agentcommand.StateSent), agentcommand.Once(false))),
		).Order(ent.Asc(agentcommand.FieldSeq)).Limit(limit).All(ctx)
		if err != nil {
			return fmt.Errorf("read the queue: %w", err)
		}
		for i, row := range rows {
			if row.State == agentcommand.StateQueued {
				if rows[i], err = row.Update().SetState(agentcommand.StateSent).SetSentAt(at).Save(ctx); err != nil {
					return fmt.Errorf("send command: %w", err)
				}
			}
		}
		if commands, err = commandRecords(rows, at); err != nil {
			return err
		}
		cursor, err = Current(ctx, tx, CommandCounter(by.Site))
		if ent.IsNotFound(err) { // no command was ever queued
			err = nil
		}
		return err
	})
	return commands, cursor, err
}

func commandRecords(rows []*ent.AgentCommand, at time.Time) ([]Command, error) {
	commands := make([]Command, len(rows))
	for i, row := range rows {
		var err error
		if commands[i], err = commandRecord(row, at); err != nil {
			return nil, err
		}
	}
	return commands, nil
}

// commandRecord describes a row. One whose time is over has expired, whether or not anybody wrote so.
func commandRecord(row *ent.AgentCommand, at time.Time) (Command, error) {
	asked, err := wishOf(row)
	c := Command{
		AgentCommand: wire.AgentCommand{
			Seq: row.Seq, ID: row.ID.String(), Command: asked.Command, Params: asked.Params, Once: row.Once, ExpiresAt: row.ExpiresAt,
		},
		SiteID: row.SiteID, State: lifecycle.CommandState(row.State), Result: row.Result,
		CreatedBy: row.CreatedBy, CreatedAt: row.CreatedAt, SentAt: row.SentAt, StartedAt: row.StartedAt, FinishedAt: row.FinishedAt,
	}
	if c.State.To(lifecycle.CommandExpired) == nil && !at.Before(c.ExpiresAt) {
		c.State, c.FinishedAt = lifecycle.CommandExpired, &c.ExpiresAt
	}
	return c, err
}
