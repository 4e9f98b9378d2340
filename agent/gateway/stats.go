package gateway

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/pureboot/pureboot/agent/boot"
	"github.com/pureboot/pureboot/central/wire"
)

// Route is a kind of path, by who answers for it.
type Route string

// The routes that are counted apart.
const (
	RouteContent  Route = "content"  // boot files
	RouteUpstream Route = "upstream" // what an origin on the web has
	RouteOther    Route = "other"    // scripts, templates, reports
)

var routes = []Route{RouteContent, RouteUpstream, RouteOther}

// Served is a kind of boot script that was handed out.
type Served struct {
	Loader string // ipxe, grub or bootstrap
	Script string // what it does, as lifecycle.Serve says; safe: it only shows what is wrong
}

// Stats counts since New.
type Stats struct {
	Requests map[Route]map[int]int64 // by the first digit of the status; 0: the client left before there was one
	Sent     map[Route]int64         // bytes of bodies
	Refused  int64                   // requests for which there was no place, of those
	Boots    map[Served]int64        // answers of the boot routes to GET
	Active   int                     // requests being answered
}

type counters struct {
	routes  map[Route]*routeCounters // never changes
	refused atomic.Int64

	mu    sync.Mutex
	boots map[Served]int64
}

type routeCounters struct {
	requests [6]atomic.Int64
	sent     atomic.Int64
}

func (c *counters) init() {
	c.boots, c.routes = map[Served]int64{}, map[Route]*routeCounters{}
	for _, r := range routes {
		c.routes[r] = new(routeCounters)
	}
}

// Stats returns a snapshot.
func (g *Gateway) Stats() Stats {
	s := Stats{Requests: map[Route]map[int]int64{}, Sent: map[Route]int64{}, Boots: map[Served]int64{}, Active: g.Active(), Refused: g.count.refused.Load()}
	for name, c := range g.count.routes {
		s.Sent[name], s.Requests[name] = c.sent.Load(), map[int]int64{}
		for class := range c.requests {
			if n := c.requests[class].Load(); n > 0 {
				s.Requests[name][class] = n
			}
		}
	}
	g.count.mu.Lock()
	defer g.count.mu.Unlock()
	maps.Copy(s.Boots, g.count.boots)
	return s
}

// of returns the counters of an own path, as it came.
func (c *counters) of(path string) *routeCounters {
	first, _, _ := strings.Cut(strings.TrimLeft(path, "/"), "/")
	if slices.Contains(wire.Categories, first) {
		return c.routes[RouteContent]
	}
	return c.routes[RouteOther]
}

// ended counts an answer of that status.
func (c *routeCounters) ended(status int) {
	c.requests[min(max(status/100, 0), len(c.requests)-1)].Add(1)
}

// booted counts a script that is handed out; err says why it is the safe one, if it is.
func (g *Gateway) booted(r *http.Request, loader string, in boot.Input, err error) {
	if r.Method != http.MethodGet {
		return
	}
	script := "safe"
	if in.Boot != nil && err == nil {
		script = in.Serves()
	}
	g.count.served(Served{loader, script})
}

func (c *counters) served(s Served) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.boots[s]++
}
