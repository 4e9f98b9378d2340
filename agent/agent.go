// Package agent is the appliance of one site: what its machines boot from, and what keeps that in step with central.
// This file alone knows every room.
package agent

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/pureboot/pureboot/agent/admin"
	"github.com/pureboot/pureboot/agent/cache"
	"github.com/pureboot/pureboot/agent/content"
	"github.com/pureboot/pureboot/agent/gateway"
	"github.com/pureboot/pureboot/agent/httpcache"
	"github.com/pureboot/pureboot/agent/node"
	"github.com/pureboot/pureboot/agent/uplink"
	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/systemd"
	"github.com/pureboot/pureboot/tftp"
)

// drainTime is how long transfers under way may go on after the agent was told to stop.
const drainTime = 10 * time.Second

// Agent is one running appliance.
type Agent struct {
	cfg     Config
	log     *slog.Logger
	version string
	began   time.Time

	identity uplink.Identity
	link     *uplink.Link
	client   *uplink.Client         // nil while not enrolled
	heart    *uplink.Heartbeat      // likewise
	commands *uplink.Commands       // likewise
	config   *uplink.Config         // what central wants of the settings
	current  atomic.Pointer[Config] // with the settings that are in use
	budget   *cache.Budget
	cache    *cache.Store
	files    *content.Files
	syncer   *uplink.Syncer // nil while not enrolled
	nodes    *node.Store
	gateway  *gateway.Gateway
	operator *admin.API

	upstreams map[string]*httpcache.Handler // by prefix

	http      net.Listener
	https     net.Listener
	shown     *uplink.Certificate // on https, or to central; nil without either
	tftp      *net.UDPConn
	admin     net.Listener
	scrape    net.Listener // of metrics; nil also if its address was taken
	server    *tftp.Server
	transfers tftpCounts
	traces    node.Traces
	following following
	tftpTiers sync.Map // netip.AddrPort of a client: where its file comes from
	registry  *prometheus.Registry
	closer    []func() error
}

// Hello is how this build introduces itself to central.
func Hello(version string) wire.Hello {
	return wire.Hello{ProtocolVersion: wire.ProtocolVersion, Capabilities: []string{wire.CapabilityCommands}, AgentVersion: version}
}

// New opens everything the agent needs, its listeners last: machines that ask from then on wait in their queues for
// Run. An agent that is not enrolled works as far as it can. After an error nothing is left open.
func New(ctx context.Context, cfg Config, version string, log *slog.Logger) (_ *Agent, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	a := &Agent{cfg: cfg, log: log, version: version, began: time.Now(), link: new(uplink.Link)}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.close())
		}
	}()
	if err := os.MkdirAll(cfg.StateDir(), 0o700); err != nil {
		return nil, fmt.Errorf("make the state folder: %w", err)
	}
	if err := a.openUplink(); err != nil {
		return nil, err
	}
	if err := a.openRooms(ctx); err != nil {
		return nil, err
	}
	return a, a.listen()
}

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

// listen opens the listeners. A port that is taken is an error that names it.
func (a *Agent) listen() error {
	var err error
	if addr := a.cfg.Listen.HTTP; addr != "" {
		if a.http, err = net.Listen("tcp", addr); err != nil {
			return fmt.Errorf("listen.http: %w", err)
		}
		a.onClose(a.http.Close)
	}
	if addr := a.cfg.Listen.HTTPS; addr != "" {
		if a.https, err = net.Listen("tcp", addr); err != nil {
			return fmt.Errorf("listen.https: %w", err)
		}
		a.onClose(a.https.Close)
	}
	if addr := a.cfg.Listen.TFTP; addr != "" {
		udp, err := net.ResolveUDPAddr("udp", addr)
		if err == nil {
			a.tftp, err = net.ListenUDP("udp", udp)
		}
		if err != nil {
			return fmt.Errorf("listen.tftp: %w", err)
		}
		a.onClose(a.tftp.Close)
	}
	if path := a.cfg.Listen.Admin; path != "" {
		if a.admin, err = admin.Listen(path); err != nil {
			return fmt.Errorf("listen.admin: %w", err)
		}
		a.onClose(a.admin.Close)
	}
	if addr := a.cfg.Listen.Metrics; addr != "" {
		if a.scrape, err = net.Listen("tcp", addr); err != nil {
			// Machines boot without it, and the metrics are on the operator's socket too.
			a.log.Error("metrics not served", "key", "listen.metrics", "err", err)
			a.scrape = nil
			return nil
		}
		a.onClose(a.scrape.Close)
	}
	return nil
}

