package agent

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/pureboot/pureboot/agent/admin"
	"github.com/pureboot/pureboot/agent/cache"
)

// row is how the documentation has a metric.
func (m metric) row() string {
	kind, labels := "gauge", ""
	if m.kind == prometheus.CounterValue {
		kind = "counter"
	}
	if len(m.labels) > 0 {
		labels = "`" + strings.Join(m.labels, "` `") + "`"
	}
	return fmt.Sprintf("| `%s` | %s | %s | %s |", m.name, kind, labels, m.help)
}

func TestTheMetricsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	var rows, want []string
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "| `pureboot_agent_") {
			rows = append(rows, strings.TrimSuffix(line, "\n"))
		}
	}
	for _, m := range metrics {
		want = append(want, m.row())
	}
	if got, want := strings.Join(rows, "\n"), strings.Join(want, "\n"); got != want {
		t.Errorf("docs/metrics.md has\n%s\nwant\n%s", got, want)
	}
}

func TestTheMetricsAreNamedAsIsUsual(t *testing.T) {
	a := start(t, config(t, nil))
	families, err := a.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "pureboot_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
	if err != nil {
		t.Error(err)
	}
}

func TestTheMetricsAreServedOnTheirAddressAndOnTheSocket(t *testing.T) {
	a := start(t, config(t, nil))
	for _, transport := range []*http.Transport{
		{DisableKeepAlives: true, Dial: func(string, string) (net.Conn, error) { return net.Dial("tcp", a.at["metrics"]) }},
		{DisableKeepAlives: true, Dial: func(string, string) (net.Conn, error) { return net.Dial("unix", a.at["admin"]) }},
	} {
		client := &http.Client{Transport: transport}
		got := scrape(t, client)
		if got[`pureboot_agent_build_info{go_version="`+goVersion()+`",protocol="1",version="test"}`] != 1 || got["go_goroutines"] < 5 || got["process_start_time_seconds"] == 0 {
			t.Errorf("metrics %v", got)
		}
	}
	res, err := http.Get("http://" + a.at["metrics"] + "/")
	if err != nil || res.StatusCode != 404 {
		t.Errorf("elsewhere: %v, %v", res, err)
	}
	res.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if res, _, err := a.get("/metrics"); err != nil || res.StatusCode != 404 {
		t.Errorf("among the machines: %v, %v", res, err)
	}
}

func TestADiskThatIsFullIsSeenEverywhere(t *testing.T) {
	central := startCentral(t)
	body := central.put("images/linux", 1000)
	a := start(t, config(t, central))
	a.cache.SetLimits(1e9, 1<<60)
	if _, got, err := a.get("/images/linux"); err != nil || !bytes.Equal(got, body) {
		t.Errorf("the machine gets %d bytes, %v", len(got), err)
	}
	socket := admin.NewClient(a.at["admin"])
	var sum admin.Cache
	if err := socket.Call(t.Context(), http.MethodGet, admin.PathCache, nil, nil, &sum); err != nil || sum.Disk.State != cache.DiskFull || sum.Disk.Error == "" || sum.Disk.Since.IsZero() {
		t.Errorf("the cache's sum has %+v, %v", sum.Disk, err)
	}
	status, err := admin.ReadStatus(t.Context(), a.at["admin"])
	if err != nil || status.Cache.Disk.State != cache.DiskFull || !strings.Contains(status.Services["cache"], "full") {
		t.Errorf("the status has %+v, %v, %v", status.Cache.Disk, status.Services, err)
	}
	got := scrape(t, &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true, Dial: func(string, string) (net.Conn, error) { return net.Dial("tcp", a.at["metrics"]) },
	}})
	for state, want := range map[string]float64{"ok": 0, "full": 1, "failing": 0} {
		if n, ok := got[`pureboot_agent_cache_disk_state{state="`+state+`"}`]; !ok || n != want {
			t.Errorf("the metric of %s is %v, want %v", state, n, want)
		}
	}
	eventually(t, "central is told", func() bool {
		central.mu.Lock()
		defer central.mu.Unlock()
		n := len(central.heartbeats)
		return n > 0 && strings.Contains(central.heartbeats[n-1].Services["cache"], "full")
	})
}

func TestATakenMetricsPortKeepsNoMachineFromBooting(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	cfg := config(t, nil)
	cfg.Listen.Metrics = taken.Addr().String()
	a := start(t, cfg)
	if _, script, err := a.get("/boot/" + mac); err != nil || !strings.HasPrefix(string(script), "#!ipxe\n") {
		t.Errorf("%v: %s", err, script)
	}
	if _, ok := a.at["metrics"]; ok {
		t.Errorf("listens at %v", a.at)
	}
}
