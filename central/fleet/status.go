package fleet

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/store"
)

// The states of an agent.
const (
	Online   = "online"   // heard of within two heartbeats, all its services run
	Degraded = "degraded" // within five, or a service does not run
	Offline  = "offline"
)

// grace is how long after central's own start nobody is called offline: it was central that did not hear.
const grace = 5 * time.Minute

// Judge fills in the status of a site's agent.
func (f *Fleet) Judge(g *store.Group) {
	if g.Agent == nil {
		return
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
		return store.Agent{}, store.ErrNotFound
	}
	f.Judge(&g)
	g.Agent.SiteName = g.Name
	return *g.Agent, nil
}

func (f *Fleet) status(a *store.Agent, heartbeatSeconds int, now time.Time) string {
	if a.LastSeen == nil {
		return Offline
	}
	interval := time.Duration(heartbeatSeconds) * time.Second
	silence := now.Sub(*a.LastSeen)
	switch {
	case silence < 2*interval:
		if a.Heartbeat != nil {
			for _, state := range a.Heartbeat.Services {
				if state != "running" {
					return Degraded
				}
			}
		}
		return Online
	case silence < 5*interval || now.Sub(f.started) < grace:
		return Degraded
	}
	return Offline
}
