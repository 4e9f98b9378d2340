package httpcache

import (
	"net/http"
	"slices"
)

// Outcome is what comes of a request's conditions.
type Outcome uint8

// The outcomes of CheckConditions.
const (
	Proceed     Outcome = iota // answer as if there were none
	NotModified                // 304: the client has what would be sent
	Failed                     // 412, from an origin only
)

// CheckConditions evaluates a request's conditions against what would answer it, in the order of RFC
// 9110 section 13.2.2. Range and If-Range come after it, in SelectRanges.
//
// Failed is for who speaks for the origin: a cache passes such a request on (RFC 9111 section 4.3.2),
// because the origin may have the version that the client means.
func CheckConditions(r *http.Request, s *Stored) Outcome {
	h := r.Header
	if s.Status < 200 || s.Status > 299 {
		return Proceed // section 13.2.1
	}
	if lines := h["If-Match"]; len(lines) > 0 {
		if !star(lines) && !s.Validators.ETag.listed(lines, true) {
			return Failed
		}
	} else if value, ok := single(h, "If-Unmodified-Since"); ok && !s.Validators.LastModified.IsZero() {
		if since, ok := parseDate(value, s.Received); ok && s.Validators.LastModified.After(since) {
			return Failed
		}
	}
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	if lines := h["If-None-Match"]; len(lines) > 0 {
		switch {
		case !star(lines) && !s.Validators.ETag.listed(lines, false):
			return Proceed
		case reads:
			return NotModified
		}
		return Failed
	}
	if value, ok := single(h, "If-Modified-Since"); ok && reads {
		modified := s.Validators.LastModified
		if modified.IsZero() {
			modified = s.Date // RFC 9111 section 4.3.2
		}
		if since, ok := parseDate(value, s.Received); ok && !modified.After(since) {
			return NotModified
		}
	}
	return Proceed
}

// ifRange is whether a request's Range applies to s (RFC 9110 section 13.1.5).
func ifRange(h http.Header, s *Stored) bool {
	if len(h["If-Range"]) == 0 {
		return true
	}
	value, _ := single(h, "If-Range")
	if tag, ok := ParseETag(value); ok {
		return s.Validators.ETag.StrongEqual(tag)
	}
	date, ok := parseDate(value, s.Received)
	return ok && s.Validators.dateStrong && s.Validators.LastModified.Equal(date)
}

// star is whether a field says "any".
func star(lines []string) bool {
	return slices.ContainsFunc(lines, func(line string) bool { return trim(line) == "*" })
}

// TrimNotModified makes of the header of a 200 that of the 304 in its place (RFC 9110 section
// 15.4.5): what describes the content goes, Last-Modified stays only for want of an entity tag.
func TrimNotModified(h http.Header) {
	for name := range h {
		if aboutContent(name) {
			delete(h, name)
		}
	}
	if len(h["Etag"]) > 0 {
		delete(h, "Last-Modified")
	}
}

// aboutContent is whether a field describes the very bytes that follow it, or how they are coded.
func aboutContent(name string) bool {
	switch name {
	case "Content-Digest", "Content-Encoding", "Content-Length", "Content-Md5", "Content-Range", "Content-Type", "Digest", "Repr-Digest":
		return true
	}
	return false
}
