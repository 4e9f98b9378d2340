package store

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"entgo.io/ent/dialect"
	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/ent"
	"github.com/pureboot/pureboot/ent/agent"
)

// Beat is what a heartbeat leaves of itself: how an agent was when it was last heard.
type Beat struct {
	Site     uuid.UUID
	At       time.Time // when central heard it, in UTC and microseconds
	Interval int       // seconds, that the agent was told
	Status   string    // what it says of the agent, and why
	Reason   string
	Report   wire.Heartbeat

	text []byte // Report as JSON
}

// Limits of a report, which waits in memory until it is written.
const (
	maxServices = 64
	maxService  = 500
	maxReport   = 64 << 10 // bytes of JSON
)

// NewBeat keeps of a heartbeat what says how the agent is, in bounds: of a report that is too large the figures alone. The
// results of commands and credentials have their own places.
func NewBeat(site uuid.UUID, at time.Time, report wire.Heartbeat) (Beat, error) {
	report.Results, report.Next = nil, nil
	report.BootID, report.AgentVersion = clean(report.BootID, 64), clean(report.AgentVersion, maxName)
	report.Capabilities = capabilities(report.Hello)
	if report.Services != nil {
		services := make(map[string]string, min(len(report.Services), maxServices))
		for name, state := range report.Services {
			if len(services) == maxServices {
				break
			}
			services[clean(name, maxName)] = clean(state, maxService)
		}
		report.Services = services
	}
	figures(&report)
	text, err := json.Marshal(report)
	if err != nil {
		return Beat{}, fmt.Errorf("keep a heartbeat: %w", err)
	}
	if len(text) > maxReport { // to refuse it would make an agent look offline that says too much
		report.Services, report.Sync, report.Config, report.LastSyncResult = map[string]string{"report": "it is too large to be kept"}, nil, nil, ""
		report.ContentEpoch.Stream, report.NodeEpoch.Stream, report.CommandEpoch.Stream = "", "", ""
		if text, err = json.Marshal(report); err != nil {
			return Beat{}, fmt.Errorf("keep a heartbeat: %w", err)
		}
	}
	return Beat{Site: site, At: at.UTC().Truncate(time.Microsecond), Report: report, text: text}, nil
}

// figures brings what cannot be into what can: whoever adds up the figures of many agents counts on that.
func figures(r *wire.Heartbeat) {
	for _, n := range []*int{&r.NodesSeenLastHour, &r.ActiveBoots, &r.CacheEntries, &r.NodeCacheEntries, &r.PendingSyncItems, &r.ConflictsPending} {
		*n = max(*n, 0)
	}
	for _, n := range []*int64{&r.UptimeSeconds, &r.CacheSizeBytes, &r.OfflineSeconds} {
		*n = max(*n, 0)
	}
	r.CacheHitRate = min(max(r.CacheHitRate, 0), 1)
	r.DiskUsagePercent = min(max(r.DiskUsagePercent, 0), 100)
	switch r.LastSyncResult {
	case wire.SyncSuccess, wire.SyncPartial, wire.SyncFailed:
	default:
		r.LastSyncResult = ""
	}
}

// Size is how many bytes of memory a beat takes, about.
func (b Beat) Size() int { return 512 + 2*len(b.text) }

// After says whether b is newer than a beat that came with bootID and seq at some time. Within the life of an agent's
// process its own count tells, which holds also between centrals whose clocks differ.
func (b Beat) After(bootID string, seq int64, at time.Time) bool {
	if b.Report.BootID != "" && b.Report.BootID == bootID && b.Report.Seq != seq {
		return b.Report.Seq > seq
	}
	return !b.At.Equal(at) && !b.before(at)
}

// wrongClock is by how much no two clocks differ that are both right.
const wrongClock = 24 * time.Hour

// before says whether b came before some time that was noted. Where that is far ahead of b, it was noted by a clock that
// was wrong and has been set right: else an agent would not be heard until that time had come.
func (b Beat) before(at time.Time) bool { return b.At.Before(at) && at.Sub(b.At) < wrongClock }

// perKeep bounds the beats of one transaction.
const perKeep = 500

// KeepBeats writes beats, each unless a newer one of its agent is there already or the agent is another one by now, and
// notes the changes of status that they mean. After an error some may have been written, and all may be given again.
// Several centrals may write the same agents.
func (s *Store) KeepBeats(ctx context.Context, beats []Beat) error {
	for some := range slices.Chunk(beats, perKeep) {
		if err := s.locked(ctx, func(tx *ent.Tx) error { return s.keepBeats(ctx, tx, some) }); err != nil {
			return fmt.Errorf("keep heartbeats: %w", err)
		}
	}
	return nil
}

