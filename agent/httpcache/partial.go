package httpcache

import "net/http"

// Continuation is what the answer to a Resume request is to the stored part.
type Continuation uint8

// The continuations of CheckPart.
const (
	// Unusable says nothing about the stored part: an error, or a 206 that contradicts itself, the
	// part, or what was asked for. Not a byte of it may be used.
	Unusable Continuation = iota
	// Continues is a 206 of the same representation: its bytes belong at Start of its Content-Range.
	Continues
	// Repeats is a 200 of the same representation, from an origin that ignores Range: its bytes are
	// the whole from the first one on.
	Repeats
	// Replaced is another version, or one that cannot be told to be the same. What is stored is not to
	// be continued; a 200 is the new whole, after anything else it has to be asked for.
	Replaced
)

// CheckPart is how x, which asked for want of s, continues it (RFC 9111 section 3.4, RFC 9110 section
// 15.3.7.3). Only bytes with the same strong validator are ever combined. When they are, s Freshens.
func CheckPart(s *Stored, want Span, x Exchange) (ContentRange, Continuation) {
	told := parseValidators(x.Header, originated(x.Header, x.Received))
	same := told.sameBytes(s.Validators) && x.Header.Get("Content-Encoding") == s.Header.Get("Content-Encoding")
	switch x.Status {
	case http.StatusPartialContent:
		part, ok := ParseContentRange(x.Header)
		switch {
		case !ok || part.Unsatisfied || !told.Strong():
			return ContentRange{}, Unusable
		case !same:
			return part, Replaced
		case part.Start != want.Start || part.End > want.End || !fits(part.Size, s.Size):
			return ContentRange{}, Unusable
		}
		return part, Continues
	case http.StatusOK:
		switch {
		case !whole(x):
			return ContentRange{}, Unusable
		case same && fits(contentLength(x.Header), s.Size):
			return ContentRange{}, Repeats
		}
		return ContentRange{}, Replaced
	case http.StatusRequestedRangeNotSatisfiable:
		if part, ok := ParseContentRange(x.Header); ok && part.Unsatisfied && !fits(part.Size, s.Size) {
			return part, Replaced
		}
	}
	return ContentRange{}, Unusable
}

// fits is whether two sizes can be of the same representation; -1 is unknown.
func fits(a, b int64) bool { return a < 0 || b < 0 || a == b }
