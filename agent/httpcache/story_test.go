package httpcache

import (
	"net/http"
	"net/url"
	"testing"
	"time"
)

// memory is a cache in miniature: how a handler goes from a request to its answer, without bodies.
type memory struct {
	origin func(method string, h http.Header) *http.Response // nil if it cannot be reached
	asked  int
	now    time.Time
	stored map[string][]*Stored
}

// answer is the status, the Age and the Cache-Status of what the client gets.
func (m *memory) answer(r *http.Request) (status int, age, said string) {
	key := PrimaryKey(r.URL)
	v := Evaluate(r, m.stored[key], m.now)
	c := v.CacheStatus("site")
	switch v.Action {
	case Serve, ServeAndValidate:
		return m.serve(r, v.Stored, c)
	case Unavailable:
		return http.StatusGatewayTimeout, "", c.String()
	}
	ask := Unconditional(r.Header)
	if v.Action == Validate {
		ask = Conditional(r.Header, v.Stored)
	}
	resp := m.origin(r.Method, ask)
	m.asked++
	failure := NoAnswer
	if resp != nil {
		c.Status, failure = resp.StatusCode, Failure(resp.StatusCode)
	}
	switch {
	case ServeOnFailure(r, v.Stored, failure, m.now):
		return m.serve(r, v.Stored, c)
	case resp == nil:
		return http.StatusGatewayTimeout, "", c.String()
	}
	x := Exchange{Method: r.Method, Request: ask, Requested: m.now, Status: resp.StatusCode, Header: resp.Header, Received: m.now}
	if x.Status == http.StatusNotModified {
		for _, s := range Identify(m.stored[key], x) {
			fresh, refusal := s.Freshen(x)
			c.Stored = refusal == ""
			m.put(key, fresh)
			return m.serve(r, fresh, c)
		}
	}
	for _, gone := range Invalidates(r.Method, r.URL, x.Status, x.Header) {
		delete(m.stored, gone)
	}
	if Storable(x) == "" {
		s := NewStored(Keep(x))
		c.Stored = true
		m.put(key, s)
		return m.serve(r, s, c)
	}
	return x.Status, "", c.String()
}

func (m *memory) put(key string, s *Stored) {
	kept := []*Stored{s}
	for _, other := range m.stored[key] {
		if other.SecondaryKey() != s.SecondaryKey() {
			kept = append(kept, other)
		}
	}
	m.stored[key] = kept
}

func (m *memory) serve(r *http.Request, s *Stored, c CacheStatus) (status int, age, said string) {
	h := http.Header{}
	s.CopyTo(h, s.Age(m.now))
	c.HasTTL, c.TTL = true, s.TTL(m.now)
	c.AddTo(h)
	if CheckConditions(r, s) == NotModified {
		TrimNotModified(h)
		return http.StatusNotModified, h.Get("Age"), h.Get("Cache-Status")
	}
	status, _ = SelectRanges(r, s, s.Size)
	return status, h.Get("Age"), h.Get("Cache-Status")
}

// TestStory takes one resource through its life.
func TestStory(t *testing.T) {
	const etag = `"v1"`
	m := &memory{stored: map[string][]*Stored{}, now: made}
	up := func(method string, h http.Header) *http.Response {
		switch {
		case method == http.MethodPut:
			return &http.Response{StatusCode: http.StatusNoContent, Header: http.Header{}}
		case h.Get("If-None-Match") == etag:
			return &http.Response{StatusCode: http.StatusNotModified, Header: http.Header{"Etag": {etag}}}
		}
		return &http.Response{StatusCode: http.StatusOK, Header: http.Header{
			"Etag": {etag}, "Cache-Control": {"max-age=60, stale-while-revalidate=10"}, "Vary": {"Accept-Encoding"}, "Content-Length": {"100"},
		}}
	}
	down := func(string, http.Header) *http.Response { return nil }
	broken := func(string, http.Header) *http.Response {
		return &http.Response{StatusCode: http.StatusServiceUnavailable, Header: http.Header{}}
	}
	m.origin = up
	for _, step := range []struct {
		name   string
		origin func(string, http.Header) *http.Response // as before if nil
		now    float64
		method string // GET if empty
		sent   []string
		status int
		age    string
		said   string
		asked  int // so far
	}{
		{"nobody was here", nil, 0, "", nil, 200, "0", "site; fwd=uri-miss; fwd-status=200; ttl=60; stored", 1},
		{"a second client", nil, 59, "", nil, 200, "59", "site; hit; ttl=1", 1},
		{"HEAD", nil, 59, "HEAD", nil, 200, "59", "site; hit; ttl=1", 1},
		{"a part of it", nil, 59, "", []string{"Range: bytes=0-9"}, 206, "59", "site; hit; ttl=1", 1},
		{"a client who has it", nil, 59, "", []string{"If-None-Match: " + etag}, 304, "59", "site; hit; ttl=1", 1},
		{"one with other codings", nil, 59, "", []string{"Accept-Encoding: gzip"}, 200, "0", "site; fwd=vary-miss; fwd-status=200; ttl=60; stored", 2},
		{"the first ones again", nil, 59, "", nil, 200, "59", "site; hit; ttl=1", 2},
		{"a little too late", nil, 65, "", nil, 200, "65", `site; hit; ttl=-5; detail="stale-while-revalidate"`, 2},
		{"too late", nil, 100, "", nil, 200, "0", "site; fwd=stale; fwd-status=304; ttl=60; stored", 3},
		{"which was good for all", nil, 101, "", nil, 200, "1", "site; hit; ttl=59", 3},
		{"somebody insists", nil, 102, "", []string{"Cache-Control: no-cache"}, 200, "0", `site; fwd=request; fwd-status=304; ttl=60; stored; detail="no-cache in request"`, 4},
		{"the origin breaks", broken, 500, "", nil, 200, "398", "site; fwd=stale; fwd-status=503; ttl=-338", 5},
		{"the line is cut", down, 9999, "", nil, 200, "9897", "site; fwd=stale; ttl=-9837", 6},
		{"what was never here", nil, 9999, "", []string{"Accept-Encoding: br"}, 504, "", "site; fwd=vary-miss", 7},
		{"nobody wants to wait", nil, 9999, "", []string{"Cache-Control: only-if-cached"}, 504, "", `site; detail="stale"`, 7},
		{"somebody changes it", up, 10000, "PUT", nil, 204, "", "site; fwd=method; fwd-status=204", 8},
		{"so it is not known any more", nil, 10000, "", nil, 200, "0", "site; fwd=uri-miss; fwd-status=200; ttl=60; stored", 9},
	} {
		if step.origin != nil {
			m.origin = step.origin
		}
		m.now = after(step.now)
		r := request(step.sent...)
		r.URL = &url.URL{Scheme: "http", Host: "deb.example", Path: "/a"}
		if step.method != "" {
			r.Method = step.method
		}
		status, age, said := m.answer(r)
		same(t, step.name+": status", status, step.status)
		same(t, step.name+": age", age, step.age)
		same(t, step.name+": cache status", said, step.said)
		same(t, step.name+": requests to the origin", m.asked, step.asked)
	}
}
