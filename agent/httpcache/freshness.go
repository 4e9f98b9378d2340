package httpcache

import (
	"net/http"
	"time"
)

const (
	// heuristicShare is the part of a response's age at the time it was made for which it is fresh if
	// its origin does not say (RFC 9111 section 4.2.2), as a divisor.
	heuristicShare = 10
	// maxHeuristic bounds that time: a guess should not outlive the day.
	maxHeuristic = 24 * time.Hour
)

// Age is current_age of RFC 9111 section 4.2.3, 0 to 2^31 s. It does not decrease as now increases.
func (s *Stored) Age(now time.Time) time.Duration {
	return clampDelta(s.initialAge + clampDelta(now.Sub(s.Received)))
}

// TTL is for how much longer the response is fresh. It is not fresh at 0 (RFC 9111 section 4.2), and
// has been stale for -TTL below.
func (s *Stored) TTL(now time.Time) time.Duration { return s.Lifetime - s.Age(now) }

// neverStale is whether using the response stale is forbidden: by a directive (RFC 9111 section
// 4.2.4), of which s-maxage says the same as proxy-revalidate (section 5.2.2.10).
func (s *Stored) neverStale() bool {
	return s.Control.NoCache.All || s.Control.MustRevalidate || s.Control.ProxyRevalidate || s.Control.SMaxAge.Given
}

// lifetime is freshness_lifetime of a shared cache (RFC 9111 section 4.2.1).
func lifetime(status int, h http.Header, c ResponseControl, date time.Time) time.Duration {
	switch {
	case c.SMaxAge.Given:
		return c.SMaxAge.Value
	case c.MaxAge.Given:
		return c.MaxAge.Value
	case len(h["Expires"]) > 0:
		// No date, "0" above all, means expired (section 5.3); of several, the first counts.
		expires, ok := parseDate(trim(h["Expires"][0]), date)
		if !ok {
			return 0
		}
		return clampDelta(expires.Sub(date))
	case !c.Public && !heuristicallyCacheable(status):
		return 0
	}
	value, _ := single(h, "Last-Modified")
	modified, ok := parseDate(value, date)
	if !ok {
		return 0
	}
	return min(clampDelta(date.Sub(modified)/heuristicShare), maxHeuristic)
}

// initialAge is corrected_initial_age of RFC 9111 section 4.2.3.
func initialAge(h http.Header, date, requested, received time.Time) time.Duration {
	apparent := clampDelta(received.Sub(date))
	corrected := ageValue(h) + clampDelta(received.Sub(requested))
	return clampDelta(max(apparent, corrected))
}

// ageValue reads Age: the first member counts, and what is no number is ignored (RFC 9111 section 5.1).
func ageValue(h http.Header) time.Duration {
	for m := range members(h["Age"]) {
		age, _ := parseDelta(m)
		return age
	}
	return 0
}

// originated is when a response was made: its Date, or when it arrived if that is missing, doubled or
// no date (RFC 9110 section 6.6.1).
func originated(h http.Header, received time.Time) time.Time {
	if value, ok := single(h, "Date"); ok {
		if date, ok := parseDate(value, received); ok {
			return date
		}
	}
	return received
}
