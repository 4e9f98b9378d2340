package fleet

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
)

// The states of an agent.
const (
	Online   = "online"   // heard of within two heartbeats, all its services run
	Degraded = "degraded" // within five, or a service does not run
	Offline  = "offline"
)

// grace is how long after central's own start nobody is called offline: it was central that did not hear.
const grace = 5 * time.Minute

// maxGap is how long central may not have looked after its agents without having been deaf: its process was stopped, or
// the machine slept.
const maxGap = time.Minute

// silences are the rules by which silence tells how an agent is.
var silences = []store.Silence{{Status: Offline, Intervals: 5}, {Status: Degraded, Intervals: 2}}

// Judge fills in the status of a site's agent, from what is stored, by whichever central heard it, and from what this
// one has heard since.
func (f *Fleet) Judge(g *store.Group) {
	if g.Agent == nil {
		return
	}
	if b, ok := f.live.last(g.ID); ok {
		g.Agent.Hear(b)
		g.AgentLastSeen = g.Agent.LastSeen
	}
	status := f.status(g.Agent, g.Effective.HeartbeatSeconds.Value, time.Now())
	g.Agent.Status, g.AgentStatus = status, &status
}

// Agent returns the agent of a site.
func (f *Fleet) Agent(ctx context.Context, site uuid.UUID) (store.Agent, error) {
	g, err := f.Store.Group(ctx, true, site)
	if err != nil {
		return store.Agent{}, err
	}
	if g.Agent == nil {
		return store.Agent{}, store.ErrNoAgent
	}
	f.Judge(&g)
	g.Agent.SiteName = g.Name
	return *g.Agent, nil
}

// status judges an agent by its last heartbeat and the interval that it was told with it: one that was changed since it
// does not know yet.
func (f *Fleet) status(a *store.Agent, heartbeatSeconds int, now time.Time) string {
	if a.LastSeen == nil {
		return Offline
	}
	interval := time.Duration(cmp.Or(a.HeartbeatInterval, heartbeatSeconds)) * time.Second
	silence := now.Sub(*a.LastSeen)
	for _, rule := range silences {
		if silence < time.Duration(rule.Intervals)*interval {
			continue
		}
		if rule.Status == Offline && f.deaf(now) {
			return Degraded
		}
		return rule.Status
	}
	if a.Heartbeat == nil {
		return Online
	}
	status, _ := reported(*a.Heartbeat)
	return status
}

// reported returns what a heartbeat says of its agent, and why.
func reported(h wire.Heartbeat) (status, reason string) {
	for _, name := range slices.Sorted(maps.Keys(h.Services)) {
		if state := h.Services[name]; state != "running" {
			return Degraded, name + ": " + state
		}
	}
	return Online, "heard"
}

// deaf says whether central has not heard long enough to call anybody offline.
func (f *Fleet) deaf(now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return now.Sub(f.hearing) < grace
}

// lapse notes that central looks after its agents, and says whether it has not done so for too long: then it hears
// anew from now on.
func (f *Fleet) lapse(now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	gap := now.Round(0).Sub(f.watched.Round(0)) // of the wall clock: the other one stands still while the machine sleeps
	f.watched = now
	if gap > maxGap {
		f.hearing = now
	}
	return gap > maxGap
}

// StatusChanges lists how the agent of a site changed, the latest first.
func (f *Fleet) StatusChanges(ctx context.Context, site uuid.UUID, paging store.Paging) (store.Page[store.StatusChange], error) {
	return f.Store.StatusChanges(ctx, site, paging)
}
