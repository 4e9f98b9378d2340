package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
	"time"
)

// row is one thing that is measured.
type row struct {
	name, title string
	promise     time.Duration // that the median stays below; 0 is none
	run         func(ctx context.Context, s *server) (figure, error)

	p99  time.Duration // that it stays below; 0 is none
	core float64       // of the processor that the server stays below; 0 is none
}

// promised puts the promise into words.
func (r row) promised() string {
	var all []string
	if r.promise > 0 {
		all = append(all, "< "+brief(r.promise))
	}
	if r.p99 > 0 {
		all = append(all, "p99 < "+brief(r.p99))
	}
	if r.core > 0 {
		all = append(all, fmt.Sprintf("< %g of a core", r.core))
	}
	return strings.Join(all, ", ")
}

// rows lists all, in the order in which they run.
var rows = []row{
	{name: "settings", title: "read a site five deep, with its settings in effect", promise: 2 * time.Millisecond, run: settingsInEffect},
	{name: "sites-first", title: "first page of 10 sites", promise: 20 * time.Millisecond, run: page("/api/v1/sites", 10, 1)},
	{name: "sites-100th", title: "100th page of 10 sites", promise: 20 * time.Millisecond, run: page("/api/v1/sites", 10, 100)},
	{name: "sites-full", title: "first page of 100 sites", promise: 20 * time.Millisecond, run: page("/api/v1/sites", 100, 1)},
	{name: "nodes-first", title: "first page of 100 nodes", promise: 20 * time.Millisecond, run: page("/api/v1/nodes", 100, 1)},
	{name: "nodes-100th", title: "100th page of 100 nodes", promise: 20 * time.Millisecond, run: page("/api/v1/nodes", 100, 100)},
	{name: "nodes-seen", title: "first page of 100 nodes, the last seen first", promise: 20 * time.Millisecond, run: page("/api/v1/nodes?sort=-last_seen_at", 100, 1)},
	{name: "nodes-seen-100th", title: "100th page of them", promise: 20 * time.Millisecond, run: page("/api/v1/nodes?sort=-last_seen_at", 100, 100)},
	{name: "nodes-search", title: "search all nodes for a part of a host name", promise: 20 * time.Millisecond, run: search("ode-0123", 100)},
	{name: "nodes-search-none", title: "search for what no node has", promise: 20 * time.Millisecond, run: search("nothing like it", 0)},
	{name: "nodes-search-all", title: "search for what each node has", promise: 20 * time.Millisecond, run: search("example", 100)},
	{name: "nodes-mac", title: "nodes by MAC address, 500 a second", p99: 5 * time.Millisecond, run: findNodes},
	{name: "boot-mac", title: "the same as agents ask for what a node boots", p99: 5 * time.Millisecond, run: bootNodes},
	{name: "below-first", title: "first page of 100 nodes of half of all sites", run: below(1)},
	{name: "below-100th", title: "100th page of it", run: below(100)},
	{name: "move", title: "move half of all sites to where nodes boot otherwise", promise: 200 * time.Millisecond, run: move},
	{name: "rename", title: "rename the top of half of all sites", promise: 200 * time.Millisecond, run: rename},
	{name: "heartbeats", title: "heartbeats of 10,000 agents, 200 a second", p99: 50 * time.Millisecond, core: 0.5, run: heartbeats},
}

// settingsInEffect reads the deepest sites at random.
func settingsInEffect(ctx context.Context, s *server) (figure, error) {
	return repeat(2000, func(int) (time.Duration, error) {
		var site struct {
			Depth     int
			Effective struct {
				Params map[string]struct{ Value, From string }
			}
		}
		took, err := s.call(ctx, "GET", "/api/v1/sites/"+s.deepest[rand.N(len(s.deepest))].String(), nil, &site)
		if err == nil && (site.Depth != 4 || len(site.Effective.Params) != 4) {
			err = fmt.Errorf("got %+v", site)
		}
		return took, err
	})
}

// page reads the n-th page of a list, after it went there once.
func page(path string, limit, n int) func(context.Context, *server) (figure, error) {
	return func(ctx context.Context, s *server) (figure, error) {
		joint := "?"
		if strings.Contains(path, "?") {
			joint = "&"
		}
		return s.page(ctx, path+joint, limit, n)
	}
}

// search looks for nodes that have a text, of which the first page holds some.
func search(text string, want int) func(context.Context, *server) (figure, error) {
	return func(ctx context.Context, s *server) (figure, error) {
		return repeat(50, func(int) (time.Duration, error) {
			var list struct{ Items []struct{ ID string } }
			took, err := s.call(ctx, "GET", "/api/v1/nodes?limit=100&search="+url.QueryEscape(text), nil, &list)
			if err == nil && len(list.Items) != want {
				err = fmt.Errorf("%d nodes found", len(list.Items))
			}
			return took, err
		})
	}
}

// below reads the n-th page of the nodes of half of all sites.
func below(n int) func(context.Context, *server) (figure, error) {
	return func(ctx context.Context, s *server) (figure, error) {
		return s.page(ctx, "/api/v1/sites/"+s.halves[0].String()+"/nodes?descendants=true&", 100, n)
	}
}

func (s *server) page(ctx context.Context, path string, limit, n int) (figure, error) {
	cursor := ""
	read := func() (next string, took time.Duration, err error) {
		var list struct {
			Items      []struct{ ID string }
			NextCursor string `json:"next_cursor"`
		}
		took, err = s.call(ctx, "GET", fmt.Sprintf("%slimit=%d&cursor=%s", path, limit, cursor), nil, &list)
		if err == nil && len(list.Items) != limit {
			err = fmt.Errorf("%d items on the page", len(list.Items))
		}
		return list.NextCursor, took, err
	}
	for range n - 1 {
		next, _, err := read()
		if err != nil {
			return figure{}, err
		}
		cursor = next
	}
	return repeat(200, func(int) (time.Duration, error) {
		_, took, err := read()
		return took, err
	})
}

// move takes half of all sites from one root to the other and back: their nodes get another workflow each time.
func move(ctx context.Context, s *server) (figure, error) {
	return repeat(20, func(i int) (time.Duration, error) {
		var site struct{ Path string }
		took, err := s.call(ctx, "PATCH", "/api/v1/sites/"+s.halves[0].String(), map[string]any{"parent_id": s.roots[(i+1)%2]}, &site)
		if want := fmt.Sprintf("root-%d/site-0-1-000", (i+1)%2); err == nil && site.Path != want {
			err = fmt.Errorf("it is at %s, not at %s", site.Path, want)
		}
		return took, err
	})
}

// rename gives half of all sites other paths.
func rename(ctx context.Context, s *server) (figure, error) {
	return repeat(20, func(i int) (time.Duration, error) {
		return s.call(ctx, "PATCH", "/api/v1/sites/"+s.halves[1].String(), map[string]any{"name": fmt.Sprint("half ", i%2)}, nil)
	})
}
