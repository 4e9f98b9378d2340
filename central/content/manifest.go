package content

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/ent"
	entcontent "github.com/pureboot/pureboot/ent/content"
	"github.com/pureboot/pureboot/ent/devicegroup"
)

// manifestLimit is the most items of a page, each about 250 bytes of JSON.
const manifestLimit = 2000

// Manifest returns a page of what changed after an epoch, in the order of the changes: all there is, marked Full, if
// since is zero, of another stream or of the future, else the differences, removed names among them. A cursor, Next
// of the page before, continues and makes since meaningless; if it cannot be continued, the error is ErrCursor. site
// is whom the Assigned marks are for; uuid.Nil means nobody. limit is at most 2000, and 2000 if less than 1.
//
// A row has the epoch of its last change and a page is one snapshot, so a file that changes while somebody pages
// moves behind the place where he reads and is shown again: whoever has the last page has seen all up to the counter
// of its snapshot, which is its Epoch. The Epoch of an earlier page is that of its last item.
func (r *Repository) Manifest(ctx context.Context, site uuid.UUID, since wire.Epoch, cursor string, limit int) (wire.Manifest, error) {
	if limit < 1 || limit > manifestLimit {
		limit = manifestLimit
	}
	var m wire.Manifest
	err := r.st.View(ctx, func(tx *ent.Tx) error {
		current, err := store.Current(ctx, tx, store.ContentCounter)
		if err != nil {
			return err
		}
		at, err := startAt(since, cursor, current)
		if err != nil {
			return err
		}
		rows, err := at.rows(ctx, tx, limit+1)
		if err != nil {
			return err
		}
		m = wire.Manifest{Epoch: current, Full: at.full, Items: make([]wire.ManifestItem, 0, len(rows))}
		if len(rows) > limit {
			rows = rows[:limit]
			at.epoch.N = rows[limit-1].Epoch
			m.Epoch, m.Next = at.epoch, at.String()
		}
		assigned, err := assignedOf(ctx, tx, site, rows)
		if err != nil {
			return err
		}
		for _, row := range rows {
			m.Items = append(m.Items, wire.ManifestItem{
				File: file(row), Removed: row.BlobID == nil, Assigned: assigned[row.ID],
			})
		}
		return nil
	})
	if err != nil {
		return wire.Manifest{}, fmt.Errorf("make the manifest: %w", err)
	}
	return m, nil
}

// position is how far a reader of the manifest has come.
type position struct {
	epoch wire.Epoch // of the last item he has
	full  bool       // he began with nothing,
	begun int64      // when the counter was here: what was removed earlier does not concern him
}

// startAt returns where a page begins.
func startAt(since wire.Epoch, cursor string, current wire.Epoch) (position, error) {
	if cursor != "" {
		at, err := parsePosition(cursor)
		if err != nil || !current.Covers(at.epoch) {
			return position{}, ErrCursor
		}
		return at, nil
	}
	if since.N == 0 || !current.Covers(since) {
		return position{epoch: wire.Epoch{Stream: current.Stream}, full: true, begun: current.N}, nil
	}
	return position{epoch: since}, nil
}

// String returns the position as a cursor: STREAM:N, and ~BEGUN after it if full.
func (p position) String() string {
	if !p.full {
		return p.epoch.String()
	}
	return p.epoch.String() + "~" + strconv.FormatInt(p.begun, 10)
}

func parsePosition(s string) (p position, err error) {
	text, begun, full := strings.Cut(s, "~")
	if p.epoch, err = wire.ParseEpoch(text); err != nil {
		return position{}, err
	}
	if p.full = full; full {
		p.begun, err = strconv.ParseInt(begun, 10, 64)
	}
	return p, err
}

// rows returns the next rows after the position.
func (p position) rows(ctx context.Context, tx *ent.Tx, limit int) ([]*ent.Content, error) {
	q := tx.Content.Query().Where(entcontent.EpochGT(p.epoch.N))
	if p.full {
		q.Where(entcontent.Or(entcontent.BlobIDNotNil(), entcontent.EpochGT(p.begun)))
	}
	return q.Order(ent.Asc(entcontent.FieldEpoch)).Limit(limit).WithBlob(brief).All(ctx)
}

// assignedOf returns which of the rows are assigned to a site.
func assignedOf(ctx context.Context, tx *ent.Tx, site uuid.UUID, rows []*ent.Content) (map[uuid.UUID]bool, error) {
	assigned := map[uuid.UUID]bool{}
	if site == uuid.Nil {
		return assigned, nil
	}
	ids := make([]uuid.UUID, len(rows))
	for i, row := range rows {
		ids[i] = row.ID
	}
	ids, err := tx.Content.Query().
		Where(entcontent.IDIn(ids...), entcontent.HasSitesWith(devicegroup.ID(site))).IDs(ctx)
	for _, id := range ids {
		assigned[id] = true
	}
	return assigned, err
}
