package main

import (
	"context"
	"fmt"
	"net"
	"strings"
)

// squidPeer is Squid as a reverse proxy that fetches whole objects for ranges and lets requests share a fetch.
func squidPeer() *peer {
	return &peer{name: "squid", version: squidVersion, start: startSquid}
}

func squidVersion(ctx context.Context, _ *bench) (string, error) {
	out, err := run(ctx, "", "squid", "-v")
	if err != nil {
		return "", fmt.Errorf("%w (apt-get install squid)", err)
	}
	_, version, _ := strings.Cut(out, "Version ")
	version, _, _ = strings.Cut(version, "\n")
	return "Squid " + version, nil
}

func startSquid(_ context.Context, at place) (*process, string, error) {
	host, port, err := net.SplitHostPort(at.origin.http.addr)
	if err != nil {
		return nil, "", err
	}
	config, err := at.write("squid.conf", fmt.Sprintf(`
http_port %[1]s accel defaultsite=%[2]s no-vhost
cache_peer %[2]s parent %[3]s 0 no-query no-digest originserver name=origin
http_access allow all
never_direct allow all
cache_dir aufs %[4]s 20000 16 256
cache_mem 256 MB
maximum_object_size 6 GB
collapsed_forwarding on
range_offset_limit none
quick_abort_min -1 KB
access_log none
cache_store_log none
cache_log %[5]s
pid_filename %[6]s/pid
coredump_dir %[6]s
visible_hostname bench
pinger_enable off
netdb_filename none
client_db off
shutdown_lifetime 0 seconds
max_filedescriptors 4096
`, at.listen(), host, port, at.cache, at.log, at.dir))
	if err != nil {
		return nil, "", err
	}
	// Both in one process group and, if there is one, on the same small disk.
	p, err := at.launch("sh", "-c", `squid -N -z -f "$0" && exec squid -N -f "$0"`, config)
	return p, at.base(), err
}
