package agent

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/pureboot/pureboot/agent/admin"
	"github.com/pureboot/pureboot/agent/cache"
)

// TestACacheThatCannotBeOpened: the agent serves everything all the same, and says what is wrong.
func TestACacheThatCannotBeOpened(t *testing.T) {
	body := bytes.Repeat([]byte("deb"), 100_000)
	origin, _ := countingOrigin(t, body)
	central := startCentral(t)
	image := central.put("images/linux", 600_000)
	cfg := config(t, central)
	cfg.Upstreams = []Upstream{{Prefix: "/up/", URL: origin}}
	if err := os.WriteFile(cfg.CacheDir(), nil, 0o600); err != nil { // where a folder should be
		t.Fatal(err)
	}
	a := start(t, cfg)
	for range 2 {
		for path, want := range map[string][]byte{"/up/a": body, "/images/linux": image} {
			if res, got, err := a.get(path); err != nil || res.StatusCode != 200 || !bytes.Equal(got, want) {
				t.Errorf("%s: %d bytes, %v", path, len(got), err)
			}
		}
		if got, err := a.fetch("images/linux"); err != nil || !bytes.Equal(got, image) {
			t.Errorf("TFTP: %d bytes, %v", len(got), err)
		}
	}
	if res, _, err := a.get("/boot/" + mac); err != nil || res.StatusCode != 200 {
		t.Errorf("a script: %v, %v", res, err)
	}
	status, err := admin.ReadStatus(t.Context(), a.at["admin"])
	if err != nil || status.Cache.Disk.State != cache.DiskFailing || status.Cache.Disk.Error == "" || status.Cache.Disk.Since.IsZero() {
		t.Errorf("status %+v, %v", status.Cache.Disk, err)
	}
}

// TestAClientThatStalls holds up neither the fill nor anybody else, and is served on when it goes on.
func TestAClientThatStalls(t *testing.T) {
	const size = 24 << 20
	body := make([]byte, size)
	for i := range body {
		body[i] = byte(i * 7 >> 3)
	}
	origin, asked := countingOrigin(t, body)
	cfg := config(t, nil)
	cfg.Upstreams = []Upstream{{Prefix: "/up/", URL: origin}}
	a := start(t, cfg)
	conn, err := net.Dial("tcp", a.at["http"])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// Less than a few of loopback's segments of 64 KiB would have the kernel send one each 200 ms.
	if err := conn.(*net.TCPConn).SetReadBuffer(256 << 10); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(conn, "GET /up/a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	eventually(t, "the fill has begun", func() bool { return a.cache.Stats().Misses == 1 })
	var others sync.WaitGroup
	for range 10 {
		others.Go(func() {
			if res, got, err := a.get("/up/a"); err != nil || res.StatusCode != 200 || !bytes.Equal(got, body) {
				t.Errorf("another: %d bytes, %v", len(got), err)
			}
		})
	}
	others.Wait()
	eventually(t, "it is stored", func() bool { return a.cache.Stats().Entries == 1 })
	if n := asked.Load(); n != 1 {
		t.Errorf("the origin was asked %d times", n)
	}
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(res.Body); err != nil || !bytes.Equal(got, body) {
		t.Errorf("who stalled gets %d bytes, %v", len(got), err)
	}
	http.DefaultClient.CloseIdleConnections()
}
