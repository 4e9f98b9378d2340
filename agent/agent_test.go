package agent

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pureboot/pureboot/agent/admin"
	"github.com/pureboot/pureboot/central/wire"
)

const mac = "52:54:00:12:34:56"

func TestAHerdOfHTTPAndTFTPClientsCostsOneTransfer(t *testing.T) {
	central := startCentral(t)
	body := central.put("bootloaders/ipxe.efi", 1<<20)
	a := start(t, config(t, central))
	var herd sync.WaitGroup
	for range 200 {
		herd.Go(func() {
			res, got, err := a.get("/bootloaders/ipxe.efi")
			if err != nil || res.StatusCode != 200 || !bytes.Equal(got, body) {
				t.Errorf("HTTP: %d bytes, %v", len(got), err)
			}
		})
	}
	for range 50 {
		herd.Go(func() {
			if got, err := a.fetch("ipxe.efi"); err != nil || !bytes.Equal(got, body) {
				t.Errorf("TFTP: %d bytes, %v", len(got), err)
			}
		})
	}
	herd.Wait()
	if sent := central.contentRequests("bootloaders/ipxe.efi"); sent != 1 {
		t.Errorf("central sent the file %d times, want once", sent)
	}
}

func TestTheAgentKeepsInStepWithCentral(t *testing.T) {
	central := startCentral(t)
	old := central.put("images/linux", 1000)
	central.nodes[mac] = wire.Boot{Node: wire.Node{ID: "6ba7b810-9dad-11d1-80b4-00c04fd430c8", MACAddress: mac, State: "active", Version: 1}}
	a := start(t, config(t, central))
	eventually(t, "the manifest is pulled", func() bool { return a.files.Epoch() == central.epoch })
	if _, got, err := a.get("/images/linux"); err != nil || !bytes.Equal(got, old) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if _, script, err := a.get("/boot/" + mac); err != nil || !strings.Contains(string(script), "active") {
		t.Errorf("%v: %s", err, script)
	}

	current := central.put("images/linux", 2000)
	central.mu.Lock()
	central.epoch.N = 2
	central.nodes[mac] = wire.Boot{Node: wire.Node{ID: "6ba7b810-9dad-11d1-80b4-00c04fd430c8", MACAddress: mac, State: "retired", Version: 2}}
	central.changed = []string{"6ba7b810-9dad-11d1-80b4-00c04fd430c8"}
	central.mu.Unlock()
	eventually(t, "the new version is known", func() bool { return a.files.Epoch().N == 2 })
	if _, got, err := a.get("/images/linux"); err != nil || !bytes.Equal(got, current) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	eventually(t, "the node's change is known", func() bool {
		_, script, err := a.get("/boot/" + mac)
		return err == nil && strings.Contains(string(script), "retired")
	})
	var last wire.Heartbeat
	eventually(t, "central is told", func() bool {
		central.mu.Lock()
		defer central.mu.Unlock()
		last = central.heartbeats[len(central.heartbeats)-1]
		return last.ContentEpoch.N == 2
	})
	if last.AgentVersion != "test" || last.BootID == "" || last.Services["http"] != "running" || last.NodeCacheEntries != 1 ||
		last.CacheEntries != 1 || last.DiskUsagePercent <= 0 || last.NodesSeenLastHour != 1 || last.NodeEpoch.Stream != "n1" {
		t.Errorf("the last heartbeat is %+v", last)
	}
}

func TestTheSiteGoesOnWithoutCentral(t *testing.T) {
	central := startCentral(t)
	body := central.put("images/linux", 300_000)
	central.nodes[mac] = wire.Boot{Node: wire.Node{ID: "6ba7b810-9dad-11d1-80b4-00c04fd430c8", MACAddress: mac, State: "active", Version: 1}}
	cfg := config(t, central)
	a := start(t, cfg)
	eventually(t, "the manifest is pulled", func() bool { return a.files.Epoch() == central.epoch })
	a.get("/images/linux")
	a.get("/boot/" + mac)
	eventually(t, "the file is in the cache", func() bool { return a.cache.Stats().Entries == 1 })
	a.end(t)
	central.Close()

	a = start(t, cfg)
	if res, got, err := a.get("/images/linux"); err != nil || !bytes.Equal(got, body) || !strings.Contains(res.Header.Get("Cache-Status"), "hit") {
		t.Errorf("HTTP: %d bytes, %v", len(got), err)
	}
	if got, err := a.fetch("images/linux"); err != nil || !bytes.Equal(got, body) {
		t.Errorf("TFTP: %d bytes, %v", len(got), err)
	}
	if _, script, err := a.get("/boot/" + mac); err != nil || !strings.Contains(string(script), "active") {
		t.Errorf("%v: %s", err, script)
	}
	if _, script, err := a.get("/boot/52:54:00:99:99:99"); err != nil || !strings.HasPrefix(string(script), "#!ipxe\n") || !strings.Contains(string(script), "cannot be reached") {
		t.Errorf("%v: %s", err, script)
	}
	if _, err := a.fetch("images/other"); err == nil || !strings.Contains(err.Error(), "code: 0") {
		t.Errorf("what is not here: %v", err)
	}
}

