package store

import (
	"context"

	"github.com/google/uuid"

	"github.com/pureboot/pureboot/ent"
	"github.com/pureboot/pureboot/ent/agentcommand"
	"github.com/pureboot/pureboot/ent/syncconflict"
)

// Outstanding is what a site has not been done with.
type Outstanding struct {
	Conflicts int // that nobody has resolved
	Commands  int // that are not final
}

// SiteState returns a site with what is outstanding there, as of one moment.
func (s *Store) SiteState(ctx context.Context, site uuid.UUID) (Group, Outstanding, error) {
	var g Group
	var o Outstanding
	err := s.View(ctx, func(tx *ent.Tx) error {
		row, err := group(ctx, tx, true, site)
		if err != nil {
			return err
		}
		if g, err = groupRecord(ctx, tx, row); err != nil {
			return err
		}
		if o.Conflicts, err = tx.SyncConflict.Query().
			Where(syncconflict.SiteID(site), syncconflict.ResolvedAtIsNil()).Count(ctx); err != nil {
			return err
		}
		o.Commands, err = tx.AgentCommand.Query().
			Where(agentcommand.SiteID(site), agentcommand.FinishedAtIsNil(), agentcommand.Not(lapsed(now()))).Count(ctx)
		return err
	})
	return g, o, err
}
