package httpcache

import (
	"net/http"
	"time"
)

// Action is what to do with a request.
type Action uint8

// The actions of a Verdict.
const (
	Pass             Action = iota // to the origin as it is, and store nothing
	Fetch                          // from the origin, and store it if that may be
	Validate                       // ask the origin whether Stored still holds, then serve one or the other
	Serve                          // Stored
	ServeAndValidate               // Stored, and validate it meanwhile
	Unavailable                    // 504: the client does not want to have the origin asked
)

// Reason is why. Its text is one word or a few, for logs and for Cache-Status.
type Reason string

// The reasons of a Verdict. RFC 9111 unless another one is named.
const (
	ByMethod             Reason = "method"                 // section 2: only GET and HEAD are looked up
	ByContent            Reason = "request content"        // its bytes are part of no key
	URIMiss              Reason = "uri-miss"               // nothing is stored
	VaryMiss             Reason = "vary-miss"              // not for such a request, section 4.1
	HeadOnly             Reason = "head only"              // stored for HEAD, asked by GET
	Fresh                Reason = "fresh"                  // section 4.2
	Stale                Reason = "stale"                  // section 4.2
	MustRevalidate       Reason = "must-revalidate"        // stale, and not to be used so: section 4.2.4
	ResponseNoCache      Reason = "no-cache in response"   // section 5.2.2.4
	RequestNoCache       Reason = "no-cache in request"    // section 5.2.1.4
	RequestMaxAge        Reason = "max-age in request"     // section 5.2.1.1
	RequestMinFresh      Reason = "min-fresh in request"   // section 5.2.1.3
	RequestMaxStale      Reason = "max-stale in request"   // stale, and the client takes it so: section 5.2.1.2
	StaleWhileRevalidate Reason = "stale-while-revalidate" // stale, but in the window: RFC 5861 section 3
)

// Verdict is what Evaluate says of a request.
type Verdict struct {
	Action Action
	Reason Reason
	// Stored is the response that the verdict is about. With Fetch it may be there too, for ServeOnFailure:
	// it has nothing that it could be validated by. Nil if none is stored.
	Stored *Stored
	Age    time.Duration // of Stored, 0 to 2^31 s
	TTL    time.Duration // for how much longer Stored is fresh; 0 or less once it is stale
}

// Evaluate decides how to answer a request for whose primary key variants are stored (RFC 9111
// section 4). Of the request it reads method, header and length of content.
//
// A request's directives are advice (RFC 9111 section 5.2.1). All are taken, but for max-age and
// min-fresh on a fresh response that is immutable (RFC 8246 section 2).
func Evaluate(r *http.Request, variants []*Stored, now time.Time) Verdict {
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		return Verdict{Action: Pass, Reason: ByMethod}
	case r.ContentLength != 0:
		return Verdict{Action: Pass, Reason: ByContent}
	}
	c := ParseRequestControl(r.Header)
	s, selected := choose(r, variants)
	v := Verdict{Action: Fetch, Stored: s}
	switch {
	case s != nil:
		v.Age, v.TTL = s.Age(now), s.TTL(now)
		v.Action, v.Reason = s.judge(c, v.Age, v.TTL)
	case selected:
		v.Reason = HeadOnly
	case len(variants) > 0:
		v.Reason = VaryMiss
	default:
		v.Reason = URIMiss
	}
	if c.OnlyIfCached && (v.Action == Fetch || v.Action == Validate) {
		v.Action = Unavailable // section 5.2.1.7
	}
	return v
}

func (s *Stored) judge(c RequestControl, age, ttl time.Duration) (Action, Reason) {
	ask := Validate
	if s.Validators.None() {
		ask = Fetch
	}
	lasting := s.Control.Immutable && ttl > 0
	switch {
	case s.Control.NoCache.All:
		return ask, ResponseNoCache
	case c.NoCache:
		return ask, RequestNoCache
	case c.MaxAge.Given && age > c.MaxAge.Value && !lasting:
		return ask, RequestMaxAge
	case c.MinFresh.Given && ttl < c.MinFresh.Value && !lasting:
		return ask, RequestMinFresh
	case ttl > 0:
		return Serve, Fresh
	case s.neverStale():
		return ask, MustRevalidate
	case c.MaxStale.Given && -ttl <= c.MaxStale.Value:
		return Serve, RequestMaxStale
	case c.MaxAge.Given && !c.MaxStale.Given:
		return ask, Stale // section 5.2.1.1: with max-age alone, a stale response is not wished for
	case s.Control.StaleWhileRevalidate.Given && -ttl <= s.Control.StaleWhileRevalidate.Value:
		return ServeAndValidate, StaleWhileRevalidate
	}
	return ask, Stale
}

// Failure is how asking the origin went wrong: the status it answered, or NoAnswer.
type Failure int

// NoAnswer is an origin that cannot be reached or did not answer in time. Who has agreed with an
// origin on more statuses to be failures gives them as NoAnswer.
const NoAnswer Failure = 0

// ServeOnFailure is whether s, which Evaluate chose for r, may be served in place of the failure to
// fetch or validate it. It may from 500, 502, 503, 504 and from no answer (RFC 9111 sections 4.2.4 and
// 4.3.3), within all stale-if-error that were given (RFC 5861 section 4), and never where a directive
// forbids to use it stale. A client's no-cache and max-age do not stand in the way: they are wishes, and
// nobody can fulfil them now. Where it may not, no answer means 504 (RFC 9111 section 5.2.2.2).
func ServeOnFailure(r *http.Request, s *Stored, failure Failure, now time.Time) bool {
	switch failure {
	case NoAnswer, http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
	default:
		return false
	}
	if s == nil || s.Control.NoCache.All {
		return false
	}
	ttl := s.TTL(now)
	if ttl > 0 {
		return true
	}
	within := func(window Seconds) bool { return !window.Given || -ttl <= window.Value }
	return !s.neverStale() && within(s.Control.StaleIfError) && within(ParseRequestControl(r.Header).StaleIfError)
}
