package agent

import (
	"context"
	"errors"
	"fmt"

	"github.com/pureboot/pureboot/agent/admin"
	"github.com/pureboot/pureboot/agent/cache"
	"github.com/pureboot/pureboot/agent/content"
	"github.com/pureboot/pureboot/agent/gateway"
	"github.com/pureboot/pureboot/agent/httpcache"
	"github.com/pureboot/pureboot/agent/node"
	"github.com/pureboot/pureboot/agent/uplink"
	"github.com/pureboot/pureboot/tftp"
)

func (a *Agent) openUplink() error {
	var err error
	clock := uplink.LoadClock(a.cfg.StateDir(), Built(), a.log)
	defer func() { a.loadCertificate(clock) }()
	a.identity, err = uplink.LoadIdentity(a.cfg.StateDir())
	if errors.Is(err, uplink.ErrNotEnrolled) {
		a.log.Warn("serving without central", "err", err)
		return nil
	}
	if err == nil {
		a.client, err = uplink.NewClient(a.identity, uplink.ClientOptions{
			Link: a.link, State: a.cfg.StateDir(), Clock: clock, Log: a.log.With("room", "uplink"),
		})
	}
	if err != nil {
		// The machines that the site knows boot all the same, and the operator reads why the others do not.
		a.log.Error("enrolment damaged, serving without central: run pureboot-agent init --replace", "err", err)
		a.identity = uplink.Identity{}
		return nil
	}
	a.heart = &uplink.Heartbeat{Client: a.client, Site: a, Hello: Hello(a.version), Log: a.log.With("room", "uplink")}
	a.onClose(func() error { a.client.Close(); return nil })
	return nil
}

func (a *Agent) openRooms(ctx context.Context) error {
	var err error
	a.budget = cache.NewBudget(int64(a.cfg.Sync.MaxMBPerS) * 1e6)
	a.cache, err = cache.Open(cache.Options{
		Dir:      a.cfg.CacheDir(),
		HotBytes: int64(a.cfg.Cache.HotMB) * 1e6,
		Rank:     content.Rank,
		Admit:    a.budget.Admit,
		// The scrub begins long after the rooms are open.
		Repair: func(key cache.Key, obj cache.Object) cache.Source { return a.files.Repair(key, obj) },
		Log:    a.log.With("room", "cache"),
	})
	if err != nil {
		return fmt.Errorf("open the cache: %w", err)
	}
	a.onClose(a.cache.Close)

	files := content.Options{
		Cache: a.cache, Dir: a.cfg.StateDir(), Urgent: a.budget.Urgent, Log: a.log.With("room", "content"),
		Reordered: func() {
			if a.operator != nil { // else it reads the order when it opens
				a.operator.Reorder()
			}
		},
	}
	nodes := node.Options{Dir: a.cfg.StateDir(), Log: a.log.With("room", "node")}
	if a.client != nil { // an interface that holds a nil client would not be nil
		files.Central, nodes.Central = a.client, a.client
	}
	if a.files, err = content.Open(files); err != nil {
		return err
	}
	a.onClose(func() error { a.files.Close(); return nil })
	if err := a.openSync(); err != nil {
		return err
	}
	if a.nodes, err = node.Open(ctx, nodes); err != nil {
		return err
	}
	a.onClose(a.nodes.Close)
	if a.client != nil {
		a.commands, err = uplink.OpenCommands(ctx, uplink.CommandOptions{
			Journal: a.nodes, Effects: a.effects(), Soon: a.heart.Soon, Log: a.log.With("room", "uplink"),
		})
		if err != nil {
			return err
		}
	}
	key, err := node.LoadKey(a.cfg.StateDir(), a.log.With("room", "node"))
	if err != nil {
		return err
	}
	upstreams, err := a.openUpstreams()
	if err != nil {
		return err
	}
	a.gateway = gateway.New(gateway.Options{
		Nodes: a.nodes, Files: a.files, Key: key, Enrolled: a.client != nil, Upstreams: upstreams, Traces: &a.traces,
		Log: a.log.With("room", "gateway"),
	})
	a.registry = newRegistry(a)
	operator := admin.Options{
		Status: a.status, Cache: a.cache, Files: a.files, Nodes: a.nodes, Upstreams: a.upstreams, Traces: &a.traces,
		Metrics: metricsHandler(a.registry), Dir: a.cfg.StateDir(), Log: a.log.With("room", "admin"),
	}
	if a.syncer != nil {
		operator.Sync = operatorSync{a}
	}
	a.operator = admin.New(operator)
	// Only now: what is pinned must not be evicted because the limits came before the pins.
	if err := a.openConfig(); err != nil {
		return err
	}
	a.server, err = tftp.New(tftp.Options{
		Open: a.openTFTP, Done: a.endedTFTP, Log: a.log.With("room", "tftp"), DrainTimeout: drainTime,
	})
	return err
}

// openConfig has the rooms work by the last good settings of central's, or by the agent's own.
func (a *Agent) openConfig() error {
	var err error
	a.config, err = uplink.OpenConfig(uplink.ConfigOptions{
		Dir: a.cfg.StateDir(), Local: a.cfg.local(), Apply: a.Apply, Pinned: a.cfg.Pinned, Log: a.log.With("room", "uplink"),
		Soon: func() {
			if a.heart != nil {
				a.heart.Soon()
			}
		},
	})
	if err != nil {
		return err
	}
	a.onClose(func() error { a.config.Close(); return nil })
	return nil
}

// openUpstreams makes the handlers of the configured upstreams. They share one pool of connections.
func (a *Agent) openUpstreams() ([]gateway.Upstream, error) {
	var upstreams []gateway.Upstream
	a.upstreams = map[string]*httpcache.Handler{}
	transport := httpcache.NewTransport()
	for _, u := range a.cfg.Upstreams {
		origin, err := u.origin()
		if err != nil {
			return nil, err
		}
		h := httpcache.New(httpcache.Options{
			Cache: a.cache, Prefix: u.Prefix, Origin: origin, FollowRedirects: u.FollowRedirects, Transport: transport,
			Admit: a.budget.Admit, Log: a.log.With("room", "httpcache", "upstream", u.Prefix),
		})
		a.onClose(func() error { h.Close(); return nil })
		a.upstreams[u.Prefix] = h
		upstreams = append(upstreams, gateway.Upstream{Prefix: u.Prefix, Handler: h})
	}
	return upstreams, nil
}
