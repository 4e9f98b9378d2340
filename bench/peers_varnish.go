package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
)

// varnishPeer is Varnish with its own VCL and 6 GiB of memory.
func varnishPeer() *peer {
	return &peer{name: "varnish", memory: true, version: varnishVersion, start: startVarnish}
}

func varnishVersion(ctx context.Context, _ *bench) (string, error) {
	out, err := run(ctx, "", "varnishd", "-V")
	if err != nil {
		return "", fmt.Errorf("%w (apt-get install varnish)", err)
	}
	_, version, _ := strings.Cut(out, "varnish-")
	version, _, _ = strings.Cut(version, " ")
	return "Varnish " + version, nil
}

func startVarnish(_ context.Context, at place) (*process, string, error) {
	host, port, err := net.SplitHostPort(at.origin.http.addr)
	if err != nil {
		return nil, "", err
	}
	vcl, err := at.write("default.vcl", fmt.Sprintf("vcl 4.1;\nbackend default { .host = %q; .port = %q; }\n", host, port))
	if err != nil {
		return nil, "", err
	}
	jail := []string{"-j", "none"}
	if os.Getuid() == 0 {
		jail = []string{"-j", "unix,user=vcache,ccgroup=varnish"}
	}
	work := filepath.Join(at.dir, "work")
	if err := os.MkdirAll(work, 0o755); err != nil {
		return nil, "", err
	}
	p, err := at.launch(append(append([]string{"varnishd"}, jail...),
		"-F", "-n", work, "-a", at.listen(), "-f", vcl, "-s", "malloc,6G", "-T", "none")...)
	return p, at.base(), err
}
