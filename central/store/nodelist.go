package store

import (
	"context"
	"strings"
	"time"

	"entgo.io/ent/dialect/sql"
	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/lifecycle"
	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/ent"
	"github.com/pureboot/pureboot/ent/node"
	"github.com/pureboot/pureboot/ent/nodeinterface"
	"github.com/pureboot/pureboot/ent/nodetag"
	"github.com/pureboot/pureboot/ent/predicate"
)

// NodeQuery selects nodes; a zero field does not narrow.
type NodeQuery struct {
	Paging
	MAC       string // of any interface
	State     string
	HomeSite  uuid.UUID
	AtOrBelow uuid.UUID // a site: nodes whose home is it or a site below it
	Group     uuid.UUID
	InOrBelow uuid.UUID // a group or site: nodes of it or of a group below it
	Tags      []string  // all of them
	Search    string    // a part of the host name, the addresses or what the firmware says, in any case
	Sort      NodeSort  // empty means by MAC address
}

// NodeSort is the order of a list of nodes; a minus in front turns it round.
type NodeSort string

// The orders. A node that was never seen was seen before all others.
const (
	NodesByMAC     NodeSort = "mac_address"
	NodesByName    NodeSort = "hostname"
	NodesByCreated NodeSort = "created_at"
	NodesBySeen    NodeSort = "last_seen_at"
)

// searched are the columns that a search looks into.
var searched = []string{
	node.FieldHostname, node.FieldIPAddress, node.FieldVendor, node.FieldModel, node.FieldSerialNumber, node.FieldSystemUUID,
}

// where returns what selects the nodes.
func (q *NodeQuery) where() ([]predicate.Node, error) {
	var f faults
	var which []predicate.Node
	if q.MAC != "" {
		mac, err := lifecycle.ParseMAC(q.MAC)
		if err != nil {
			f = append(f, wire.ProblemField{Location: "query.mac", Message: err.Error(), Value: q.MAC})
		}
		which = append(which, byCard(nodeinterface.MACAddress(mac)))
	}
	if q.State != "" {
		which = append(which, node.StateEQ(node.State(q.State)))
	}
	if q.HomeSite != uuid.Nil {
		which = append(which, node.HomeSiteID(q.HomeSite))
	}
	if q.AtOrBelow != uuid.Nil {
		which = append(which, below(node.FieldHomeSiteID, q.AtOrBelow))
	}
	if q.Group != uuid.Nil {
		which = append(which, node.GroupID(q.Group))
	}
	if q.InOrBelow != uuid.Nil {
		which = append(which, below(node.FieldGroupID, q.InOrBelow))
	}
	for _, tag := range q.Tags {
		if !printable(tag) { // PostgreSQL would fail over some of these, and no node has any
			f = append(f, wire.ProblemField{Location: "query.tag", Message: "holds a control character", Value: clean(tag, maxName)})
		}
		which = append(which, byTag(tag))
	}
	if q.Search != "" {
		if !printable(q.Search) {
			f = append(f, wire.ProblemField{Location: "query.search", Message: "holds a control character", Value: clean(q.Search, maxName)})
		}
		found := []predicate.Node{byCard(containing(nodeinterface.FieldMACAddress, q.Search))}
		for _, column := range searched {
			found = append(found, containing(column, q.Search))
		}
		which = append(which, node.Or(found...))
	}
	return which, f.err()
}

// Nodes lists nodes.
func (s *Store) Nodes(ctx context.Context, q NodeQuery) (Page[wire.Node], error) {
	var page Page[wire.Node]
	limit, after, err := q.start()
	if err != nil {
		return page, err
	}
	which, err := q.where()
	if err != nil {
		return page, err
	}
	order := nodesIn(q.Sort)
	beyond := which
	if after != "" {
		next, err := order.after(after)
		if err != nil {
			return page, err
		}
		beyond = append(beyond[:len(beyond):len(beyond)], next)
	}
	err = s.View(ctx, func(tx *ent.Tx) error {
		from := tx.Node.Query().Where(beyond...).Order(order.by).Limit(limit + 1)
		if q.AtOrBelow != uuid.Nil && order.field == node.FieldMACAddress {
			// Half of all nodes may be below. An index says which come first; sorting whole rows takes 50 times as long.
			macs, err := from.Select(node.FieldMACAddress).Strings(ctx)
			if err != nil {
				return err
			}
			from = tx.Node.Query().Where(node.MACAddressIn(macs...)).Order(order.by)
		}
		rows, err := from.WithInterfaces(inOrder).All(ctx)
		if err != nil {
			return err
		}
		total := len(rows)
		if after != "" || total > limit { // these are not all
			total, err = tx.Node.Query().Where(which...).Aggregate(ent.Count()).Int(ctx) // rows, which an index has; Count reads ids
		}
		page = pageOf(rows, limit, total, order.key, nodeRecord)
		return err
	})
	return page, err
}

