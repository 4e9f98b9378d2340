package httpcache

import "sync/atomic"

// Stats counts what a Handler has done since it was made.
type Stats struct {
	Requests    int64 `json:"requests"`    // of clients
	Hits        int64 `json:"hits"`        // served from the store without asking
	Validated   int64 `json:"validated"`   // served from the store after the origin confirmed it
	Stale       int64 `json:"stale"`       // served from the store because the origin failed
	Misses      int64 `json:"misses"`      // answered with what the origin was asked for
	Collapsed   int64 `json:"collapsed"`   // answered with what it was asked for on behalf of others
	Passed      int64 `json:"passed"`      // sent to the origin, or its answer, as they are
	Failures    int64 `json:"failures"`    // answered by 502 or 504
	Invalidated int64 `json:"invalidated"` // resources forgotten because somebody changed them
	BytesSent   int64 `json:"bytes_sent"`  // of bodies from the store

	OriginRequests int64 `json:"origin_requests"` // sent, redirects that were followed included
	OriginFailures int64 `json:"origin_failures"` // of these, that no answer came to
	OriginBytes    int64 `json:"origin_bytes"`    // of bodies received
	Failing        bool  `json:"failing"`         // the last of them got no answer
}

type counters struct {
	requests, hits, validated, stale, misses, collapsed, passed, failures, invalidated, sent atomic.Int64
	originRequests, originFailures, originBytes                                              atomic.Int64
	failing                                                                                  atomic.Bool
}

// Stats returns a snapshot.
func (h *Handler) Stats() Stats {
	c := &h.count
	return Stats{
		Requests: c.requests.Load(), Hits: c.hits.Load(), Validated: c.validated.Load(), Stale: c.stale.Load(),
		Misses: c.misses.Load(), Collapsed: c.collapsed.Load(), Passed: c.passed.Load(), Failures: c.failures.Load(),
		Invalidated: c.invalidated.Load(), BytesSent: c.sent.Load(),
		OriginRequests: c.originRequests.Load(), OriginFailures: c.originFailures.Load(), OriginBytes: c.originBytes.Load(),
		Failing: c.failing.Load(),
	}
}
