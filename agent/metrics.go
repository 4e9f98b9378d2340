package agent

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/pureboot/pureboot/agent/cache"
	"github.com/pureboot/pureboot/agent/content"
	"github.com/pureboot/pureboot/agent/gateway"
	"github.com/pureboot/pureboot/agent/httpcache"
	"github.com/pureboot/pureboot/agent/uplink"
	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/tftp"
)

// collectTime bounds the questions to the node store that one reading of the metrics asks.
const collectTime = 5 * time.Second

// newRegistry has the agent's metrics and those of its process, and nothing that is global.
func newRegistry(a *Agent) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collector{a}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// metricsHandler serves /metrics, and nothing else.
func metricsHandler(r *prometheus.Registry) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(r, promhttp.HandlerOpts{}))
	return mux
}

// snapshot is what the rooms have counted, as of one reading.
type snapshot struct {
	version   string
	cache     cache.Stats
	usage     map[string]cache.Usage
	content   content.Stats
	variants  content.VariantStats
	gateway   gateway.Stats
	upstreams map[string]httpcache.Stats
	tftp      *tftpCounts
	enrolled  bool
	online    bool
	offline   time.Duration
	epoch     wire.Epoch
	seen      int
	sync      uplink.SyncState
	missing   int // files that the next sync would fetch
	nodes     int // -1: not readable
	outbox    int // likewise
}

func (a *Agent) snapshot() snapshot {
	ctx, cancel := context.WithTimeout(context.Background(), collectTime)
	defer cancel()
	s := snapshot{
		version: a.version, cache: a.cache.Stats(), usage: a.cache.Usage(), content: a.files.Stats(), variants: a.files.VariantStats(), gateway: a.gateway.Stats(),
		upstreams: map[string]httpcache.Stats{}, tftp: &a.transfers, enrolled: a.client != nil,
		online: a.client != nil && a.link.Online(), offline: a.link.OfflineFor(), epoch: a.files.Epoch(), seen: a.nodes.SeenWithin(time.Hour),
	}
	for prefix, h := range a.upstreams {
		s.upstreams[prefix] = h.Stats()
	}
	if a.syncer != nil {
		s.sync, s.missing = a.syncer.State(), a.files.Missing()
	}
	var err error
	if s.nodes, err = a.nodes.Count(ctx); err != nil {
		s.nodes = -1
	}
	if s.outbox, err = a.nodes.Waiting(ctx); err != nil {
		s.outbox = -1
	}
	return s
}

// emit gives a metric's value, with those of its labels in their order.
type emit func(value float64, labels ...string)

// metric is one of the agent's own.
type metric struct {
	name, help string
	labels     []string
	kind       prometheus.ValueType
	from       func(*snapshot, emit)
	desc       *prometheus.Desc // of all that
}

func newMetric(name, help string, kind prometheus.ValueType, from func(*snapshot, emit), labels []string) metric {
	name = "pureboot_agent_" + name
	return metric{name, help, labels, kind, from, prometheus.NewDesc(name, help, labels, nil)}
}

func counter(name, help string, from func(*snapshot, emit), labels ...string) metric {
	return newMetric(name, help, prometheus.CounterValue, from, labels)
}

func gauge(name, help string, from func(*snapshot, emit), labels ...string) metric {
	return newMetric(name, help, prometheus.GaugeValue, from, labels)
}

// one is a metric without labels.
func one[T int | int64 | float64](value func(*snapshot) T) func(*snapshot, emit) {
	return func(s *snapshot, out emit) { out(float64(value(s))) }
}

// collector reads the rooms' counters when somebody reads the metrics: counting costs a machine's request nothing more.
type collector struct{ agent *Agent }

// Describe implements prometheus.Collector.
func (c collector) Describe(out chan<- *prometheus.Desc) {
	for _, m := range metrics {
		out <- m.desc
	}
}

// Collect implements prometheus.Collector.
func (c collector) Collect(out chan<- prometheus.Metric) {
	s := c.agent.snapshot()
	for _, m := range metrics {
		m.from(&s, func(value float64, labels ...string) {
			out <- prometheus.MustNewConstMetric(m.desc, m.kind, value, labels...)
		})
	}
}

// tftpCounts counts transfers that ended.
type tftpCounts struct{ done, aborted, failed, bytes atomic.Int64 }

func (c *tftpCounts) ended(t tftp.Transfer) {
	switch {
	case t.Err == nil:
		c.done.Add(1)
	case errors.Is(t.Err, tftp.ErrAborted):
		c.aborted.Add(1)
	default:
		c.failed.Add(1)
	}
	c.bytes.Add(t.Bytes)
}
