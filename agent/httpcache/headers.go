package httpcache

import (
	"net/http"
	"slices"
	"strconv"
	"time"
)

// RemoveHopByHop deletes from h what is for this connection alone: the fields that Connection lists
// and those known to be so (RFC 9110 section 7.6.1), with Proxy-Authenticate and its kin. Upgrade goes
// too: who wants to pass it on looks for it before.
func RemoveHopByHop(h http.Header) {
	for _, name := range connectionOptions(h) {
		delete(h, name)
	}
	for name := range h {
		if hopByHop(name) {
			delete(h, name)
		}
	}
}

// ofFirstHop is whether a request's field speaks of the connection that the request first came by, or waits for content
// that a request to be stored has none of. An answer that is made for it is for one client, whatever Vary says: it
// neither reaches the origin, nor selects what is stored.
func ofFirstHop(name string) bool {
	switch name {
	case "Expect", "Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Proto", "X-Real-Ip":
		return true
	}
	return false
}

// CopyTo writes the header that s is served with, being that old, over dst: what was stored, and Age
// (RFC 9111 section 5.1). The values are shared with s, and safe to append to.
func (s *Stored) CopyTo(dst http.Header, age time.Duration) {
	for name, lines := range s.Header {
		dst[name] = slices.Clip(lines)
	}
	dst["Age"] = []string{strconv.FormatInt(wholeSeconds(clampDelta(age)), 10)}
}

// addDate gives h a Date if it has none, or none that can be read (RFC 9110 section 6.6.1).
func addDate(h http.Header, received time.Time) {
	if value, ok := single(h, "Date"); ok {
		if _, ok := parseDate(value, received); ok {
			return
		}
	}
	h["Date"] = []string{formatDate(received)}
}

// AddVia appends this hop to Via (RFC 9110 section 7.6.3): the version of the protocol in which the
// message was received, and the name of who received it, a token.
func AddVia(h http.Header, major, minor int, name string) {
	version := strconv.Itoa(major)
	if major < 2 {
		version += "." + strconv.Itoa(minor)
	}
	h["Via"] = append(slices.Clip(h["Via"]), version+" "+name)
}
