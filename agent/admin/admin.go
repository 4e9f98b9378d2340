// Package admin is the API for whoever operates the appliance, on a unix socket that only its user and group reach.
package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/pureboot/pureboot/agent/cache"
	"github.com/pureboot/pureboot/agent/httpcache"
	"github.com/pureboot/pureboot/central/wire"
)

// PathStatus is where the status is read.
const PathStatus = "/api/v1/agent/status"

// Status is how the agent is doing.
type Status struct {
	Version    string            `json:"version"`
	CentralURL string            `json:"central_url,omitempty"`
	SiteID     string            `json:"site_id,omitempty"`
	SiteName   string            `json:"site_name,omitempty"`
	Enrolled   bool              `json:"enrolled"`
	Online     bool              `json:"online"` // central answers
	Addresses  map[string]string `json:"addresses"`
	Waiting    int               `json:"waiting_reports"` // of machines, for central
	wire.Heartbeat

	Cache     cache.Stats                `json:"cache"`               // counted since the start
	Upstreams map[string]httpcache.Stats `json:"upstreams,omitempty"` // by prefix, likewise
}

// Listen opens the socket for its user and group. One that an agent left behind when it died is replaced; one that
// is served is an error.
func Listen(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return nil, fmt.Errorf("make the folder of the admin socket: %w", err)
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		conn.Close()
		return nil, fmt.Errorf("listen on %s: another agent serves there", path)
	}
	if errors.Is(err, syscall.ECONNREFUSED) && isSocket(path) {
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("remove the admin socket of a dead agent: %w", err)
		}
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	if err := os.Chmod(path, 0o660); err != nil {
		return nil, errors.Join(fmt.Errorf("open the admin socket to its group: %w", err), l.Close())
	}
	return l, nil
}

func isSocket(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode()&fs.ModeSocket != 0
}

// Handler serves the API. status is asked for each time.
func Handler(status func(context.Context) Status) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+PathStatus, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(status(r.Context())) // a client that has gone is not told
	})
	new(profiles).add(mux)
	return mux
}

// ReadStatus asks the agent that serves at the socket.
func ReadStatus(ctx context.Context, path string) (Status, error) {
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		},
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://agent"+PathStatus, nil)
	if err != nil {
		return Status{}, err
	}
	var s Status
	res, err := client.Do(req)
	if err != nil {
		return s, fmt.Errorf("no agent answers at %s (is it running?): %w", path, err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return s, fmt.Errorf("the agent answered %d", res.StatusCode)
	}
	return s, json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(&s)
}
