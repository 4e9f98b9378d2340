// Package agent is the appliance of one site: what its machines boot from, and what keeps that in step with central.
// rooms.go alone puts the rooms together.
package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
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