// byMAC selects the node that has a MAC address.
func byMAC(mac string) predicate.Node { return byCard(nodeinterface.MACAddress(mac)) }

// byCard selects nodes by one of their interfaces. ent's own predicate would have SQLite ask each node whether it has it.
func byCard(is predicate.NodeInterface) predicate.Node {
	return func(s *sql.Selector) {
		cards := sql.Dialect(s.Dialect()).Select(nodeinterface.FieldNodeID).From(sql.Table(nodeinterface.Table))
		is(cards)
		s.Where(sql.In(s.C(node.FieldID), cards))
	}
}

// byTag selects the nodes that have a tag.
func byTag(tag string) predicate.Node {
	return func(s *sql.Selector) {
		tags := sql.Dialect(s.Dialect()).Select(nodetag.FieldNodeID).From(sql.Table(nodetag.Table))
		nodetag.Tag(tag)(tags)
		s.Where(sql.In(s.C(node.FieldID), tags))
	}
}

// nodeOrder is an order by a field, and by id where nodes share what it says.
type nodeOrder struct {
	sort  NodeSort
	field string
	down  bool
}

func nodesIn(sort NodeSort) nodeOrder {
	if sort == "" {
		sort = NodesByMAC
	}
	field, down := strings.CutPrefix(string(sort), "-")
	return nodeOrder{sort: sort, field: field, down: down}
}

func (o nodeOrder) by(s *sql.Selector) {
	turn := sql.Asc
	if o.down {
		turn = sql.Desc
	}
	switch NodeSort(o.field) {
	case NodesByMAC:
		s.OrderBy(turn(s.C(o.field)))
		return
	case NodesBySeen: // the databases do not agree where null belongs
		nulls := " NULLS FIRST"
		if o.down {
			nulls = " NULLS LAST"
		}
		s.OrderBy(turn(s.C(o.field)) + nulls)
	default:
		s.OrderBy(turn(s.C(o.field)))
	}
	s.OrderBy(turn(s.C(node.FieldID)))
}

// key returns where a node is in the order: the order, its id, and what the field says.
func (o nodeOrder) key(n *ent.Node) string {
	value := n.MACAddress
	switch NodeSort(o.field) {
	case NodesByName:
		value = n.Hostname
	case NodesByCreated:
		value = n.CreatedAt.UTC().Format(time.RFC3339Nano)
	case NodesBySeen:
		value = ""
		if n.LastSeenAt != nil {
			value = n.LastSeenAt.UTC().Format(time.RFC3339Nano)
		}
	}
	return string(o.sort) + " " + n.ID.String() + " " + value
}

// after selects what comes after a key.
func (o nodeOrder) after(key string) (predicate.Node, error) {
	sort, rest, _ := strings.Cut(key, " ")
	text, last, ok := strings.Cut(rest, " ")
	id, err := uuid.Parse(text)
	if !ok || err != nil || sort != string(o.sort) || !printable(last) {
		return nil, badCursor()
	}
	var value any = last
	timed := NodeSort(o.field) == NodesByCreated || NodeSort(o.field) == NodesBySeen
	never := NodeSort(o.field) == NodesBySeen && last == ""
	if timed && !never {
		if value, err = time.Parse(time.RFC3339Nano, last); err != nil {
			return nil, badCursor()
		}
	}
	beyond := sql.GT
	if o.down {
		beyond = sql.LT
	}
	return func(s *sql.Selector) {
		field, further := s.C(o.field), beyond(s.C(node.FieldID), id)
		switch {
		case NodeSort(o.field) == NodesByMAC:
			s.Where(beyond(field, value))
		case never && o.down:
			s.Where(sql.And(sql.IsNull(field), further))
		case never:
			s.Where(sql.Or(sql.And(sql.IsNull(field), further), sql.NotNull(field)))
		case NodeSort(o.field) == NodesBySeen && o.down:
			s.Where(sql.Or(beyond(field, value), sql.And(sql.EQ(field, value), further), sql.IsNull(field)))
		default:
			s.Where(sql.Or(beyond(field, value), sql.And(sql.EQ(field, value), further)))
		}
	}, nil
}
