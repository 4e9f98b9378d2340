package store

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"entgo.io/ent/dialect/sql"
	"github.com/google/uuid"

	"github.com/pureboot/pureboot/ent"
	"github.com/pureboot/pureboot/ent/agent"
	"github.com/pureboot/pureboot/ent/agentstatuschange"
	"github.com/pureboot/pureboot/ent/devicegroup"
	"github.com/pureboot/pureboot/ent/predicate"
)

// maxStatusChanges is how many changes of a site's agent are kept; the oldest go.
const maxStatusChanges = 500

// StatusChange is one change of how the agent of a site is.
type StatusChange struct {
	From   string    `json:"from" doc:"Empty for the first"`
	To     string    `json:"to" enum:"online,degraded,offline"`
	Reason string    `json:"reason"`
	At     time.Time `json:"at" doc:"Of a silence, when it had lasted so long"`
}

type statusChange struct {
	site             uuid.UUID
	from, to, reason string
	at               time.Time
}

// Silence says that an agent is in a status once nothing was heard of it for so many of its intervals.
type Silence struct {
	Status    string
	Intervals int
}

// NoteSilence notes the agents that have fallen silent, by the rules given, the strictest first. It returns how many.
func (s *Store) NoteSilence(ctx context.Context, at time.Time, rules []Silence) (int, error) {
	at = at.UTC()
	var intervals []int
	err := s.reader.Agent.Query().Where(agent.HeartbeatIntervalGT(0)).Unique(true).Select(agent.FieldHeartbeatInterval).Scan(ctx, &intervals)
	if err != nil {
		return 0, fmt.Errorf("look for silent agents: %w", err)
	}
	silent := silentAgents(at, intervals, rules)
	sites, err := s.reader.Agent.Query().Where(silent).Select(agent.FieldSiteID).All(ctx)
	if err != nil {
		return 0, fmt.Errorf("look for silent agents: %w", err)
	}
	noted := 0
	for some := range slices.Chunk(sites, perKeep) {
		ids := make([]uuid.UUID, len(some))
		for i, row := range some {
			ids[i] = row.SiteID
		}
		n := 0
		err := s.locked(ctx, func(tx *ent.Tx) error {
			// Another central may have heard one, or have noted it, since.
			rows, err := s.lockAgents(tx.Agent.Query().Where(agent.SiteIDIn(ids...), silent)).
				Select(agent.FieldID, agent.FieldSiteID, agent.FieldStatus, agent.FieldLastHeartbeatAt, agent.FieldHeartbeatInterval).All(ctx)
			if err != nil {
				return err
			}
			n = len(rows)
			return s.noteSilence(ctx, tx, at, rows, rules)
		})
		if err != nil {
			return noted, fmt.Errorf("note silent agents: %w", err)
		}
		noted += n
	}
	return noted, nil
}

// silentAgents selects the agents that a rule has for another status than the one that is noted.
func silentAgents(at time.Time, intervals []int, rules []Silence) predicate.Agent {
	if len(intervals) == 0 {
		intervals = []int{0} // of no agent that was heard
	}
	var silent []predicate.Agent
	for _, interval := range intervals {
		var settled []string // statuses that a rule, or a stricter one, leads to
		for _, rule := range rules {
			settled = append(settled, rule.Status)
			silent = append(silent, agent.And(
				agent.HeartbeatInterval(interval), agent.StatusNotIn(settled...), agent.StatusNEQ(""),
				agent.LastHeartbeatAtLTE(at.Add(-rule.after(interval))),
			))
		}
	}
	return agent.Or(silent...)
}

func (r Silence) after(interval int) time.Duration {
	return time.Duration(r.Intervals) * time.Duration(interval) * time.Second
}

func (s *Store) noteSilence(ctx context.Context, tx *ent.Tx, at time.Time, rows []*ent.Agent, rules []Silence) error {
	var changed []statusChange
	to := map[string][]uuid.UUID{}
	for _, row := range rows {
		for _, rule := range rules {
			since := row.LastHeartbeatAt.Add(rule.after(row.HeartbeatInterval))
			if since.After(at) {
				continue
			}
			reason := fmt.Sprintf("nothing heard for %d heartbeats of %d s", rule.Intervals, row.HeartbeatInterval)
			changed = append(changed, statusChange{row.SiteID, row.Status, rule.Status, reason, since})
			to[rule.Status] = append(to[rule.Status], row.ID)
			break
		}
	}
	for status, ids := range to {
		if err := tx.Agent.Update().Where(agent.IDIn(ids...)).SetStatus(status).Exec(ctx); err != nil {
			return err
		}
	}
	return s.noteChanges(ctx, tx, changed)
}

// noteChanges keeps changes and forgets the oldest of their sites.
func (s *Store) noteChanges(ctx context.Context, tx *ent.Tx, changed []statusChange) error {
	if len(changed) == 0 {
		return nil
	}
	rows, sites := make([]*ent.AgentStatusChangeCreate, len(changed)), make([]uuid.UUID, len(changed))
	for i, c := range changed {
		rows[i] = tx.AgentStatusChange.Create().SetSiteID(c.site).SetFromStatus(c.from).SetToStatus(c.to).SetReason(clean(c.reason, 500)).SetAt(c.at)
		sites[i] = c.site
	}
	if err := tx.AgentStatusChange.CreateBulk(rows...).Exec(ctx); err != nil {
		return fmt.Errorf("note changes of status: %w", err)
	}
	if _, err := tx.AgentStatusChange.Delete().Where(agentstatuschange.SiteIDIn(sites...), beyondKept).Exec(ctx); err != nil {
		return fmt.Errorf("forget changes of status: %w", err)
	}
	return nil
}

// beyondKept selects the changes of each site that came before those that are kept.
func beyondKept(s *sql.Selector) {
	s.Where(sql.P(func(b *sql.Builder) {
		b.WriteString(`id <= (SELECT k.id FROM agent_status_changes AS k WHERE k.site_id = agent_status_changes.site_id ORDER BY k.id DESC LIMIT 1 OFFSET ` +
			strconv.Itoa(maxStatusChanges) + `)`)
	}))
}

// StatusChanges lists how the agent of a site changed, the latest first.
func (s *Store) StatusChanges(ctx context.Context, site uuid.UUID, paging Paging) (Page[StatusChange], error) {
	var page Page[StatusChange]
	limit, before, err := paging.beforeNumber()
	if err != nil {
		return page, err
	}
	err = s.View(ctx, func(tx *ent.Tx) error {
		if _, err := tx.DeviceGroup.Query().Where(devicegroup.ID(site), devicegroup.IsSite(true)).OnlyID(ctx); err != nil {
			return missing(err)
		}
		total, err := tx.AgentStatusChange.Query().Where(agentstatuschange.SiteID(site)).Count(ctx)
		if err != nil {
			return err
		}
		rows, err := tx.AgentStatusChange.Query().Where(agentstatuschange.SiteID(site), agentstatuschange.IDLT(before)).
			Order(ent.Desc(agentstatuschange.FieldID)).Limit(limit + 1).All(ctx)
		key := func(row *ent.AgentStatusChange) string { return strconv.FormatInt(row.ID, 10) }
		page = pageOf(rows, limit, total, key, func(row *ent.AgentStatusChange) StatusChange {
			return StatusChange{From: row.FromStatus, To: row.ToStatus, Reason: row.Reason, At: row.At}
		})
		return err
	})
	return page, err
}
