// Package httpcache is a shared HTTP cache (RFC 9111, RFC 9110 sections 13 and 14, RFC 5861, RFC 8246, RFC 9211): what it
// may keep, when it may use that again, and the Handler that does so with a cache.Store.
//
// A request's path: PrimaryKey names the resource; Evaluate looks at the responses stored for it and
// gives a Verdict: serve one of them, serve it and validate it meanwhile, validate it first, fetch, or
// pass the request through. What is served goes through CheckConditions and SelectRanges, which
// answer for the client's If-None-Match and Range. What is asked of the origin is made by
// Conditional or Resume; its answer is an Exchange. A 304 Freshens what Identify finds, CheckPart says
// how a 206 continues a part, a HEAD that does not agree Outdates, anything else is stored if Storable
// does not refuse it, and a failure may still be answered from the store, says ServeOnFailure. After an
// unsafe method Invalidates names the keys to be forgotten. CacheStatus tells the client.
//
// All of that is policy: none of these functions reads a clock, does I/O or keeps anything, and all may be
// called concurrently. Headers are in the canonical form of net/http. Those of requests are as they go
// to the origin, after RemoveHopByHop: else a field that Connection lists could select a response
// that it had no part in. The Handler has the clock, the store and the origin; an ask is its conversation
// with the origin, which all who want the same share.
//
// The index of the rules that are kept is in stories_test.go: tables of stories, a row a rule, told over sockets.
package httpcache
