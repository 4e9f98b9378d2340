package api

import (
	"context"
	"net/http"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/pureboot/pureboot/central/content"
	"github.com/pureboot/pureboot/central/fleet"
	"github.com/pureboot/pureboot/central/lifecycle"
	"github.com/pureboot/pureboot/central/store"
)

const (
	countsFor  = 5 * time.Second // for which what was counted in the database is told again, however many ask
	countsTime = 5 * time.Second // that the counting may take
	noRoute    = "none"          // the route of what no route is for
)

// metrics counts what is asked of central, and asks the rooms for the rest when somebody reads it.
type metrics struct {
	api      *api
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	took     *prometheus.HistogramVec

	mu      sync.Mutex
	counted time.Time // when the two below were
	counts  *store.Counts
	files   content.Status
}

func newMetrics(a *api) *metrics {
	m := &metrics{
		api: a, registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pureboot_central_http_requests_total",
			Help: "Requests, by route (none: there is no such) and status.",
		}, []string{"route", "code"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "pureboot_central_http_request_duration_seconds",
			Help:    "How long requests took, files to their last byte, by route.",
			Buckets: []float64{.005, .02, .1, .5, 2, 10},
		}, []string{"route"}),
	}
	m.registry.MustRegister(m.requests, m.took, m, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// metricsRoutes serve them, to whoever may read the rest.
func (a *api) metricsRoutes() {
	viewers := access{least: store.Viewer}
	a.specify(huma.Operation{
		OperationID: "get-metrics", Method: "GET", Path: "/metrics", Summary: "Read the metrics, for Prometheus", Tags: []string{"central"},
		Responses: map[string]*huma.Response{"200": {
			Description: "In Prometheus' text format", Content: map[string]*huma.MediaType{"text/plain": {Schema: &huma.Schema{Type: huma.TypeString}}},
		}},
	}, viewers)
	serve := promhttp.HandlerFor(a.metrics.registry, promhttp.HandlerOpts{DisableCompression: true}) // which is compact's
	a.handle("GET", "/metrics", viewers, serve.ServeHTTP)
}

// answered counts a request. An empty route is none.
func (m *metrics) answered(route string, status int, took time.Duration) {
	if route == "" {
		route = noRoute
	}
	if status == 0 { // net/http says so to the client, if he is still there
		status = http.StatusOK
	}
	m.requests.WithLabelValues(route, strconv.Itoa(status)).Inc()
	m.took.WithLabelValues(route).Observe(took.Seconds())
}

// read returns what there is in the database, nil if that cannot be read. It counts anew every few seconds at most.
func (m *metrics) read() (*store.Counts, content.Status) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if time.Since(m.counted) < countsFor {
		return m.counts, m.files
	}
	ctx, cancel := context.WithTimeout(context.Background(), countsTime)
	defer cancel()
	m.counts = nil
	counts, err := m.api.Store.Counts(ctx)
	if err == nil {
		m.files, err = m.api.Content.Status(ctx)
	}
	if err == nil {
		m.counts = &counts
	} else {
		m.api.Log.Warn("metrics are not whole", "err", err)
	}
	m.counted = time.Now()
	return m.counts, m.files
}

// Describe implements prometheus.Collector. What is sent says itself what it is.
func (m *metrics) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(out chan<- prometheus.Metric) {
	gauge, counter := sender(out, prometheus.GaugeValue), sender(out, prometheus.CounterValue)
	gauge("build_info", "1, for the program's version and the Go it was built with.", 1, "version", m.api.Version, "go_version", runtime.Version())

	heard, refused := m.api.Fleet.Heartbeats()
	counter("heartbeats_total", "Heartbeats of agents that were answered.", heard)
	counter("refused_heartbeats_total", "Heartbeats that were sent back because there were too many at once.", refused)

	for pool, s := range m.api.Store.Pools() {
		gauge("database_connections", "Connections to the database, by what they are for (SQLite: read, write; PostgreSQL: shared).", s.OpenConnections, "pool", pool)
		gauge("database_busy_connections", "Connections to the database that are in use.", s.InUse, "pool", pool)
		counter("database_waits_total", "Times that a connection was waited for.", s.WaitCount, "pool", pool)
		counter("database_waited_seconds_total", "How long connections were waited for.", s.WaitDuration.Seconds(), "pool", pool)
	}

	counts, files := m.read()
	if counts == nil {
		gauge("database_up", "0 if the database could not be read: what is counted there is missing then. Else 1.", 0)
		return
	}
	gauge("database_up", "0 if the database could not be read: what is counted there is missing then. Else 1.", 1)
	gauge("database_schema_version", "Version of the last migration, as YYYYMMDDhhmmss.", counts.Schema)
	gauge("sites", "Sites.", counts.Sites)
	gauge("groups", "Groups that are no sites.", counts.Groups)
	for _, state := range lifecycle.States {
		gauge("nodes", "Nodes, by state.", counts.Nodes[string(state)], "state", string(state))
	}
	offline := counts.Agents[fleet.Offline] + counts.Agents[""] // which has enrolled and not been heard
	for status, n := range map[string]int{fleet.Online: counts.Agents[fleet.Online], fleet.Degraded: counts.Agents[fleet.Degraded], fleet.Offline: offline} {
		gauge("agents", "Agents that are enrolled, by status.", n, "status", status)
	}
	for _, state := range lifecycle.CommandStates {
		gauge("commands", "Commands to agents that are kept, by state.", counts.Commands[string(state)], "state", string(state))
	}
	gauge("pending_claims", "Claims of sites to nodes that wait for a decision.", counts.Claims)
	gauge("pending_conflicts", "Conflicts that nobody has resolved.", counts.Conflicts)
	gauge("content_files", "Boot files.", files.Files)
	gauge("content_blobs", "Different contents, previous versions among them.", files.Blobs)
	gauge("content_size_bytes", "Size of all contents.", files.Bytes)
	gauge("content_free_bytes", "Free space on the disk of the boot files.", files.FreeBytes)
	gauge("content_uploads", "Uploads that wait for bytes.", files.Uploads)
}

// emit sends a metric's value, with its labels as names and values in turn.
type emit func(name, help string, value any, labels ...string)

func sender(out chan<- prometheus.Metric, kind prometheus.ValueType) emit {
	return func(name, help string, value any, labels ...string) {
		var number float64
		switch value := value.(type) {
		case int:
			number = float64(value)
		case int64:
			number = float64(value)
		case float64:
			number = value
		}
		var names, values []string
		for i := 0; i < len(labels); i += 2 {
			names, values = append(names, labels[i]), append(values, labels[i+1])
		}
		out <- prometheus.MustNewConstMetric(prometheus.NewDesc("pureboot_central_"+name, help, names, nil), kind, number, values...)
	}
}
