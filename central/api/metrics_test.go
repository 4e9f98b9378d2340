package api

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/pureboot/pureboot/central/wire"
)

func TestTheMetricsSayHowCentralIs(t *testing.T) {
	c := newCentral(t)
	berlin, rome := c.site("berlin"), c.site("rome")
	agent := c.enrol(berlin)
	c.enrol(rome)
	must[wire.HeartbeatAnswer](c, 200, "POST", wire.PathHeartbeat, agent, "{}")
	for i, state := range []string{"discovered", "pending", "pending"} {
		must[wire.Node](c, 201, "POST", "/api/v1/nodes", c.operator, object{"mac_address": fmt.Sprintf("52:54:00:00:00:%02x", i), "home_site_id": rome.ID, "state": state})
	}
	c.do("POST", wire.PathNodes+"/register", agent, wire.Registration{MACAddress: "52:54:00:00:00:00"}) // is claimed
	must[object](c, 202, "POST", "/api/v1/sites/"+berlin.ID.String()+"/sync", c.operator, object{})
	c.do("PUT", wire.PathContent+"/images/linux", c.operator, strings.Repeat("x", 1000))
	c.do("GET", "/no/such", c.viewer, nil)
	c.do("GET", "/api/v1/nodes/7c9e6679-7425-40de-944b-e07fc1f90ae7", c.viewer, nil)

	r := c.do("GET", "/metrics", c.viewer, nil)
	if r.status != 200 || !strings.HasPrefix(r.header.Get("Content-Type"), "text/plain") {
		t.Fatalf("%d as %s: %s", r.status, r.header.Get("Content-Type"), r.body)
	}
	for _, line := range []string{
		`build_info{go_version=`, `sites 2`, `groups 0`, `nodes{state="pending"} 2`, `nodes{state="discovered"} 1`, `nodes{state="retired"} 0`,
		`agents{status="offline"}`, `commands{state="queued"} 1`, `commands{state="failed"} 0`, `pending_claims 1`, `pending_conflicts 0`,
		`content_files 1`, `content_blobs 1`, `content_size_bytes 1000`, `content_uploads 0`, `heartbeats_total 1`, `refused_heartbeats_total 0`,
		`database_up 1`, `database_connections{pool="write"} 1`, `database_schema_version 2.0`,
		`http_requests_total{code="201",route="POST /api/v1/nodes"} 3`, `http_requests_total{code="404",route="GET /api/v1/nodes/{id}"} 1`,
		`http_requests_total{code="404",route="none"} 1`, `http_request_duration_seconds_count{route="POST /api/v1/nodes"} 3`,
	} {
		if !strings.Contains(string(r.body), "\npureboot_central_"+line) {
			t.Errorf("no %s", line)
		}
	}
	if strings.Contains(string(r.body), "52:54") || strings.Contains(string(r.body), "berlin") {
		t.Error("they name a machine or a site")
	}

	// What is in the database is counted once for all who ask within some seconds; requests are counted always.
	c.site("paris")
	again := string(c.do("GET", "/metrics", c.viewer, nil).body)
	if !strings.Contains(again, "\npureboot_central_sites 2\n") || !strings.Contains(again, `{code="200",route="GET /metrics"} 1`) {
		t.Error("they are counted anew, or requests are not")
	}
	c.api.metrics.counted = c.api.metrics.counted.Add(-countsFor)
	if later := string(c.do("GET", "/metrics", c.viewer, nil).body); !strings.Contains(later, "\npureboot_central_sites 3\n") {
		t.Error("they are not counted anew")
	}

	// Without the database there is the rest.
	c.api.metrics.counted = c.api.metrics.counted.Add(-countsFor)
	c.store.Close()
	families, err := c.api.metrics.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		switch f.GetName() {
		case "pureboot_central_database_up":
			if f.GetMetric()[0].GetGauge().GetValue() != 0 {
				t.Error("a closed database is up")
			}
		case "pureboot_central_sites":
			t.Error("the sites of a closed database are known")
		}
	}
}

func TestTheMetricsAreDocumented(t *testing.T) {
	c := newCentral(t)
	c.do("GET", "/healthz", "", nil)
	families, err := c.api.metrics.registry.Gather()
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
	var want, rows []string
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "pureboot_") {
			continue
		}
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, "`"+l.GetName()+"`")
		}
		want = append(want, fmt.Sprintf("| `%s` | %s | %s | %s |", f.GetName(), strings.ToLower(f.GetType().String()), strings.Join(labels, " "), f.GetHelp()))
	}
	text, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "| `pureboot_central_") {
			rows = append(rows, strings.TrimSuffix(line, "\n"))
		}
	}
	if got, want := strings.Join(rows, "\n"), strings.Join(want, "\n"); got != want {
		t.Errorf("docs/metrics.md has\n%s\nwant\n%s", got, want)
	}
}
