package store

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/pureboot/pureboot/ent"
	"github.com/pureboot/pureboot/ent/agent"
	"github.com/pureboot/pureboot/ent/agentcommand"
	"github.com/pureboot/pureboot/ent/devicegroup"
	"github.com/pureboot/pureboot/ent/migrationclaim"
	"github.com/pureboot/pureboot/ent/node"
	"github.com/pureboot/pureboot/ent/syncconflict"
)

// Counts is how much there is of what, as of one moment. A state that nothing is in may be missing.
type Counts struct {
	Sites, Groups int
	Nodes         map[string]int // by state
	Agents        map[string]int // by status
	Commands      map[string]int // by state
	Claims        int            // that wait for a decision
	Conflicts     int            // that nobody has resolved
	Schema        int64          // version of the last migration
}

// Counts counts. It reads indexes, of 100,000 nodes in some hundredths of a second.
func (s *Store) Counts(ctx context.Context) (Counts, error) {
	c := Counts{Nodes: map[string]int{}, Agents: map[string]int{}, Commands: map[string]int{}}
	err := s.View(ctx, func(tx *ent.Tx) error {
		var err error
		if c.Sites, err = tx.DeviceGroup.Query().Where(devicegroup.IsSite(true)).Count(ctx); err != nil {
			return err
		}
		if c.Groups, err = tx.DeviceGroup.Query().Where(devicegroup.IsSite(false)).Count(ctx); err != nil {
			return err
		}
		var rows []struct {
			State, Status string
			Count         int
		}
		if err := tx.Node.Query().GroupBy(node.FieldState).Aggregate(ent.Count()).Scan(ctx, &rows); err != nil {
			return err
		}
		for _, row := range rows {
			c.Nodes[row.State] = row.Count
		}
		rows = nil
		if err := tx.AgentCommand.Query().GroupBy(agentcommand.FieldState).Aggregate(ent.Count()).Scan(ctx, &rows); err != nil {
			return err
		}
		for _, row := range rows {
			c.Commands[row.State] = row.Count
		}
		rows = nil
		if err := tx.Agent.Query().GroupBy(agent.FieldStatus).Aggregate(ent.Count()).Scan(ctx, &rows); err != nil {
			return err
		}
		for _, row := range rows {
			c.Agents[row.Status] = row.Count
		}
		if c.Claims, err = tx.MigrationClaim.Query().
			Where(migrationclaim.StatusEQ(migrationclaim.StatusPending), migrationclaim.ExpiresAtGT(now())).Count(ctx); err != nil {
			return err
		}
		if c.Conflicts, err = tx.SyncConflict.Query().Where(syncconflict.ResolvedAtIsNil()).Count(ctx); err != nil {
			return err
		}
		return scan(ctx, tx, "SELECT COALESCE(MAX(version_id), 0) FROM goose_db_version WHERE is_applied", &c.Schema)
	})
	if err != nil {
		return Counts{}, fmt.Errorf("count: %w", err)
	}
	return c, nil
}

// Pools returns how the connections to the database are used, by what they are for.
func (s *Store) Pools() map[string]sql.DBStats {
	if s.read == s.write {
		return map[string]sql.DBStats{"shared": s.write.Stats()}
	}
	return map[string]sql.DBStats{"read": s.read.Stats(), "write": s.write.Stats()}
}
