package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/pureboot/pureboot/central/wire"
)

// reported has the agent report, and returns what central got: the second from now, as the next may be on its way.
func (c *realCentral) reported(t *testing.T, a *appliance) wire.Heartbeat {
	t.Helper()
	var before, got wire.Heartbeat
	c.change(func() { before = c.beat })
	eventually(t, "a heartbeat", func() bool {
		a.heart.Soon()
		c.mu.Lock()
		defer c.mu.Unlock()
		got = c.beat
		return got.Seq > before.Seq+1
	})
	return got
}

// from asks for a path as a machine with an address does.
func (a *appliance) from(ctx context.Context, address, path string) (int, []byte, error) {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: dialer.DialContext}, Timeout: patience}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+a.at["http"]+path, nil)
	if err != nil {
		return 0, nil, err
	}
	res, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return res.StatusCode, body, err
}

// TestTheReportSaysWhatWasDone: each figure of a heartbeat, as central gets it, against what the machines did.
func TestTheReportSaysWhatWasDone(t *testing.T) {
	c := startRealCentral(t)
	small := c.put(t, "bootloaders/ipxe.efi", noise(5000))
	other := c.put(t, "scripts/late.sh", noise(700))
	large := c.put(t, "images/initrd", noise(3<<20))
	c.call(t, 200, "PATCH", "/api/v1/sites/"+c.site, `{"heartbeat_seconds":2}`) // for one that falls into the time that central is away
	began := time.Now()
	a := startPair(t, c)

	first := c.reported(t, a)
	if first.CacheEntries != 0 || first.CacheSizeBytes != 0 || first.CacheHitRate != 0 || first.NodesSeenLastHour != 0 || first.NodeCacheEntries != 0 ||
		first.ActiveBoots != 0 || first.OfflineSeconds != 0 || first.DiskUsagePercent <= 0 || first.DiskUsagePercent > 100 {
		t.Errorf("before anything was done: %+v", first)
	}
	if len(first.Services) != 3 || first.Services["http"] != "running" || first.Services["tftp"] != "running" || first.Services["admin"] != "running" {
		t.Errorf("services %v", first.Services)
	}

	// Two files, asked for four times: two came from central.
	for range 2 {
		a.wantFile(t, "bootloaders/ipxe.efi", small)
		a.settled(t)
	}
	for range 2 {
		if got, err := a.fetch("scripts/late.sh"); err != nil || !bytes.Equal(got, other) {
			t.Fatalf("TFTP: %d bytes, %v", len(got), err)
		}
		a.settled(t)
	}
	// Three machines, one of them twice; central makes nodes of them.
	for _, i := range []int{1, 2, 3, 1} {
		if status, _, err := a.from(t.Context(), "127.0.0.1", fmt.Sprintf("/boot/52:54:00:00:00:%02x", i)); status != 200 || err != nil {
			t.Fatal(status, err)
		}
	}
	eventually(t, "the nodes are known", func() bool { n, err := a.nodes.Count(t.Context()); return n == 3 && err == nil })
	h := c.reported(t, a)
	if h.CacheEntries != 2 || h.CacheSizeBytes != int64(len(small)+len(other)) || h.CacheHitRate != 0.5 {
		t.Errorf("cache: %d entries, %d bytes, hit rate %v", h.CacheEntries, h.CacheSizeBytes, h.CacheHitRate)
	}
	if h.NodesSeenLastHour != 3 || h.NodeCacheEntries != 3 {
		t.Errorf("%d nodes seen, %d kept", h.NodesSeenLastHour, h.NodeCacheEntries)
	}
	if up, most := h.UptimeSeconds, int64(time.Since(began)/time.Second); up < 0 || up > most {
		t.Errorf("up for %d s, of %d at most", up, most)
	}
	if h.BootID != first.BootID || h.Seq <= first.Seq || h.ContentEpoch != a.files.Epoch() || h.NodeEpoch.Stream == "" || h.ConflictsPending != 0 {
		t.Errorf("heartbeat %+v after %+v", h, first)
	}

	a.boots(t, c, large)
	a.wasAway(t, c)
}

