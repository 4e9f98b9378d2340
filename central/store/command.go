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
	Recall     lifecycle.CommandState `json:"recall,omitempty" enum:"canceled,superseded" doc:"The agent may have it, and is asked to end it so if it has not begun it"`
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
	var needless, sent []uuid.UUID
	for _, row := range waiting {
		older, err := wishOf(row)
		if err != nil {
			return err
		}
		switch {
		case !newer.covers(older):
		case row.State == agentcommand.StateQueued:
			needless = append(needless, row.ID)
		case row.State != agentcommand.StateRunning && row.Recall == nil:
			sent = append(sent, row.ID) // the agent may not have begun it
		}
	}
	if left := len(waiting) - len(needless); left >= maxWaiting {
		return &Conflict{Message: fmt.Sprintf("%d commands wait for this site already: cancel some", left)}
	}
	by := "by command " + strconv.FormatInt(seq, 10)
	err = tx.AgentCommand.Update().Where(agentcommand.IDIn(needless...)).SetState(agentcommand.StateSuperseded).
		SetFinishedAt(at).SetResult(by).Exec(ctx)
	if err == nil {
		err = tx.AgentCommand.Update().Where(agentcommand.IDIn(sent...)).SetRecall(agentcommand.RecallSuperseded).SetResult(by).Exec(ctx)
	}
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

// expire ends the commands of a site that waited too long for its agent to ask.
func expire(ctx context.Context, tx *ent.Tx, site uuid.UUID, at time.Time) error {
	err := tx.AgentCommand.Update().Where(agentcommand.SiteID(site), lapsed(at)).
		SetState(agentcommand.StateExpired).SetFinishedAt(at).Exec(ctx)
	if err != nil {
		return fmt.Errorf("expire commands: %w", err)
	}
	return nil
}

// lapsed selects commands whose time was over before they were sent, whether or not somebody has noted that they expired.
// What has been sent the agent may have begun in time.
func lapsed(at time.Time) predicate.AgentCommand {
	return agentcommand.And(agentcommand.StateEQ(agentcommand.StateQueued), agentcommand.ExpiresAtLTE(at))
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

// CancelCommand takes back a command. One that is queued is canceled; one that was sent is recalled, and the agent says
// whether it was in time. One that runs or is over is a *Conflict. To cancel it again changes nothing.
func (s *Store) CancelCommand(ctx context.Context, by Actor, site uuid.UUID, seq int64) (Command, error) {
	var canceled Command
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
		if canceled = before; before.State == lifecycle.CommandCanceled || before.Recall == lifecycle.CommandCanceled {
			return nil
		}
		if err := before.State.To(lifecycle.CommandCanceled); err != nil {
			return &Conflict{Message: "the command: " + err.Error()}
		}
		update := row.Update()
		if before.State == lifecycle.CommandQueued {
			update.SetState(agentcommand.StateCanceled).SetFinishedAt(at)
		} else {
			update.SetRecall(agentcommand.RecallCanceled).SetResult("")
		}
		if row, err = update.Save(ctx); err != nil {
			return fmt.Errorf("cancel command %d: %w", seq, err)
		}
		if canceled, err = commandRecord(row, at); err != nil {
			return err
		}
		return Audit(ctx, tx, by, Act{
			Action: "site.command.cancel", Subject: "site/" + site.String(), Before: before,
			After: canceled,
		})
	})
	return canceled, err
}

// MoveCommands has decide move the commands of a site that have not ended. It is given them in their order, with the
// epoch of the last one, and returns those whose state or result it changed, which are kept in the same transaction.
// decide has no effect but what it returns, or sets anew each time: it runs again whenever the transaction does.
func (s *Store) MoveCommands(ctx context.Context, site uuid.UUID, decide func(waiting []Command, last wire.Epoch, at time.Time) []Command) error {
	var moved []Command
	look := func(tx *ent.Tx) error {
		last, err := Current(ctx, tx, CommandCounter(site))
		if ent.IsNotFound(err) { // no command was ever queued
			last, err = wire.Epoch{}, nil
		}
		if err != nil {
			return err
		}
		at := now()
		rows, err := tx.AgentCommand.Query().Where(agentcommand.SiteID(site), agentcommand.StateIn(unended...)).
			Order(ent.Asc(agentcommand.FieldSeq)).All(ctx)
		if err != nil {
			return fmt.Errorf("read the queue: %w", err)
		}
		waiting, err := commandRecords(rows, at)
		moved = decide(waiting, last, at)
		return err
	}
	// Most heartbeats move nothing, and none of those waits for the writer.
	if err := s.View(ctx, look); err != nil || len(moved) == 0 {
		return err
	}
	return s.Write(ctx, func(tx *ent.Tx) error {
		if err := look(tx); err != nil {
			return err
		}
		for _, c := range moved {
			err := tx.AgentCommand.Update().Where(agentcommand.SiteID(site), agentcommand.Seq(c.Seq)).
				SetState(agentcommand.State(c.State)).SetResult(CommandText(c.Result)).
				SetNillableSentAt(c.SentAt).SetNillableStartedAt(c.StartedAt).SetNillableFinishedAt(c.FinishedAt).Exec(ctx)
			if err != nil {
				return fmt.Errorf("move command %d: %w", c.Seq, err)
			}
		}
		return nil
	})
}

// unended are the states of commands that wait, as an index finds them.
var unended = []agentcommand.State{
	agentcommand.StateQueued, agentcommand.StateSent, agentcommand.StateAccepted, agentcommand.StateRunning,
}

// HasCommands says whether commands of a site wait.
func (s *Store) HasCommands(ctx context.Context, site uuid.UUID) (bool, error) {
	return s.reader.AgentCommand.Query().Where(agentcommand.SiteID(site), agentcommand.StateIn(unended...)).Exist(ctx)
}

// CommandText is a command's result as it is kept: one line of up to 4 KiB.
func CommandText(text string) string { return clean(text, 4096) }

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
	if row.Recall != nil && !c.State.Final() {
		c.Recall = lifecycle.CommandState(*row.Recall)
	}
	if c.State == lifecycle.CommandQueued && !at.Before(c.ExpiresAt) {
		c.State, c.FinishedAt = lifecycle.CommandExpired, &c.ExpiresAt
	}
	return c, err
}
