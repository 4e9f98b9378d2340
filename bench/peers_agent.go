package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pureboot/pureboot/central/wire"
)

// agentPeers are the two faces of our agent: content of central, checked chunk by chunk, and an upstream.
func agentPeers() []*peer {
	return []*peer{
		{name: "agent-central", central: true, ours: true, version: agentVersion, start: startCentralAgent},
		{name: "agent-upstream", ours: true, version: upstreamVersion, start: startUpstreamAgent},
	}
}

func agentVersion(ctx context.Context, b *bench) (string, error) {
	out, err := run(ctx, "", b.agent, "version")
	if err != nil {
		return "", fmt.Errorf("%w (make build makes it)", err)
	}
	name, _, _ := strings.Cut(strings.TrimSpace(out), ",")
	return name, nil
}

// upstreamVersion finds out whether this agent has upstreams by starting one that has.
func upstreamVersion(ctx context.Context, b *bench) (string, error) {
	version, err := agentVersion(ctx, b)
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp(b.dir, "probe-*")
	if err != nil {
		return "", err
	}
	at := place{bench: b, origin: &origin{http: face{addr: "127.0.0.1:9"}}, dir: dir, log: filepath.Join(dir, "log")}
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	p, _, err := startUpstreamAgent(ctx, at)
	if err != nil && strings.Contains(err.Error(), `unknown field "upstreams"`) {
		return "", errors.New("this agent has no upstreams")
	}
	if err != nil {
		return "", err
	}
	p.stop()
	return version, nil
}

func startCentralAgent(ctx context.Context, at place) (*process, string, error) {
	config, err := at.agentConfig("")
	if err != nil {
		return nil, "", err
	}
	if _, err := os.Stat(filepath.Join(at.dir, "state", "identity.json")); errors.Is(err, os.ErrNotExist) {
		_, err := run(ctx, at.origin.ca.joinToken(), at.bench.agent, "init", "--config", config,
			"--central-url", "https://"+at.origin.central.addr, "--token-file", "-")
		if err != nil {
			return nil, "", err
		}
	}
	p, http, err := at.startAgent(ctx, config)
	return p, "http://" + http + "/" + wire.Images + "/", err
}

func startUpstreamAgent(ctx context.Context, at place) (*process, string, error) {
	config, err := at.agentConfig(fmt.Sprintf("upstreams:\n  - {prefix: %s, url: \"http://%s%s\"}\n",
		originPrefix, at.origin.http.addr, originPrefix))
	if err != nil {
		return nil, "", err
	}
	p, http, err := at.startAgent(ctx, config)
	return p, "http://" + http + originPrefix, err
}

func (at place) agentConfig(more string) (string, error) {
	admin := ""
	if at.admin || at.bench.profiles != "" {
		admin = filepath.Join(at.dir, adminSocket)
	}
	return at.write("agent.yaml", fmt.Sprintf("data_dir: %s\nlisten: {http: \"127.0.0.1:0\", tftp: \"\", admin: %q, metrics: \"\"}\n"+
		"cache: {max_size_gb: 20, min_free_gb: 0}\n%s%s", at.dir, admin, at.config, more))
}

// startAgent starts the agent and returns where it serves HTTP.
func (at place) startAgent(ctx context.Context, config string) (*process, string, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, "", err
	}
	defer read.Close()
	began := time.Now()
	p, err := launch(command{
		args: []string{at.bench.agent, "start", "--config", config, "--ready-fd", "3"}, log: at.log, extra: write,
		tmpfs: at.disk, guard: at.bench.guard,
	})
	write.Close()
	if err != nil {
		return nil, "", err
	}
	deadline, _ := ctx.Deadline()
	if deadline.IsZero() {
		deadline = time.Now().Add(startTime)
	}
	var addresses map[string]string
	if err = read.SetReadDeadline(deadline); err == nil {
		err = json.NewDecoder(read).Decode(&addresses)
	}
	if err != nil {
		p.stop()
		return nil, "", fmt.Errorf("it says no address: %w: %s", err, p.tail())
	}
	p.start = time.Since(began)
	return p, addresses["http"], nil
}
