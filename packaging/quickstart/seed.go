package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pureboot/pureboot/central/wire"
)

// demoMAC is the address that QEMU gives a machine's first card.
const demoMAC = "52:54:00:12:34:56"

// onlineTime bounds the wait for the agent's first heartbeat.
const onlineTime = 30 * time.Second

// demoScript is what the demo's workflow boots.
const demoScript = `#!ipxe
echo
echo Hello from PureBoot. A real workflow would load a kernel now.
echo
sleep 10
exit 1
`

// client calls central's REST API as its administrator.
type client struct {
	base  string
	token string
	http  *http.Client
	paths *paths
}

func dial(p *paths) (*client, error) {
	token, err := os.ReadFile(p.tokenFile)
	if err != nil {
		return nil, fmt.Errorf("the admin token: %w (remove %s to begin anew)", err, p.dir)
	}
	ca, err := os.ReadFile(p.ca)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("%s holds no certificate", p.ca)
	}
	return &client{base: p.centralURL, token: strings.TrimSpace(string(token)), paths: p, http: &http.Client{
		Timeout:   30 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}},
	}}, nil
}

// call sends in, JSON unless it is an io.Reader, and reads the answer into out unless that is nil.
func (c *client) call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	kind := "application/json"
	switch in := in.(type) {
	case nil:
	case io.Reader:
		body, kind = in, "application/octet-stream"
	default:
		text, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	if body != nil {
		req.Header.Set("Content-Type", kind)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode >= 300 {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 4096)) // the status says enough without it
		return fmt.Errorf("%s %s: %s: %s", method, path, res.Status, text)
	}
	if out == nil {
		return nil
	}
	return json.NewDecoder(res.Body).Decode(out)
}

// wait asks again and again until ok or the time is over.
func wait(ctx context.Context, what string, bound time.Duration, ok func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	for {
		done, err := ok()
		if done {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", what, errors.Join(context.Cause(ctx), err))
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func (c *client) waitReady(ctx context.Context) error {
	return wait(ctx, "wait for central", startTime, func() (bool, error) {
		err := c.call(ctx, http.MethodGet, "/readyz", nil, nil)
		return err == nil, err
	})
}

func (c *client) waitOnline(ctx context.Context, site string) error {
	return wait(ctx, "wait for the agent to be online", onlineTime, func() (bool, error) {
		var s struct {
			AgentStatus string `json:"agent_status"`
		}
		err := c.call(ctx, http.MethodGet, "/api/v1/sites/"+site, nil, &s)
		return s.AgentStatus == "online", err
	})
}

// demo is what the seed made.
type demo struct{ Site, Workflow, Node, Bootloader string }

// seed makes a site, a workflow, a pending machine and something to boot, or finds them.
func (c *client) seed(ctx context.Context) (demo, error) {
	var d demo
	var err error
	if d.Site, err = c.ensure(ctx, "sites", "name", "demo", map[string]any{
		"name": "demo", "description": "Made by make run", "heartbeat_seconds": 10,
	}); err != nil {
		return d, err
	}
	if d.Bootloader, err = c.upload(ctx); err != nil {
		return d, err
	}
	if d.Workflow, err = c.ensure(ctx, "workflows", "name", "hello", map[string]any{
		"name": "hello", "install_method": "chain", "boot_url": "${server}/scripts/hello.ipxe",
	}); err != nil {
		return d, err
	}
	d.Node, err = c.ensure(ctx, "nodes", "mac_address", demoMAC, map[string]any{
		"mac_address": demoMAC, "hostname": "demo-1", "home_site_id": d.Site, "group_id": d.Site,
		"workflow_id": d.Workflow, "state": "pending",
	})
	return d, err
}

// ensure returns the id of the item whose field has the value, making it if there is none.
func (c *client) ensure(ctx context.Context, resource, field, value string, body map[string]any) (string, error) {
	query := url.Values{"limit": {"100"}}
	if resource == "nodes" {
		query.Set("mac", value)
	}
	var list struct {
		Items []map[string]any `json:"items"`
	}
	if err := c.call(ctx, http.MethodGet, "/api/v1/"+resource+"?"+query.Encode(), nil, &list); err != nil {
		return "", err
	}
	for _, item := range list.Items {
		if item[field] == value {
			return fmt.Sprint(item["id"]), nil
		}
	}
	var made struct {
		ID string `json:"id"`
	}
	return made.ID, c.call(ctx, http.MethodPost, "/api/v1/"+resource, body, &made)
}

// upload stores the demo's script, and iPXE's own programs where Debian's package has them. It returns the name of a
// file that can be fetched by TFTP.
func (c *client) upload(ctx context.Context) (string, error) {
	err := c.call(ctx, http.MethodPut, wire.PathContent+"/scripts/hello.ipxe", strings.NewReader(demoScript), nil)
	if err != nil {
		return "", err
	}
	name := "scripts/hello.ipxe"
	for _, file := range []string{"undionly.kpxe", "ipxe.efi", "snponly.efi"} {
		f, err := os.Open(filepath.Join("/usr/lib/ipxe", file))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", err
		}
		err = c.call(ctx, http.MethodPut, wire.PathContent+"/bootloaders/"+file, io.Reader(f), nil)
		f.Close()
		if err != nil {
			return "", err
		}
		name = file
	}
	if name == "scripts/hello.ipxe" {
		fmt.Println("iPXE's boot programs are not installed here (apt-get install ipxe); a script stands in for them.")
	}
	return name, nil
}

// enrol makes the agent that of the site, unless it is.
func (p *paths) enrol(ctx context.Context, c *client, site string) error {
	if _, err := os.Stat(p.identity); err == nil {
		return nil
	}
	var join wire.JoinToken
	if err := c.call(ctx, http.MethodPost, "/api/v1/sites/"+site+"/agent-token", nil, &join); err != nil {
		return err
	}
	file := filepath.Join(p.dir, "join.token")
	if err := os.WriteFile(file, []byte(join.Token+"\n"), 0o600); err != nil {
		return err
	}
	return errors.Join(
		p.once(ctx, "pureboot-agent", "init", "--config", p.agentConfig, "--token-file", file),
		os.Remove(file),
	)
}
