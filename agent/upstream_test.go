package agent

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/pureboot/pureboot/agent/admin"
	"github.com/pureboot/pureboot/agent/gateway"
)

// countingOrigin has one file at every path.
func countingOrigin(t *testing.T, body []byte) (url string, asked *atomic.Int64) {
	asked = new(atomic.Int64)
	o := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("X-Path", r.URL.Path)
		_, _ = w.Write(body)
	}))
	t.Cleanup(o.Close)
	return o.URL, asked
}

func TestUpstreamsWithoutCentral(t *testing.T) {
	body := bytes.Repeat([]byte("deb"), 100_000)
	origin, asked := countingOrigin(t, body)
	cfg := config(t, nil)
	cfg.Upstreams = []Upstream{{Prefix: "/", URL: origin}, {Prefix: "/mirror/debian/", URL: origin + "/debian"}}
	a := start(t, cfg)
	for range 2 {
		for path, want := range map[string]string{"/mirror/debian/pool/a.deb": "/debian/pool/a.deb", "/x": "/x"} {
			res, got, err := a.get(path)
			if err != nil || res.StatusCode != 200 || !bytes.Equal(got, body) || res.Header.Get("X-Path") != want {
				t.Errorf("%s: %d bytes, %v", path, len(got), err)
			}
		}
		eventually(t, "it is stored", func() bool { return a.cache.Stats().Entries == 2 })
	}
	if n := asked.Load(); n != 2 {
		t.Errorf("the origin was asked %d times", n)
	}
	eventually(t, "all of it is counted", func() bool { // an answer is, once it has been sent
		status, err := admin.ReadStatus(t.Context(), a.at["admin"])
		up := status.Upstreams["/"]
		return err == nil && len(status.Upstreams) == 2 && up.Requests == 2 && up.Hits == 1 && up.OriginRequests == 1 && up.OriginBytes == int64(len(body))
	})
	if _, script, err := a.get("/boot/" + mac); err != nil || !strings.HasPrefix(string(script), "#!ipxe\n") {
		t.Errorf("our own route: %v: %s", err, script)
	}
	if res, _, err := a.get("/images/linux"); err != nil || res.StatusCode != 503 {
		t.Errorf("our own route: %v, %v", res, err)
	}
	a.end(t)

	a = start(t, cfg)
	if res, got, err := a.get("/x"); err != nil || !bytes.Equal(got, body) || !strings.Contains(res.Header.Get("Cache-Status"), "PureBoot; hit") {
		t.Errorf("after a restart: %d bytes, %v", len(got), err)
	}
}

func TestTheManifestLeavesUpstreamsAlone(t *testing.T) {
	origin, asked := countingOrigin(t, []byte("x"))
	central := startCentral(t)
	central.put("images/linux", 1000)
	cfg := config(t, central)
	cfg.Upstreams = []Upstream{{Prefix: "/up/", URL: origin}}
	a := start(t, cfg)
	a.get("/up/a")
	eventually(t, "it is stored", func() bool { return a.cache.Stats().Entries == 1 })
	eventually(t, "the manifest is pulled", func() bool { return a.files.Epoch() == central.epoch })
	a.end(t)

	central.mu.Lock()
	central.epoch.Stream += "-restored" // so that all of it is pulled
	central.mu.Unlock()
	a = start(t, cfg)
	eventually(t, "the manifest is pulled", func() bool { return a.files.Epoch() == central.epoch })
	a.get("/up/a")
	if n := asked.Load(); n != 1 {
		t.Error("a pull of the manifest has removed an upstream's object")
	}
}

func TestUpstreamsInTheFile(t *testing.T) {
	c, err := Load(writeConfig(t, "upstreams:\n  - {prefix: /mirror/debian/, url: \"http://deb.example/debian/\", follow_redirects: true}\n  - prefix: /\n    url: https://x:8443\n"))
	if err != nil || len(c.Upstreams) != 2 || c.Upstreams[0] != (Upstream{"/mirror/debian/", "http://deb.example/debian/", true}) || c.Validate() != nil {
		t.Fatalf("loaded %+v, %v, %v", c.Upstreams, err, c.Validate())
	}
	if u, err := c.Upstreams[1].origin(); err != nil || u.String() != "https://x:8443/" {
		t.Errorf("origin %v, %v", u, err)
	}
	if _, err := Load(writeConfig(t, "upstreams:\n  - {prefx: /, url: http://x}\n")); err == nil || !strings.Contains(err.Error(), "prefx") {
		t.Errorf("a typo: %v", err)
	}
}

func TestFaultsOfUpstreams(t *testing.T) {
	c := Default()
	const good = "http://x/"
	c.Upstreams = []Upstream{
		{"up/", good, false},
		{"/up", good, false},
		{"", good, false},
		{"/a//b/", good, false},
		{"/a/../b/", good, false},
		{"//", good, false},
		{"/a b/", good, false},
		{"/a%20b/", good, false},
		{"/{a}/", good, false},
		{"/images/", good, false},
		{"/boot/x/", good, false},
		{"/api/v1/nodes/", good, false},
		{"/ok/", good, false},
		{"/ok/", good, false},
		{"/b1/", "ftp://x/", false},
		{"/b2/", "http:///x", false},
		{"/b3/", "x", false},
		{"/b4/", "http://u:hunter2@x/", false},
		{"/b5/", "http://x/?q", false},
		{"/b6/", "http://x/#f", false},
		{"/b7/", "", false},
		{"/b8/", "http://[::1/", false},
	}
	err := c.Validate()
	if err == nil {
		t.Fatal("they are taken")
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != len(c.Upstreams)-1 || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("%d faults, want %d:\n%v", len(lines), len(c.Upstreams)-1, err)
	}
	for _, line := range lines {
		if !strings.HasPrefix(line, "upstreams[") || strings.HasPrefix(line, "upstreams[12]") {
			t.Errorf("fault %q", line)
		}
	}
	if !gateway.Owns("/images/") {
		t.Error("/images/ is not ours")
	}
}

func TestUpgradesPassThroughTheAgent(t *testing.T) {
	o := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, buf, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+r.Header.Get("Upgrade")+"\r\n\r\n")
		line, _ := buf.ReadString('\n')
		_, _ = io.WriteString(c, "echo "+line)
	}))
	t.Cleanup(o.Close)
	cfg := config(t, nil)
	cfg.Upstreams = []Upstream{{Prefix: "/up/", URL: o.URL}}
	a := start(t, cfg)
	c, err := net.Dial("tcp", a.at["http"])
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, "GET /up/a HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	buf := bufio.NewReader(c)
	if res, err := http.ReadResponse(buf, nil); err != nil || res.StatusCode != 101 || res.Header.Get("Upgrade") != "websocket" {
		t.Fatalf("%v, %v", res, err)
	}
	_, _ = io.WriteString(c, "hello\n")
	if line, err := buf.ReadString('\n'); line != "echo hello\n" {
		t.Errorf("%q, %v", line, err)
	}
}

// TestACutThroughTheAgent: what the agent cannot finish does not look finished.
func TestACutThroughTheAgent(t *testing.T) {
	o := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		_, _ = w.Write(make([]byte, 100_000))
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}))
	t.Cleanup(o.Close)
	cfg := config(t, nil)
	cfg.Upstreams = []Upstream{{Prefix: "/up/", URL: o.URL}}
	a := start(t, cfg)
	if res, got, err := a.get("/up/a"); err == nil && res.StatusCode == 200 {
		t.Errorf("%d bytes that look whole", len(got))
	}
}
