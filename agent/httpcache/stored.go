package httpcache

import (
	"net/http"
	"strconv"
	"time"
)

// Exchange is a request as it went to the origin, and the head of the final answer that came back.
type Exchange struct {
	Method    string
	Request   http.Header // as sent
	Requested time.Time   // when sending began: request_time of RFC 9111 section 4.2.3
	Status    int
	Header    http.Header // as it arrived, trailers not among it
	Received  time.Time   // when it had arrived: response_time
	Protocol  string      // the answer's, as in Via; empty for 1.1
}

// protocol is the version of the protocol that resp came by, as Via has it (RFC 9110 section 7.6.3); empty for 1.1.
func protocol(resp *http.Response) string {
	switch {
	case resp.ProtoMajor > 1:
		return strconv.Itoa(resp.ProtoMajor)
	case resp.ProtoMajor == 1 && resp.ProtoMinor == 0:
		return "1.0"
	}
	return ""
}

// Meta is what is kept of a response beside its body. It survives JSON.
type Meta struct {
	Method    string            `json:"method"` // GET; or HEAD: then there is no body
	Status    int               `json:"status"`
	Header    http.Header       `json:"header"`
	Selecting map[string]string `json:"selecting,omitempty"` // of the request, see Vary.Select
	Size      int64             `json:"size"`                // of the whole body in bytes; -1 while unknown
	Requested time.Time         `json:"requested"`
	Received  time.Time         `json:"received"`

	// Outdated says that the response is stale however long it should have been fresh: a HEAD told
	// so, or somebody who purged it but wants to have it for when the origin is away.
	Outdated bool `json:"outdated,omitempty"`

	Protocol string `json:"protocol,omitempty"` // that it came by, as in Via; empty for 1.1
	URL      string `json:"url,omitempty"`      // of a resource whose key does not tell
}

// Keep makes of an exchange that Storable accepts what is stored. A 206 is kept as a part of the 200
// that it would have been; which part is in its Content-Range.
func Keep(x Exchange) Meta {
	m := Meta{
		Method: x.Method, Status: x.Status, Header: keptFields(x.Header, x.Received),
		Selecting: ParseVary(x.Header).Select(x.Request),
		Size:      contentLength(x.Header), Requested: x.Requested, Received: x.Received, Protocol: x.Protocol,
	}
	if x.Status == http.StatusPartialContent {
		m.Status, m.Size = http.StatusOK, -1
		if part, ok := ParseContentRange(x.Header); ok {
			m.Size = part.Size
		}
		for _, name := range []string{"Content-Range", "Content-Length", "Content-Digest", "Content-Md5"} {
			m.Header.Del(name)
		}
	}
	return m
}

// Stored is a stored response with what follows from its Meta. Nothing of it changes: whatever is
// learned later makes a new one.
type Stored struct {
	Meta
	Control    ResponseControl
	Vary       Vary
	Validators Validators
	Date       time.Time     // when the origin made it, else Received
	Lifetime   time.Duration // for how long it is fresh, from Date on; 0 to 2^31 s
	initialAge time.Duration // when it was received
}

// NewStored works out once what every request for m will ask. m is not to be changed afterwards.
func NewStored(m Meta) *Stored {
	s := &Stored{Meta: m, Control: ParseResponseControl(m.Header), Vary: ParseVary(m.Header)}
	s.Date = originated(m.Header, m.Received)
	s.Validators = parseValidators(m.Header, s.Date)
	s.initialAge = initialAge(m.Header, s.Date, m.Requested, m.Received)
	if !m.Outdated {
		s.Lifetime = lifetime(m.Status, m.Header, s.Control, s.Date)
	}
	return s
}

// Outdate returns m marked as no longer current. Where staleness is forbidden it is not used again
// before it has been validated, elsewhere only where a response as stale might be.
func (m Meta) Outdate() Meta {
	m.Outdated = true
	return m
}

// contentLength is -1 where the field is missing or makes no sense.
func contentLength(h http.Header) int64 {
	value, ok := single(h, "Content-Length")
	if !ok {
		return -1
	}
	n, ok := parsePosition(value)
	if !ok || n == tooFar {
		return -1
	}
	return n
}