// locked runs fn in one transaction that locks what it reads to change, and sees what others have committed by then. It
// is for many rows at once that do not depend on one another, which PostgreSQL would else have to do again whenever
// another transaction touches one of them.
func (s *Store) locked(ctx context.Context, fn func(tx *ent.Tx) error) error {
	return once(ctx, s.writer, nil, fn)
}

// lockAgents has a query lock the rows it finds, in an order that all share.
func (s *Store) lockAgents(q *ent.AgentQuery) *ent.AgentQuery {
	q.Order(ent.Asc(agent.FieldSiteID))
	if s.dialect == dialect.Postgres { // SQLite's transactions have the whole file
		q.ForUpdate()
	}
	return q
}

func (s *Store) keepBeats(ctx context.Context, tx *ent.Tx, beats []Beat) error {
	of := make(map[uuid.UUID]Beat, len(beats))
	sites := make([]uuid.UUID, 0, len(beats))
	for _, b := range beats {
		of[b.Site] = b
		sites = append(sites, b.Site)
	}
	rows, err := s.lockAgents(tx.Agent.Query().Where(agent.SiteIDIn(sites...))).
		Select(agent.FieldSiteID, agent.FieldEnrolledAt, agent.FieldBootID, agent.FieldSeq, agent.FieldLastHeartbeatAt, agent.FieldStatus).All(ctx)
	if err != nil {
		return err
	}
	newer := make([]Beat, 0, len(rows))
	var changed []statusChange
	for _, row := range rows {
		b := of[row.SiteID]
		if b.before(row.EnrolledAt) || row.LastHeartbeatAt != nil && !b.After(row.BootID, row.Seq, *row.LastHeartbeatAt) {
			continue
		}
		newer = append(newer, b)
		if b.Status != row.Status {
			changed = append(changed, statusChange{b.Site, row.Status, b.Status, b.Reason, b.At})
		}
	}
	if len(newer) == 0 {
		return nil
	}
	statement, args := s.updateAgents(newer)
	if _, err := tx.ExecContext(ctx, statement, args...); err != nil {
		return err
	}
	return s.noteChanges(ctx, tx, changed)
}

// beatColumns are what a beat sets, in the order of updateAgents, with their types in PostgreSQL.
var beatColumns = [...][2]string{
	{agent.FieldSiteID, "uuid"},
	{agent.FieldLastHeartbeatAt, "timestamptz"},
	{agent.FieldHeartbeatInterval, "bigint"},
	{agent.FieldStatus, "text"},
	{agent.FieldHeartbeat, "bytea"},
	{agent.FieldBootID, "text"},
	{agent.FieldSeq, "bigint"},
	{agent.FieldAgentVersion, "text"},
	{agent.FieldProtocolVersion, "bigint"},
	{agent.FieldCapabilities, "jsonb"},
}

// updateAgents returns one statement that writes all beats: a statement for each would take most of the time.
func (s *Store) updateAgents(beats []Beat) (string, []any) {
	var names, set []string
	for i, column := range beatColumns {
		names = append(names, column[0])
		if i > 0 {
			set = append(set, column[0]+" = b."+column[0])
		}
	}
	set = append(set, agent.FieldUpdatedAt+" = b."+agent.FieldLastHeartbeatAt)
	var values strings.Builder
	args := make([]any, 0, len(beats)*len(beatColumns))
	for i, b := range beats {
		abilities, _ := json.Marshal(b.Report.Capabilities) // texts can be
		row := [len(beatColumns)]any{
			b.Site, b.At, b.Interval, b.Status, b.text, b.Report.BootID, b.Report.Seq, b.Report.AgentVersion, b.Report.ProtocolVersion, string(abilities),
		}
		values.WriteString(map[bool]string{true: "(", false: ", ("}[i == 0])
		for k, v := range row {
			args = append(args, v)
			if k > 0 {
				values.WriteString(", ")
			}
			if s.dialect == dialect.Postgres {
				fmt.Fprintf(&values, "$%d::%s", len(args), beatColumns[k][1])
			} else {
				values.WriteString("?")
			}
		}
		values.WriteString(")")
	}
	return "WITH b (" + strings.Join(names, ", ") + ") AS (VALUES " + values.String() + ") UPDATE agents SET " +
		strings.Join(set, ", ") + " FROM b WHERE agents.site_id = b.site_id", args
}
