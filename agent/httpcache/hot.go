package httpcache

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Hit is a 200 that is in memory, whole, with its header as it goes over the wire. Nothing of it is to be changed.
type Hit struct {
	Fields []byte // of the header, each with the end of its line, but for the next three, which are values
	Type   []string
	Length []string
	Date   []string // nil: when it is sent
	Body   []byte
}

// MaxFields bounds what Handler.Hot returns: the bytes of Fields and Type. A longer header is ServeHTTP's.
const MaxFields = 3 << 10

// NewHit takes the header of a 200 that has a Content-Type, and leaves nothing of it.
func NewHit(h http.Header, body []byte) *Hit {
	hit := &Hit{Type: h["Content-Type"], Length: []string{strconv.Itoa(len(body))}, Date: h["Date"], Body: body}
	for _, name := range []string{"Content-Type", "Content-Length", "Date"} {
		delete(h, name)
	}
	var fields bytes.Buffer
	_ = h.Write(&fields) // a buffer takes everything
	hit.Fields = fields.Bytes()
	return hit
}

// Plain is whether a request's fields ask for nothing in particular: no part, no condition, no directive, nothing
// that an answer depends on but by Vary. It knows the fields that clients usually send; of others it says no.
func Plain(h http.Header) bool {
	for name, lines := range h {
		switch name {
		case "Accept", "Accept-Encoding", "Accept-Language", "User-Agent", "Referer", "X-Request-Id":
		case "Connection":
			if len(lines) != 1 || !strings.EqualFold(lines[0], "keep-alive") && !strings.EqualFold(lines[0], "close") {
				return false
			}
		default:
			return false
		}
	}
	return true
}

// Hot returns the answer to a request if it is a fresh one in memory, and counts it: what is most often asked for is
// answered without a lock that others wait on, and without an allocation. Nil says nothing: ServeHTTP knows more.
func (h *Handler) Hot(r *http.Request) *Hit {
	if r.Method != http.MethodGet || !r.ProtoAtLeast(1, 1) || r.ContentLength != 0 || !Plain(r.Header) || r.URL.RawPath != "" || r.URL.RawQuery != "" || r.URL.ForceQuery {
		return nil
	}
	place, gone := h.slots.only(r.URL.Path)
	if place == nil {
		return nil
	}
	hot := h.Cache.Hot(place.key)
	if hot == nil {
		return nil
	}
	s := place.describe(hot.Meta(), hot.Stale(), h.slots.origin)
	if s == nil || s.Method != http.MethodGet || s.Status != http.StatusOK || !gone.IsZero() && !s.Requested.After(gone) || !s.Selects(r.Header) {
		return nil
	}
	now := time.Now()
	age, ttl := s.Age(now), s.TTL(now)
	if action, _ := s.judge(RequestControl{}, age, ttl); action != Serve {
		return nil
	}
	ready, _ := hot.Memo().(*readyHit)
	if ready == nil || ready.stored != s || ready.age != wholeSeconds(age) || ready.ttl != wholeSeconds(ttl) {
		if ready = h.ready(s, age, ttl, hot.Bytes()); ready == nil {
			return nil
		}
		hot.SetMemo(ready)
	}
	hot.Use()
	h.count.requests.Add(1)
	h.count.hits.Add(1)
	h.count.sent.Add(int64(len(ready.Body)))
	return &ready.Hit
}

// readyHit is a Hit as it is for the second in which Age and ttl say so.
type readyHit struct {
	Hit
	stored   *Stored
	age, ttl int64 // in seconds
}

// ready is nil for what is written differently for each request, or for each client, and for what has no body or a long
// header.
func (h *Handler) ready(s *Stored, age, ttl time.Duration, body []byte) *readyHit {
	if len(body) == 0 || len(s.Header["Content-Type"]) != 1 || len(s.Header["Location"]) > 0 || len(s.Header["Content-Location"]) > 0 ||
		len(s.Header["X-Request-Id"]) > 0 { // which takes the place of ours
		return nil
	}
	header := make(http.Header, len(s.Header)+4)
	s.CopyTo(header, age)
	h.amend(header, nil, s.Protocol)
	CacheStatus{Cache: cacheName, Hit: true, HasTTL: true, TTL: ttl}.AddTo(header)
	header["Accept-Ranges"] = []string{"bytes"}
	hit := NewHit(header, body)
	if len(hit.Fields)+len(hit.Type[0]) > MaxFields {
		return nil
	}
	return &readyHit{Hit: *hit, stored: s, age: wholeSeconds(age), ttl: wholeSeconds(ttl)}
}

// only returns the place of the one response that is stored for a path without a query, and when the resource was
// invalidated. It is nil if there are several, or if the path is one that primary would write differently.
func (s *slots) only(path string) (*slot, time.Time) {
	if !s.simple(path) {
		return nil, time.Time{}
	}
	var room [maxPrimary]byte // on the stack
	primary := append(append(room[:0], Root...), path[1:]...)
	s.mu.RLock()
	defer s.mu.RUnlock()
	places := s.by[string(primary)]
	if len(places) != 1 {
		return nil, time.Time{}
	}
	return places[0], s.gone[string(primary)]
}

// simple is whether a client's path is the end of its primary key as it stands.
func (s *slots) simple(path string) bool {
	if !s.folder || len(Root)+len(path) > maxPrimary || !strings.HasPrefix(path, "/") || strings.HasSuffix(path, "/") || !strings.HasPrefix(path[1:], s.name[len(Root):]) {
		return false
	}
	slash := true // before this character, which does not begin a segment with a dot
	for i := 1; i < len(path); i++ {
		switch c := path[i]; {
		case c == '/' || c == '.':
			if slash {
				return false
			}
		case !unreserved(c) && c != '+':
			return false
		}
		slash = path[i] == '/'
	}
	return true
}
