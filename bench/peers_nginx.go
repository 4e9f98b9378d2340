package main

import (
	"context"
	"fmt"
	"os"
	"strings"
)

// nginxPeers are nginx's proxy_cache as its documentation tells to set it up against herds, and the same with the
// slice module, which fetches pieces of 1 MiB.
func nginxPeers() []*peer {
	return []*peer{
		{name: "nginx", version: nginxVersion, start: startNginx(`
      proxy_cache_key $uri;`)},
		{name: "nginx-slice", version: nginxVersion, start: startNginx(`
      slice 1m;
      proxy_cache_key $uri$slice_range;
      proxy_set_header Range $slice_range;`)},
	}
}

func nginxVersion(ctx context.Context, _ *bench) (string, error) {
	out, err := run(ctx, "", "nginx", "-v")
	if err != nil {
		return "", fmt.Errorf("%w (apt-get install nginx-light)", err)
	}
	_, version, _ := strings.Cut(strings.TrimSpace(out), "nginx/")
	return "nginx " + version, nil
}

func startNginx(location string) func(context.Context, place) (*process, string, error) {
	return func(_ context.Context, at place) (*process, string, error) {
		user := ""
		if os.Getuid() == 0 {
			user = "user root;"
		}
		config, err := at.write("nginx.conf", fmt.Sprintf(`%[1]s
daemon off;
worker_processes auto;
pid %[2]s/pid;
error_log %[2]s/log error;
events { worker_connections 4096; }
http {
  access_log off;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 100000000;
  client_body_temp_path %[2]s/body;
  proxy_temp_path %[2]s/proxy;
  fastcgi_temp_path %[2]s/fastcgi;
  uwsgi_temp_path %[2]s/uwsgi;
  scgi_temp_path %[2]s/scgi;
  proxy_cache_path %[3]s levels=1:2 keys_zone=cache:50m max_size=20g inactive=7d use_temp_path=off;
  upstream origin {
    server %[4]s;
    keepalive 32;
  }
  server {
    listen %[5]s backlog=4096;
    location / {
      proxy_pass http://origin;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_cache cache;
      proxy_cache_valid 200 206 1d;
      proxy_cache_lock on;
      proxy_cache_lock_timeout 60s;
      proxy_cache_lock_age 60s;
      proxy_cache_use_stale error timeout updating http_500 http_502 http_503 http_504;%[6]s
    }
  }
}
`, user, at.dir, at.cache, at.origin.http.addr, at.listen(), location))
		if err != nil {
			return nil, "", err
		}
		p, err := at.launch("nginx", "-p", at.dir, "-c", config, "-e", at.log)
		return p, at.base(), err
	}
}