func TestAnAgentThatIsNotEnrolled(t *testing.T) {
	a := start(t, config(t, nil))
	if _, script, err := a.get("/boot/" + mac); err != nil || !strings.HasPrefix(string(script), "#!ipxe\n") || !strings.Contains(string(script), "pureboot-agent init") {
		t.Errorf("%v: %s", err, script)
	}
	if script, err := a.fetch("boot.ipxe"); err != nil || !strings.Contains(string(script), "http://"+a.at["http"]+"/boot/") {
		t.Errorf("%v: %s", err, script)
	}
	if res, _, err := a.get("/images/linux"); err != nil || res.StatusCode != 503 {
		t.Errorf("content: %v, %v", res, err)
	}
	status, err := admin.ReadStatus(t.Context(), a.at["admin"])
	if err != nil || status.Enrolled || status.Online || status.Version != "test" || status.Addresses["http"] != a.at["http"] || len(status.Services) != 3 {
		t.Errorf("status %+v, %v", status, err)
	}
}

func TestTheStatusOfAnEnrolledAgent(t *testing.T) {
	central := startCentral(t)
	central.put("images/linux", 1000)
	a := start(t, config(t, central))
	for range 4 {
		a.get("/images/linux")
		eventually(t, "the file is in the cache", func() bool { return a.cache.Stats().Entries == 1 })
	}
	var heard wire.Heartbeat
	eventually(t, "a heartbeat", func() bool {
		central.mu.Lock()
		defer central.mu.Unlock()
		if n := len(central.heartbeats); n > 0 {
			heard = central.heartbeats[n-1]
		}
		return heard.Seq > 0
	})
	status, err := admin.ReadStatus(t.Context(), a.at["admin"])
	if status.BootID == "" || status.BootID != heard.BootID || status.Seq < heard.Seq {
		t.Errorf("central has heard %s, %d; the status says %s, %d", heard.BootID, heard.Seq, status.BootID, status.Seq)
	}
	if err != nil || !status.Enrolled || !status.Online || status.SiteName != "Oslo" || status.CentralURL != central.URL || status.CacheEntries != 1 ||
		status.CacheSizeBytes != 1000 || status.CacheHitRate != 0.75 || status.ProtocolVersion != wire.ProtocolVersion {
		t.Errorf("status %+v, %v", status, err)
	}
}

