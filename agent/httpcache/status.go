package httpcache

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Forward is why a request went to the origin (RFC 9211 section 2.2); empty if it did not.
type Forward string

// The values of RFC 9211 section 2.2.
const (
	ForwardBypass   Forward = "bypass"
	ForwardMethod   Forward = "method"
	ForwardURIMiss  Forward = "uri-miss"
	ForwardVaryMiss Forward = "vary-miss"
	ForwardMiss     Forward = "miss"
	ForwardRequest  Forward = "request"
	ForwardStale    Forward = "stale"
	ForwardPartial  Forward = "partial"
)

// CacheStatus is a member of the Cache-Status field (RFC 9211).
type CacheStatus struct {
	Cache     string        // who says so
	Hit       bool          // served without asking the origin
	Forward   Forward       // else why it was asked, and then
	Status    int           // what it answered, if it did,
	Stored    bool          // whether that was stored,
	Collapsed bool          // and whether it was asked on behalf of another request
	HasTTL    bool          // TTL is known
	TTL       time.Duration // for how much longer what is served is fresh; below 0 if stale
	Detail    string
}

// CacheStatus is what there is to say of v before anybody was asked. A TTL goes with what is served
// from the store; what the origin answers may bring another one.
func (v Verdict) CacheStatus(cache string) CacheStatus {
	c := CacheStatus{Cache: cache}
	switch v.Action {
	case Serve, ServeAndValidate:
		c.Hit, c.HasTTL, c.TTL = true, true, v.TTL
	case Pass, Fetch, Validate:
		c.Forward = v.Reason.forward(v.TTL)
	}
	if v.Reason != Fresh && string(v.Reason) != string(c.Forward) {
		c.Detail = string(v.Reason)
	}
	return c
}

func (r Reason) forward(ttl time.Duration) Forward {
	switch r {
	case ByMethod:
		return ForwardMethod
	case ByContent:
		return ForwardBypass
	case URIMiss:
		return ForwardURIMiss
	case VaryMiss:
		return ForwardVaryMiss
	case HeadOnly:
		return ForwardPartial
	case RequestNoCache, RequestMaxAge, RequestMinFresh:
		if ttl > 0 {
			return ForwardRequest
		}
	}
	return ForwardStale
}

// String is the member as a structured field's item with parameters (RFC 8941 sections 3.1.2 and 3.3).
func (c CacheStatus) String() string {
	b := make([]byte, 0, 128)
	b = appendName(b, c.Cache)
	if c.Hit {
		b = append(b, "; hit"...)
	} else if c.Forward != "" {
		b = append(append(b, "; fwd="...), c.Forward...)
		if c.Status > 0 {
			b = strconv.AppendInt(append(b, "; fwd-status="...), int64(c.Status), 10)
		}
	}
	if c.HasTTL {
		b = strconv.AppendInt(append(b, "; ttl="...), wholeSeconds(c.TTL), 10)
	}
	if c.Stored && c.Forward != "" {
		b = append(b, "; stored"...)
	}
	if c.Collapsed && c.Forward != "" {
		b = append(b, "; collapsed"...)
	}
	if c.Detail != "" {
		b = appendString(append(b, "; detail="...), c.Detail)
	}
	return string(b)
}

// AddTo appends c to what the caches nearer to the origin have said in h.
func (c CacheStatus) AddTo(h http.Header) {
	h["Cache-Status"] = append(slices.Clip(h["Cache-Status"]), c.String())
}

// appendName writes a token where the name is one (RFC 8941 section 3.3.4), else a string.
func appendName(b []byte, name string) []byte {
	if name != "" && (name[0] == '*' || name[0]|0x20 >= 'a' && name[0]|0x20 <= 'z') && strings.Trim(name[1:], tokenText) == "" {
		return append(b, name...)
	}
	return appendString(b, name)
}

const tokenText = "!#$%&'*+-.^_`|~:/0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// appendString writes a string. It has printable ASCII only: other bytes are percent-encoded.
func appendString(b []byte, s string) []byte {
	const digits = "0123456789ABCDEF"
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c < ' ' || c > '~':
			b = append(b, '%', digits[c>>4], digits[c&15])
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}
