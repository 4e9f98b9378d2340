package admin

import (
	"net/http"
	"time"

	"github.com/pureboot/pureboot/agent/node"
	"github.com/pureboot/pureboot/central/lifecycle"
	"github.com/pureboot/pureboot/central/wire"
)

// PathNodes is where the site's machines are listed.
const PathNodes = Root + "/nodes"

// Node is what the site knows of a machine.
type Node struct {
	wire.Node
	Workflow  string    `json:"workflow,omitempty"` // name
	FetchedAt time.Time `json:"fetched_at"`         // when central said so
	Stale     bool      `json:"stale"`              // central is asked before the next boot, if it can be
}

// Nodes is a page of a list.
type Nodes struct {
	Items      []Node `json:"items"`
	NextCursor string `json:"next_cursor,omitempty"` // of the page after it; "" for the last
}

// listNodes is GET nodes?group_id=&state=&limit=&cursor=, in the order of their ids. It asks central nothing.
func (a *API) listNodes(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	var faults invalid
	limit := pageLimit(q, &faults)
	if state := q.Get("state"); state != "" {
		if _, err := lifecycle.ParseState(state); err != nil {
			faults.add("query.state", "%v", err)
		}
	}
	if faults.refuse(w) {
		return
	}
	records, err := a.Nodes.List(r.Context(), node.Filter{
		GroupID: q.Get("group_id"), State: q.Get("state"), After: q.Get("cursor"), Limit: limit + 1,
	})
	if err != nil {
		a.fail(w, r, err)
		return
	}
	page := Nodes{Items: []Node{}}
	for i, rec := range records {
		if i == limit {
			page.NextCursor = records[i-1].Node.ID
			break
		}
		n := Node{Node: rec.Node, FetchedAt: rec.FetchedAt, Stale: rec.Source == node.Stale}
		if rec.Workflow != nil {
			n.Workflow = rec.Workflow.Name
		}
		page.Items = append(page.Items, n)
	}
	answer(w, http.StatusOK, page)
}
