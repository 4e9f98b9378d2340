package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// adminSocket is where an agent is profiled, in its own folder.
const adminSocket = "admin.sock"

// profile begins to profile our agent and returns what ends that: a file per profile in the folder that -profile names.
// It does nothing for other peers, or without the flag.
func (t *trial) profile(ctx context.Context, during time.Duration) (wait func() error) {
	if t.profiles == "" || !t.server.peer.ours {
		return func() error { return nil }
	}
	kinds := []string{"profile", "allocs"}
	done := make(chan error, len(kinds))
	for _, kind := range kinds {
		go func() {
			name := filepath.Join(t.profiles, fmt.Sprintf("%s-%s-%d.%s", t.row.name, t.server.peer.name, t.rep, kind))
			done <- t.server.profile(ctx, kind, max(time.Second, during), name)
		}()
	}
	return func() (err error) {
		for range kinds {
			err = errors.Join(err, <-done)
		}
		return err
	}
}

// profile writes one kind of profile to a file.
func (s *server) profile(ctx context.Context, kind string, during time.Duration, name string) error {
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(s.place.dir, adminSocket))
		},
	}}
	url := fmt.Sprintf("http://agent/debug/pprof/%s?seconds=%d", kind, int(during.Seconds()))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("profile: status %d", res.StatusCode)
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return writeFile(name, func(w io.Writer) error {
		_, err := io.Copy(w, res.Body)
		return err
	})
}
