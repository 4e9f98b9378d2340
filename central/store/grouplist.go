package store

import (
	"context"
	"strings"
	"time"

	"entgo.io/ent/dialect/sql"
	"github.com/google/uuid"

	"github.com/pureboot/pureboot/ent"
	"github.com/pureboot/pureboot/ent/devicegroup"
	"github.com/pureboot/pureboot/ent/predicate"
)

// GroupQuery selects groups; a zero field does not narrow.
type GroupQuery struct {
	Paging
	Parent *uuid.UUID // uuid.Nil selects those without a parent
	Search string     // a part of the name, in any case
	Sort   GroupSort  // empty means by name
}

// GroupSort is the order of a list of groups; a minus in front turns it round.
type GroupSort string

// The orders.
const (
	ByName    GroupSort = "name"
	ByPath    GroupSort = "path"
	ByCreated GroupSort = "created_at"
)

// Groups lists the groups that are no sites, or the sites.
func (s *Store) Groups(ctx context.Context, site bool, q GroupQuery) (Page[Group], error) {
	var page Page[Group]
	limit, after, err := q.start()
	if err != nil {
		return page, err
	}
	order := orderOf(q.Sort)
	which := []predicate.DeviceGroup{devicegroup.IsSite(site)}
	if q.Parent != nil && *q.Parent == uuid.Nil {
		which = append(which, devicegroup.ParentIDIsNil())
	} else if q.Parent != nil {
		which = append(which, devicegroup.ParentID(*q.Parent))
	}
	if q.Search != "" {
		which = append(which, containing(devicegroup.FieldName, q.Search))
	}
	from := which
	if after != "" {
		next, err := order.after(after)
		if err != nil {
			return page, err
		}
		from = append(from[:len(from):len(from)], next)
	}
	err = s.View(ctx, func(tx *ent.Tx) error {
		total, err := tx.DeviceGroup.Query().Where(which...).Count(ctx)
		if err != nil {
			return err
		}
		rows, err := tx.DeviceGroup.Query().Where(from...).Order(order.by).Limit(limit + 1).WithAgent().All(ctx)
		if err != nil {
			return err
		}
		items, err := groupRecords(ctx, tx, rows...)
		page = pageOf(items, limit, total, order.key, itself)
		return err
	})
	return page, err
}

// groupOrder is an order by a field that no two groups share, or by one and then by id.
type groupOrder struct {
	sort  GroupSort
	field string
	down  bool
}

func orderOf(sort GroupSort) groupOrder {
	if sort == "" {
		sort = ByName
	}
	field, down := strings.CutPrefix(string(sort), "-")
	return groupOrder{sort: sort, field: field, down: down}
}

func (o groupOrder) by(s *sql.Selector) {
	turn := sql.Asc
	if o.down {
		turn = sql.Desc
	}
	s.OrderBy(turn(s.C(o.field)))
	if !o.unique() {
		s.OrderBy(turn(s.C(devicegroup.FieldID)))
	}
}

func (o groupOrder) unique() bool { return GroupSort(o.field) != ByCreated }

// key returns where a group is in the order: the order, its id, and what the field says.
func (o groupOrder) key(g Group) string {
	value := g.Name
	switch GroupSort(o.field) {
	case ByPath:
		value = g.Path
	case ByCreated:
		value = g.CreatedAt.Format(time.RFC3339Nano)
	}
	return string(o.sort) + " " + g.ID.String() + " " + value
}

// after selects what comes after a key.
func (o groupOrder) after(key string) (predicate.DeviceGroup, error) {
	sort, rest, _ := strings.Cut(key, " ")
	text, last, ok := strings.Cut(rest, " ")
	id, err := uuid.Parse(text)
	var value any = last
	if err == nil && GroupSort(o.field) == ByCreated {
		value, err = time.Parse(time.RFC3339Nano, last)
	}
	if !ok || err != nil || sort != string(o.sort) {
		return nil, badCursor()
	}
	beyond := sql.GT
	if o.down {
		beyond = sql.LT
	}
	return func(s *sql.Selector) {
		field := s.C(o.field)
		if o.unique() {
			s.Where(beyond(field, value))
			return
		}
		s.Where(sql.Or(beyond(field, value), sql.And(sql.EQ(field, value), beyond(s.C(devicegroup.FieldID), id))))
	}, nil
}
