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
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pureboot/pureboot/agent/admin"
	"github.com/pureboot/pureboot/agent/gateway"
	"github.com/pureboot/pureboot/systemd"
)

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