// Addresses returns where the agent listens, by name.
func (a *Agent) Addresses() map[string]string {
	at := map[string]string{}
	if a.http != nil {
		at["http"] = a.http.Addr().String()
	}
	if a.https != nil {
		at["https"] = a.https.Addr().String()
	}
	if a.tftp != nil {
		at["tftp"] = a.tftp.LocalAddr().String()
	}
	if a.admin != nil {
		at["admin"] = a.admin.Addr().String()
	}
	if a.scrape != nil {
		at["metrics"] = a.scrape.Addr().String()
	}
	return at
}

// Run serves until ctx ends, lets the transfers under way finish for a while, and closes everything. ready, if it is
// not nil, gets the addresses as one line of JSON once the agent serves.
func (a *Agent) Run(ctx context.Context, ready *os.File) (err error) {
	defer func() { err = errors.Join(err, a.close()) }()
	group, ctx := errgroup.WithContext(ctx)
	if a.http != nil {
		a.serveHTTP(ctx, group, gateway.Listen(a.http), a.gateway)
	}
	if a.https != nil {
		a.serveHTTPS(ctx, group)
	}
	if a.admin != nil {
		a.serveHTTP(ctx, group, a.admin, a.operator)
	}
	if a.scrape != nil {
		a.serveHTTP(ctx, group, a.scrape, metricsHandler(a.registry))
	}
	group.Go(func() error { return a.operator.Run(ctx) })
	if a.tftp != nil {
		group.Go(func() error { return a.server.Serve(ctx, a.tftp) })
	}
	if a.client != nil {
		group.Go(func() error {
			defer a.following.work.Wait()
			return a.heart.Run(ctx)
		})
		if a.shown != nil {
			group.Go(func() error { return a.shown.Run(ctx) })
		}
		group.Go(func() error { return a.commands.Run(ctx) })
		group.Go(func() error { return a.nodes.Run(ctx) })
		group.Go(func() error { return a.syncer.Run(ctx) })
	}
	group.Go(func() error { return a.scrub(ctx) })
	group.Go(func() error { return a.expireFiles(ctx) })
	group.Go(func() error { return systemd.Watchdog(ctx, a.log, a.alive) })
	group.Go(func() error {
		<-ctx.Done()
		a.tell(systemd.Stopping())
		return nil
	})
	if err := a.announce(ready); err != nil {
		group.Go(func() error { return err })
	}
	return group.Wait()
}

// serveHTTP serves until ctx ends, then drains.
func (a *Agent) serveHTTP(ctx context.Context, group *errgroup.Group, l net.Listener, h http.Handler) {
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		ConnContext:       gateway.ConnContext,
		ErrorLog:          slog.NewLogLogger(a.log.Handler(), slog.LevelDebug), // scanners' handshakes

		DisableGeneralOptionsHandler: true, // every answer is the handler's
	}
	group.Go(func() error {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve on %s: %w", l.Addr(), err)
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
		defer cancel()
		if err := server.Shutdown(drain); err != nil {
			a.log.Warn("transfers cut at the end", "listener", l.Addr(), "err", err)
			return server.Close()
		}
		return nil
	})
}

// announce tells whoever started the agent that it serves.
func (a *Agent) announce(ready *os.File) error {
	at := a.Addresses()
	a.log.Info("serving", "addresses", at, "took", time.Since(a.began), "site", a.identity.SiteName)
	if ready != nil {
		line, err := json.Marshal(at)
		if err != nil {
			return err
		}
		if _, err = ready.Write(append(line, '\n')); err == nil {
			err = ready.Close()
		}
		if err != nil {
			return fmt.Errorf("tell --ready-fd: %w", err)
		}
	}
	a.tell(systemd.Ready("serving " + cmp.Or(a.identity.SiteName, "without central: not enrolled")))
	return nil
}

// tell notes that the service manager could not be told: machines boot without it.
func (a *Agent) tell(err error) {
	if err != nil {
		a.log.Warn("service manager not told", "err", err)
	}
}

// alive proves to the watchdog that the agent still does its work: its store answers.
func (a *Agent) alive(ctx context.Context) error {
	_, err := a.nodes.Count(ctx)
	return err
}

// onClose has close called with the rest, last opened first closed.
func (a *Agent) onClose(close func() error) { a.closer = append(a.closer, close) }

func (a *Agent) close() error {
	var errs []error
	for len(a.closer) > 0 {
		last := len(a.closer) - 1
		if err := a.closer[last](); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
		a.closer = a.closer[:last]
	}
	return errors.Join(errs...)
}
