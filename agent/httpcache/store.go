package httpcache

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// Refusal says why a response is not stored; empty if it may be.
type Refusal string

// Why a response is not stored. RFC 9111 section 3 unless another one is named.
const (
	RefusedMethod        Refusal = "method"               // neither GET nor HEAD
	RefusedInterim       Refusal = "not final"            // 1xx
	RefusedStatus        Refusal = "status"               // speaks of this request more than of the resource
	RefusedNotUnderstood Refusal = "status not known"     // must-understand, section 5.2.2.3
	RefusedByRequest     Refusal = "no-store in request"  // section 5.2.1.5
	RefusedByResponse    Refusal = "no-store in response" // section 5.2.2.5
	RefusedPrivate       Refusal = "private"              // section 5.2.2.7
	RefusedAuthorization Refusal = "authorization"        // section 3.5
	RefusedNotCacheable  Refusal = "not cacheable"        // neither by its header nor by its status
	RefusedVary          Refusal = "vary"                 // would never be selected, section 4.1
	RefusedCookie        Refusal = "set-cookie"           // section 7.3: may be meant for one person
	RefusedPart          Refusal = "partial content"      // could not be combined with anything, section 3.4
)

// Storable says whether a shared cache may store x (RFC 9111 section 3), and if not, why.
func Storable(x Exchange) Refusal {
	c := ParseResponseControl(x.Header)
	switch {
	case x.Method != http.MethodGet && x.Method != http.MethodHead:
		return RefusedMethod
	case x.Status < 200:
		return RefusedInterim
	case x.Status > 599 || aboutRequest(x.Status):
		return RefusedStatus
	case c.MustUnderstand && !understood(x.Status):
		return RefusedNotUnderstood
	case ParseRequestControl(x.Request).NoStore:
		return RefusedByRequest
	case c.NoStore && !c.MustUnderstand:
		return RefusedByResponse
	case c.Private.All:
		return RefusedPrivate
	case len(x.Request["Authorization"]) > 0 && !c.Public && !c.MustRevalidate && !c.SMaxAge.Given:
		return RefusedAuthorization
	case !cacheable(x.Status, x.Header, c):
		return RefusedNotCacheable
	case ParseVary(x.Header).Any:
		return RefusedVary
	case len(x.Header["Set-Cookie"]) > 0 && !c.keepsOut("Set-Cookie"):
		return RefusedCookie
	case !whole(x) && !combinable(x):
		return RefusedPart
	}
	return ""
}

// cacheable is the last condition of RFC 9111 section 3.
func cacheable(status int, h http.Header, c ResponseControl) bool {
	return c.Public || c.MaxAge.Given || c.SMaxAge.Given || len(h["Expires"]) > 0 || heuristicallyCacheable(status)
}

// heuristicallyCacheable lists the statuses of RFC 9110 section 15.1.
func heuristicallyCacheable(status int) bool {
	switch status {
	case 200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501:
		return true
	}
	return false
}

// understood lists the statuses whose caching is that of any response, or done here.
func understood(status int) bool {
	switch status {
	case 302, 303, 307, 400, 403, 406, 409, 415, 422, 451, 500, 502, 503, 504, 505:
		return true
	}
	return heuristicallyCacheable(status)
}

// aboutRequest lists the statuses that come of one request's credentials, conditions, range, body,
// rate or connection. RFC 6585 forbids to store its own four, 304 is used to freshen, and the others
// would answer clients who asked otherwise.
func aboutRequest(status int) bool {
	switch status {
	case 304, 401, 407, 408, 411, 412, 413, 416, 417, 421, 425, 426, 428, 429, 431, 511:
		return true
	}
	return false
}

// whole is whether x's content is all there is of the representation. Outside of a 206, Content-Range
// has no meaning (RFC 9110 section 14.4); an origin that sends it then is not to be trusted.
func whole(x Exchange) bool {
	return x.Status != http.StatusPartialContent && len(x.Header["Content-Range"]) == 0
}

// combinable is whether a 206 is one range of bytes of a representation of known size with a strong
// validator (RFC 9111 section 3.4).
func combinable(x Exchange) bool {
	part, ok := ParseContentRange(x.Header)
	return x.Status == http.StatusPartialContent && x.Method == http.MethodGet && ok && !part.Unsatisfied && part.Size >= 0 &&
		parseValidators(x.Header, originated(x.Header, x.Received)).Strong()
}

// keepsOut is whether field is named by a qualified private or no-cache (RFC 9111 sections 5.2.2.4
// and 5.2.2.7).
func (c ResponseControl) keepsOut(field string) bool {
	return slices.Contains(c.Private.Fields, field) || slices.Contains(c.NoCache.Fields, field)
}

// keptFields copies what is stored of a response's header (RFC 9111 section 3.1), and adds Date if it
// is missing or no date (RFC 9110 section 6.6.1). Cookies and the announcement of trailers, which are
// discarded, stay out too. The values are shared with h.
func keptFields(h http.Header, received time.Time) http.Header {
	kept := make(http.Header, len(h)+1)
	for name, lines := range h {
		if !hopByHop(name) && name != "Set-Cookie" {
			kept[name] = slices.Clip(lines)
		}
	}
	c := ParseResponseControl(h)
	for _, names := range [][]string{connectionOptions(h), c.Private.Fields, c.NoCache.Fields} {
		for _, name := range names {
			delete(kept, name)
		}
	}
	addDate(kept, received)
	return kept
}

// connectionOptions are the fields that Connection lists (RFC 9110 section 7.6.1), but for those that
// caching depends on: they are always meant for all, says the section.
func connectionOptions(h http.Header) []string {
	var names []string
	for name := range members(h["Connection"]) {
		switch name = http.CanonicalHeaderKey(name); name {
		case "Age", "Authorization", "Cache-Control", "Content-Encoding", "Content-Range", "Content-Type", "Date", "Etag", "Expires", "Last-Modified", "Vary":
		default:
			names = append(names, name)
		}
	}
	return names
}

// hopByHop is whether a field belongs to one connection or to one proxy (RFC 9111 section 3.1).
func hopByHop(name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade":
		return true
	}
	return strings.HasPrefix(name, "Proxy-Auth")
}
