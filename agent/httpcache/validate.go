package httpcache

import (
	"maps"
	"net/http"
	"slices"
	"strings"
)

// conditions are the fields that make a request conditional (RFC 9110 section 13.1).
var conditions = []string{"If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range"}

// Unconditional copies a request's header without conditions and Range: what to fetch a whole
// response with, whatever part of it the client wants.
func Unconditional(request http.Header) http.Header {
	h := maps.Clone(request)
	if h == nil {
		h = http.Header{}
	}
	for _, name := range conditions {
		delete(h, name)
	}
	delete(h, "Range")
	return h
}

// Conditional is the header that asks the origin, on behalf of a request that selects them, whether
// one of these responses still holds (RFC 9111 section 4.3.1). It takes the place of the client's own
// conditions, which are to be checked against the outcome.
func Conditional(request http.Header, stored ...*Stored) http.Header {
	h := Unconditional(request)
	var tags []string
	for _, s := range stored {
		if tag := string(s.Validators.ETag); tag != "" && !slices.Contains(tags, tag) {
			tags = append(tags, tag)
		}
	}
	if len(tags) > 0 {
		h["If-None-Match"] = []string{strings.Join(tags, ", ")}
	}
	if len(stored) == 1 && !stored[0].Validators.LastModified.IsZero() {
		h["If-Modified-Since"] = []string{formatDate(stored[0].Validators.LastModified)}
	}
	return h
}

// Resume is the header that asks for a part of s, and for the whole if it is no longer s: Range with a
// strong If-Range (RFC 9110 section 13.1.5). False if s has no strong validator. What comes of it is for
// CheckPart.
func Resume(request http.Header, s *Stored, part Span) (http.Header, bool) {
	v := s.Validators
	if !v.Strong() || part.Length() <= 0 {
		return nil, false
	}
	h := Unconditional(request)
	h["Range"] = []string{part.Range()}
	if v.ETag != "" {
		h["If-Range"] = []string{string(v.ETag)}
	} else {
		h["If-Range"] = []string{formatDate(v.LastModified)}
	}
	return h, true
}

// Identify finds which of the stored responses that the request selects a 304 is about (RFC 9111
// section 4.3.4). None means that the 304 is of no use, and the request has to be repeated without
// conditions.
//
// One rule is wider than the section's: a 304 without validators is about the one response that was
// asked about, also if that has validators. Origins do leave them out.
func Identify(stored []*Stored, x Exchange) []*Stored {
	told := parseValidators(x.Header, originated(x.Header, x.Received))
	var matching []*Stored
	for _, s := range stored {
		if s.Selects(x.Request) && told.about(s.Validators) {
			matching = append(matching, s)
		}
	}
	switch {
	case len(matching) < 2 || told.ETag != "" && !told.ETag.Weak():
		return matching
	case told.None():
		return nil
	}
	return []*Stored{slices.MaxFunc(matching, func(a, b *Stored) int {
		if newer(a, b) {
			return 1
		}
		return -1
	})}
}

// about is whether v, from a 304 or an answer to HEAD, can mean the version with these validators.
func (v Validators) about(stored Validators) bool {
	switch {
	case v.None():
		return true
	case v.ETag != "" && stored.ETag != "" && !v.ETag.Weak():
		return v.ETag.StrongEqual(stored.ETag)
	case v.ETag != "" && stored.ETag != "":
		return v.ETag.WeakEqual(stored.ETag)
	case v.LastModified.IsZero() || !v.LastModified.Equal(stored.LastModified):
		return false
	}
	// The origin names a strong tag that was not known before: only a strong date can vouch for it.
	return v.ETag == "" || v.ETag.Weak() || stored.dateStrong
}

// Freshen is s with the header and times of the 304, 206 or answer to HEAD that confirmed it (RFC 9111
// sections 3.2, 4.3.4, 4.3.5 and 3.4). What describes the stored bytes stays as stored: length, type,
// codings, digests, and the entity tag. If there is a refusal then the result is good for the request at
// hand, and what is in the store is not to be replaced by it.
func (s *Stored) Freshen(x Exchange) (*Stored, Refusal) {
	m := s.Meta
	merged := maps.Clone(s.Header)
	delete(merged, "Age")
	for name, lines := range keptFields(x.Header, x.Received) {
		if !aboutContent(name) && (name != "Etag" || s.Validators.ETag == "") {
			merged[name] = lines
		}
	}
	confirmed := Exchange{
		Method: m.Method, Request: x.Request, Requested: x.Requested,
		Status: m.Status, Header: merged, Received: x.Received,
	}
	m.Header = keptFields(merged, x.Received) // private and no-cache may name other fields by now
	m.Selecting = ParseVary(merged).Select(x.Request)
	m.Requested, m.Received, m.Outdated = x.Requested, x.Received, false
	return NewStored(m), Storable(confirmed)
}

// HeadAgrees is whether a 200 to HEAD, for a request that selects s, describes s still (RFC 9111
// section 4.3.5): then it Freshens it, else s is to be Outdated. Other answers to HEAD say nothing.
func (s *Stored) HeadAgrees(x Exchange) bool {
	told := parseValidators(x.Header, originated(x.Header, x.Received))
	if told.ETag != "" && !told.ETag.WeakEqual(s.Validators.ETag) {
		return false
	}
	if !told.LastModified.IsZero() && !told.LastModified.Equal(s.Validators.LastModified) {
		return false
	}
	return fits(contentLength(x.Header), s.Size)
}