// boots has three machines boot, one of them over HTTP and TFTP and twice at that.
func (a *appliance) boots(t *testing.T, c *realCentral, body []byte) {
	hold := make(chan struct{})
	c.change(func() {
		c.lie = func(_ int, _ *http.Request, w *wireTap) { w.holdAt, w.hold = 1<<20, hold }
	})
	var machines sync.WaitGroup
	for _, address := range []string{"127.0.0.1", "127.0.0.1", "127.0.0.2", "127.0.0.3"} {
		machines.Go(func() {
			if status, got, err := a.from(t.Context(), address, "/images/initrd"); err != nil || status != 200 || !bytes.Equal(got, body) {
				t.Errorf("%s: %d, %d bytes, %v", address, status, len(got), err)
			}
		})
	}
	machines.Go(func() {
		if got, err := a.fetch("images/initrd"); err != nil || !bytes.Equal(got, body) {
			t.Errorf("TFTP: %d bytes, %v", len(got), err)
		}
	})
	eventually(t, "all machines are being served", func() bool { return a.gateway.Active() == 4 && len(a.server.Clients()) == 1 })
	if h := c.reported(t, a); h.ActiveBoots != 3 {
		t.Errorf("%d machines boot", h.ActiveBoots)
	}
	c.change(func() { c.lie = nil })
	close(hold)
	machines.Wait()
	eventually(t, "they are done", func() bool { return a.gateway.Active() == 0 && len(a.server.Clients()) == 0 })
	if h := c.reported(t, a); h.ActiveBoots != 0 {
		t.Errorf("%d machines boot although all are done", h.ActiveBoots)
	}
}

// wasAway takes central away and brings it back.
func (a *appliance) wasAway(t *testing.T, c *realCentral) {
	ask := func() error {
		_, err := a.client.BootByMAC(t.Context(), mac, "")
		if refused, ok := errors.AsType[*wire.Refusal](err); ok && refused.Gone() {
			return nil // which is an answer of central's
		}
		return err
	}
	if err := ask(); err != nil {
		t.Fatal(err)
	}
	c.change(func() { c.away = true })
	began := time.Now()
	for a.link.Online() {
		if ask() == nil {
			t.Fatal("central answers")
		}
	}
	eventually(t, "it is away for longer than a second", func() bool { return a.link.OfflineFor() > 1100*time.Millisecond })
	if s := a.status(t.Context()); s.Online || s.OfflineSeconds < 1 {
		t.Errorf("online is %v, offline for %d s", s.Online, s.OfflineSeconds)
	}
	c.change(func() { c.away = false })
	for !a.link.Online() {
		if err := ask(); err != nil {
			t.Fatal(err)
		}
	}
	most := time.Since(began)
	h := c.reported(t, a)
	if h.OfflineSeconds < 1 || h.OfflineSeconds > int64(math.Ceil(most.Seconds())) {
		t.Errorf("offline for %d s, away for %v", h.OfflineSeconds, most)
	}
	// Central tells the same to whoever asks it, once it has written it down.
	var health, metrics map[string]any
	eventually(t, "central knows of it", func() bool {
		health = c.call(t, 200, "GET", "/api/v1/sites/"+c.site+"/health", "")
		metrics = health["metrics"].(map[string]any)
		return metrics["offline_seconds"] == float64(h.OfflineSeconds)
	})
	cache := health["cache"].(map[string]any)
	for what, is := range map[string][2]any{
		"nodes_seen_last_hour": {metrics["nodes_seen_last_hour"], 3.0},
		"node_cache_entries":   {metrics["node_cache_entries"], 3.0},
		"active_boots":         {metrics["active_boots"], 0.0},
		"size_bytes":           {cache["size_bytes"], float64(h.CacheSizeBytes)},
		"entries":              {cache["entries"], 3.0},
		"hit_rate":             {cache["hit_rate"], h.CacheHitRate},
		"agent_status":         {health["agent_status"], "online"},
		"agent_version":        {health["agent_version"], "test"},
	} {
		if is[0] != is[1] {
			t.Errorf("central says of %s %v, the agent said %v", what, is[0], is[1])
		}
	}
}
