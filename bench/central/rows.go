package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

// row is one thing that is measured.
type row struct {
	name, title string
	promise     time.Duration // that the median stays below; 0 is none
	run         func(ctx context.Context, s *server) (figure, error)
}

// rows lists all, in the order in which they run.
var rows = []row{
	{"settings", "read a site five deep, with its settings in effect", 2 * time.Millisecond, settingsInEffect},
	{"sites-first", "first page of 10 sites", 20 * time.Millisecond, page("/api/v1/sites", 10, 1)},
	{"sites-100th", "100th page of 10 sites", 20 * time.Millisecond, page("/api/v1/sites", 10, 100)},
	{"sites-full", "first page of 100 sites", 20 * time.Millisecond, page("/api/v1/sites", 100, 1)},
	{"nodes-first", "first page of 100 nodes", 20 * time.Millisecond, page("/api/v1/nodes", 100, 1)},
	{"nodes-100th", "100th page of 100 nodes", 20 * time.Millisecond, page("/api/v1/nodes", 100, 100)},
	{"below-first", "first page of 100 nodes of half of all sites", 0, below(1)},
	{"below-100th", "100th page of it", 0, below(100)},
	{"move", "move half of all sites to where nodes boot otherwise", 200 * time.Millisecond, move},
	{"rename", "rename the top of half of all sites", 200 * time.Millisecond, rename},
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
		return s.page(ctx, path+"?", limit, n)
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
