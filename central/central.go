// Package central is the single source of truth of all sites: it opens the database, the repository of boot files and
// the certificate, and serves the API over HTTPS.
package central

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pureboot/pureboot/central/api"
	"github.com/pureboot/pureboot/central/content"
	"github.com/pureboot/pureboot/central/fleet"
	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/systemd"
)

// Options says how central runs.
type Options struct {
	Config
	Version string       // of this build
	Log     *slog.Logger // nil means slog.Default()

	// Ready is told the address of each listener, by its name in the configuration's terms, once they serve; nil
	// tells nobody. Its error ends Run.
	Ready func(map[string]string) error
}

// Central is one running central.
type Central struct {
	o       Options
	log     *slog.Logger
	store   *store.Store
	content *content.Repository
	encoded *content.Encodings
	fleet   *fleet.Fleet
	listen  net.Listener
	server  *http.Server
}

// Limits of HTTP. There is none for a whole request or answer: a boot image takes as long as it takes, and the
// handlers of such renew the deadline as they go.
const (
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
	headerBytes   = 64 << 10
	drainTimeout  = 20 * time.Second // less than the unit's TimeoutStopSec
)

// encodedBytes bounds what is kept of files in encoded form, in bytes.
const encodedBytes = 1 << 30

// New checks the configuration, opens everything, migrates the database and begins to listen. Whoever does not Run
// what it returns must Close it.
func New(ctx context.Context, o Options) (_ *Central, err error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("the configuration is wrong:\n%w", err)
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	c := &Central{o: o, log: o.Log.With("room", "central")}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
		}
	}()
	if err := os.MkdirAll(o.DataDir, 0o750); err != nil {
		return nil, fmt.Errorf("data_dir: %w", err)
	}
	if c.store, err = store.Open(ctx, store.Options{DSN: o.Database, Dir: o.DataDir, Log: o.Log}); err != nil {
		return nil, err
	}
	if c.content, err = content.Open(o.contentDir(), c.store, o.Log); err != nil {
		return nil, err
	}
	if c.encoded, err = content.OpenEncodings(filepath.Join(o.DataDir, "encoded"), encodedBytes, o.Log); err != nil {
		return nil, err
	}
	id, err := loadIdentity(o.Config, time.Now, c.log)
	if err != nil {
		return nil, err
	}
	c.fleet = fleet.New(fleet.Options{Store: c.store, Content: c.content, Pin: id.pin, CA: id.agents(), Log: o.Log})
	handler, err := api.New(api.Options{
		Store: c.store, Content: c.content, Encodings: c.encoded, PublicURL: o.PublicURL, Version: o.Version, Log: o.Log,
		Fleet: c.fleet,
	})
	if err != nil {
		return nil, err
	}
	c.server = &http.Server{
		Handler:           handler,
		TLSConfig:         id.config(),
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    headerBytes,
		ErrorLog:          slog.NewLogLogger(c.log.Handler(), slog.LevelDebug), // what strangers do to a port
	}
	if c.listen, err = net.Listen("tcp", o.Listen); err != nil {
		return nil, fmt.Errorf("listen on %s: %w", o.Listen, err)
	}
	return c, nil
}

// InitOptions says what Init prepares.
type InitOptions struct {
	Config
	Log      *slog.Logger
	NewToken bool                     // make an admin token although there is one
	Keep     func(token string) error // is given the token before it is valid, and its error undoes it
}

// Init prepares the data folder: the database, the CA, and a token of the role admin, if there is none or another is
// wanted; made says so. It may run beside a central.
func Init(ctx context.Context, o InitOptions) (made bool, err error) {
	if err := o.Validate(); err != nil {
		return false, fmt.Errorf("the configuration is wrong:\n%w", err)
	}
	if err := os.MkdirAll(o.DataDir, 0o750); err != nil {
		return false, fmt.Errorf("data_dir: %w", err)
	}
	st, err := store.Open(ctx, store.Options{DSN: o.Database, Dir: o.DataDir, Log: o.Log, Shared: true})
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	if _, err := loadIdentity(o.Config, time.Now, o.Log); err != nil {
		return false, err
	}
	return st.CreateAdminToken(ctx, "init", !o.NewToken, o.Keep)
}

// Addresses returns where central listens.
func (c *Central) Addresses() map[string]string {
	return map[string]string{"https": c.listen.Addr().String()}
}

// Run serves until ctx ends, lets the requests under way finish, for 20 seconds at most, and closes everything.
func (c *Central) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		if err := c.server.ServeTLS(c.listen, "", ""); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve %s: %w", c.listen.Addr(), err)
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		return c.drain()
	})
	group.Go(func() error { return c.store.Run(ctx) })
	group.Go(func() error { return systemd.Watchdog(ctx, c.log, c.store.Ping) })
	group.Go(func() error { return c.content.Run(ctx) })
	group.Go(func() error { return c.fleet.Run(ctx) })
	group.Go(c.ready)
	return errors.Join(group.Wait(), c.Close())
}

// ready tells everybody who asked that central serves.
func (c *Central) ready() error {
	c.log.Info("central serves", "https", c.listen.Addr().String(), "version", c.o.Version)
	if err := systemd.Ready("serving on " + c.listen.Addr().String()); err != nil {
		c.log.Warn("systemd was not told", "err", err)
	}
	if c.o.Ready == nil {
		return nil
	}
	return c.o.Ready(c.Addresses())
}

// drain takes no more requests and waits for those under way; what is still there after a while is cut.
func (c *Central) drain() error {
	c.log.Info("central stops")
	if err := systemd.Stopping(); err != nil {
		c.log.Warn("systemd was not told", "err", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	if err := c.server.Shutdown(ctx); err != nil {
		c.log.Warn("requests were cut", "err", err)
		return c.server.Close()
	}
	return nil
}

// Close closes what New opened. Run has done so when it returns.
func (c *Central) Close() error {
	var errs []error
	if c.listen != nil {
		if err := c.listen.Close(); !errors.Is(err, net.ErrClosed) { // the server closes it too
			errs = append(errs, err)
		}
	}
	if c.fleet != nil {
		errs = append(errs, c.fleet.Close())
	}
	if c.encoded != nil { // reads the content
		errs = append(errs, c.encoded.Close())
	}
	if c.content != nil {
		errs = append(errs, c.content.Close())
	}
	if c.store != nil {
		errs = append(errs, c.store.Close())
	}
	return errors.Join(errs...)
}
