package httpcache

import "sync/atomic"

// Stats counts what a Handler has done since it was made.
type Stats struct {
	Requests    int64 // of clients
	Hits        int64 // served from the store without asking
	Validated   int64 // served from the store after the origin confirmed it
	Stale       int64 // served from the store because the origin failed
	Misses      int64 // answered with what the origin was asked for
	Collapsed   int64 // answered with what it was asked for on behalf of others
	Passed      int64 // sent to the origin, or its answer, as they are
	Failures    int64 // answered by 502 or 504
	Invalidated int64 // resources forgotten because somebody changed them
	BytesSent   int64 // of bodies from the store

	OriginRequests int64 // sent, redirects that were followed included
	OriginFailures int64 // of these, that no answer came to
	OriginBytes    int64 // of bodies received
}

type counters struct {
	requests, hits, validated, stale, misses, collapsed, passed, failures, invalidated, sent atomic.Int64
	originRequests, originFailures, originBytes                                              atomic.Int64
}

// Stats returns a snapshot.
func (h *Handler) Stats() Stats {
	c := &h.count
	return Stats{
		Requests: c.requests.Load(), Hits: c.hits.Load(), Validated: c.validated.Load(), Stale: c.stale.Load(),
		Misses: c.misses.Load(), Collapsed: c.collapsed.Load(), Passed: c.passed.Load(), Failures: c.failures.Load(),
		Invalidated: c.invalidated.Load(), BytesSent: c.sent.Load(),
		OriginRequests: c.originRequests.Load(), OriginFailures: c.originFailures.Load(), OriginBytes: c.originBytes.Load(),
	}
}