func TestATransferUnderWayIsFinishedAtTheEnd(t *testing.T) {
	central := startCentral(t)
	central.gate = make(chan struct{})
	body := central.put("images/linux", 1<<20)
	a := start(t, config(t, central))
	res, err := http.Get("http://" + a.at["http"] + "/images/linux")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	tftp := make(chan error, 1)
	go func() {
		got, err := a.fetch("images/linux")
		if err == nil && !bytes.Equal(got, body) {
			err = fmt.Errorf("%d other bytes", len(got))
		}
		tftp <- err
	}()
	eventually(t, "both wait for the rest", func() bool { return a.cache.Stats().Coalesced == 1 })
	a.stop()
	eventually(t, "nobody else is let in", func() bool {
		conn, err := net.Dial("tcp", a.at["http"])
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
	close(central.gate)
	if got, err := io.ReadAll(res.Body); err != nil || !bytes.Equal(got, body) {
		t.Errorf("HTTP: %d bytes, %v", len(got), err)
	}
	if err := <-tftp; err != nil {
		t.Errorf("TFTP: %v", err)
	}
	a.end(t)
	http.DefaultClient.CloseIdleConnections()
}

func TestAPortThatIsTakenIsNamed(t *testing.T) {
	cfg := config(t, nil)
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	unix, err := admin.Listen(cfg.Listen.Admin)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close()
	log := slog.New(slog.DiscardHandler)
	for _, tt := range []struct {
		key, addr string
		take      func(*Listen)
	}{
		{"listen.http", tcp.Addr().String(), func(l *Listen) { l.HTTP = tcp.Addr().String() }},
		{"listen.tftp", udp.LocalAddr().String(), func(l *Listen) { l.TFTP = udp.LocalAddr().String() }},
		{"listen.admin", cfg.Listen.Admin, func(*Listen) {}},
	} {
		taken := cfg
		tt.take(&taken.Listen)
		_, err := New(t.Context(), taken, "test", log)
		if err == nil || !strings.Contains(err.Error(), tt.key) || !strings.Contains(err.Error(), tt.addr) {
			t.Errorf("%s: %v", tt.key, err)
		}
	}
	// None of those has kept anything open.
	unix.Close()
	start(t, cfg)
}

func TestTwoAgentsDoNotShareTheirData(t *testing.T) {
	cfg := config(t, nil)
	start(t, cfg)
	second := cfg
	second.Listen.Admin += ".2"
	_, err := New(t.Context(), second, "test", slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "in use by another process") || !strings.Contains(err.Error(), cfg.DataDir) {
		t.Errorf("a second agent: %v", err)
	}
}

func TestAnAgentThatCannotBegin(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	if _, err := New(t.Context(), Config{}, "test", log); err == nil || !strings.Contains(err.Error(), "data_dir") {
		t.Errorf("without a configuration: %v", err)
	}
	cfg := config(t, nil)
	if err := os.WriteFile(cfg.DataDir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(t.Context(), cfg, "test", log); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("with a file for a folder: %v", err)
	}
}

// TestADamagedEnrolment: the machines that the site knows boot all the same.
func TestADamagedEnrolment(t *testing.T) {
	for _, identity := range []string{"{", "{}", `{"central_url": "https://x", "ca": "x"}`} {
		cfg := config(t, nil)
		if err := os.MkdirAll(cfg.StateDir(), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(cfg.StateDir(), "identity.json"), []byte(identity), 0o600); err != nil {
			t.Fatal(err)
		}
		a := start(t, cfg)
		if _, script, err := a.get("/boot/" + mac); err != nil || !strings.HasPrefix(string(script), "#!ipxe\n") {
			t.Errorf("with %s: %q, %v", identity, script, err)
		}
		if s := a.status(t.Context()); s.Enrolled || s.Online || s.CentralURL != "" {
			t.Errorf("with %s: %+v", identity, s)
		}
		a.end(t)
	}
}

// manager is the service manager's end of the notification socket.
func manager(t *testing.T) (hear func() string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "sd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return func() string {
		t.Helper()
		conn.SetReadDeadline(time.Now().Add(patience))
		buf := make([]byte, 1000)
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		return string(buf[:n])
	}
}

func TestTheServiceManagerIsTold(t *testing.T) {
	hear := manager(t)
	a := start(t, config(t, nil))
	if got := hear(); got != "READY=1\nSTATUS=serving without central: not enrolled" {
		t.Errorf("told %q", got)
	}
	a.end(t)
	if got := hear(); got != "STOPPING=1" {
		t.Errorf("told %q", got)
	}
	a = start(t, config(t, startCentral(t)))
	if got := hear(); got != "READY=1\nSTATUS=serving Oslo" {
		t.Errorf("told %q", got)
	}
	a.end(t)
}

func TestTheWatchdogIsFed(t *testing.T) {
	hear := manager(t)
	t.Setenv("WATCHDOG_USEC", "40000")
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	start(t, config(t, nil))
	heard := map[string]int{}
	for heard["WATCHDOG=1"] < 3 {
		heard[hear()]++
	}
}

func TestAMissingServiceManagerIsNoReasonToEnd(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "/nonexistent/notify")
	a := start(t, config(t, nil))
	if _, _, err := a.get("/boot.ipxe"); err != nil {
		t.Error(err)
	}
}

func TestOneListenerIsEnough(t *testing.T) {
	cfg := config(t, nil)
	cfg.Listen.HTTP, cfg.Listen.Admin, cfg.Listen.Metrics = "", "", ""
	a := start(t, cfg)
	if len(a.at) != 1 {
		t.Errorf("listens at %v", a.at)
	}
	if script, err := a.fetch("autoexec.ipxe"); err != nil || !strings.HasPrefix(string(script), "#!ipxe\n") || !strings.Contains(string(script), "not an address") {
		t.Errorf("%v: %s", err, script)
	}
}

func TestNothingIsLeftRunning(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 3 {
		a := start(t, config(t, nil))
		a.get("/boot/" + mac)
		a.end(t)
	}
	eventually(t, "every goroutine has ended", func() bool { return runtime.NumGoroutine() <= before })
}
