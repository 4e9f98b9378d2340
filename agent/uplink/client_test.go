package uplink

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/pureboot/pureboot/central/wire"
)

func TestCalls(t *testing.T) {
	for _, c := range []struct {
		call  func(context.Context, *Client) (any, error)
		sends string // method, path and query, body
		gets  any
	}{
		{
			func(ctx context.Context, c *Client) (any, error) { return c.BootByMAC(ctx, "52:54:00:00:00:01", "") },
			"GET /api/v1/agents/boot?mac=52%3A54%3A00%3A00%3A00%3A01 ",
			wire.Boot{Node: wire.Node{ID: "n"}},
		},
		{
			func(ctx context.Context, c *Client) (any, error) {
				return c.BootByMAC(ctx, "52:54:00:00:00:01", siteID)
			},
			"GET /api/v1/agents/boot?mac=52%3A54%3A00%3A00%3A00%3A01&uuid=" + siteID + " ",
			wire.Boot{Node: wire.Node{ID: "n"}},
		},
		{
			func(ctx context.Context, c *Client) (any, error) { return c.BootByID(ctx, "a b") },
			"GET /api/v1/agents/boot?id=a+b ",
			wire.Boot{Node: wire.Node{ID: "n"}},
		},
		{func(ctx context.Context, c *Client) (any, error) {
			return c.Register(ctx, wire.Registration{MACAddress: "52:54:00:00:00:01"})
		}, `POST /api/v1/nodes/register {"mac_address":"52:54:00:00:00:01"}`, wire.Node{ID: "n"}},
		{func(ctx context.Context, c *Client) (any, error) {
			return c.ChangeState(ctx, "../x", wire.StateChange{State: "installed"})
		}, `PATCH /api/v1/nodes/..%2Fx/state {"state":"installed"}`, wire.Node{ID: "n"}},
		{func(ctx context.Context, c *Client) (any, error) {
			return c.Event(ctx, "n", wire.Event{EventID: "1", EventType: "first_boot"})
		}, `POST /api/v1/nodes/n/event {"event_id":"1","event_type":"first_boot"}`, wire.Node{ID: "n"}},
		{
			func(ctx context.Context, c *Client) (any, error) { return c.Manifest(ctx, wire.ManifestQuery{}) },
			"GET /api/v1/agents/manifest ",
			wire.Manifest{Epoch: wire.Epoch{Stream: "s", N: 7}},
		},
		{
			func(ctx context.Context, c *Client) (any, error) {
				return c.Manifest(ctx, wire.ManifestQuery{Since: wire.Epoch{Stream: "s", N: 3}, Cursor: "p 2", Needed: "none"})
			},
			"GET /api/v1/agents/manifest?cursor=p+2&needed=none&since=s%3A3 ",
			wire.Manifest{Epoch: wire.Epoch{Stream: "s", N: 7}},
		},
		{
			func(ctx context.Context, c *Client) (any, error) { return c.Chunks(ctx, "images", "debian 12/li%nux?") },
			"GET /api/v1/content/images/debian%2012/li%25nux%3F?chunks= ",
			wire.Chunks{ChunkSize: 5},
		},
	} {
		got := new(recorder)
		client, link := client(t, func(w http.ResponseWriter, r *http.Request) {
			got.record(r)
			answer(w, c.gets)
		})
		result, err := c.call(wire.WithRequestID(t.Context(), "r-17"), client)
		if err != nil {
			t.Errorf("%s: %v", c.sends, err)
			continue
		}
		req, body := got.last()
		if sent := req.Method + " " + req.RequestURI + " " + body; sent != c.sends {
			t.Errorf("sent %s, want %s", sent, c.sends)
		}
		if !reflect.DeepEqual(result, c.gets) {
			t.Errorf("%s: got %+v", c.sends, result)
		}
		h := req.Header
		if h.Get("Authorization") != "Bearer pba_"+siteID+"_s3cret" || h.Get("X-Request-Id") != "r-17" || h.Get("Accept") != "application/json" {
			t.Errorf("%s: headers %v", c.sends, h)
		}
		if kind := h.Get("Content-Type"); (kind == "application/json") != (body != "") {
			t.Errorf("%s: Content-Type %q", c.sends, kind)
		}
		if h.Get("Accept-Encoding") != "zstd" || req.ProtoMajor != 2 {
			t.Errorf("%s: Accept-Encoding %q, HTTP/%d", c.sends, h.Get("Accept-Encoding"), req.ProtoMajor)
		}
		if !link.Online() {
			t.Error("offline")
		}
	}
}

func TestNoRequestIDIsNoHeader(t *testing.T) {
	got := new(recorder)
	c, _ := client(t, func(w http.ResponseWriter, r *http.Request) { got.record(r); answer(w, wire.Boot{}) })
	if _, err := c.BootByID(t.Context(), "n"); err != nil {
		t.Fatal(err)
	}
	if req, _ := got.last(); req.Header["X-Request-Id"] != nil {
		t.Errorf("X-Request-Id %q", req.Header["X-Request-Id"])
	}
}

func TestRefusals(t *testing.T) {
	date := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	const problem, html = wire.MediaTypeProblem, "text/html"
	for name, c := range map[string]struct {
		status     int
		kind, body string
		retryAfter string
		want       *wire.Refusal // nil: an error of another kind
		up         bool          // the link's view
	}{
		"problem": {
			409, problem, `{"title":"Conflict","status":409,"detail":"it has changed","errors":[{"location":"body.state","message":"no"}]}`, "",
			&wire.Refusal{Status: 409, Problem: wire.Problem{
				Title: "Conflict", Status: 409, Detail: "it has changed",
				Errors: []wire.ProblemField{{Location: "body.state", Message: "no"}},
			}}, true,
		},
		"its status counts": {403, problem, `{"status":404}`, "", &wire.Refusal{Status: 403, Problem: wire.Problem{Status: 404}}, true},
		"garbled problem":   {404, problem, `{"detail`, "", &wire.Refusal{Status: 404}, true},
		"empty problem":     {401, problem, "", "", &wire.Refusal{Status: 401}, true},
		"busy":              {503, problem, `{}`, "30", &wire.Refusal{Status: 503, RetryAfter: 30 * time.Second}, false},
		"too many":          {429, problem, `{}`, "7", &wire.Refusal{Status: 429, RetryAfter: 7 * time.Second}, true},
		"by date":           {503, problem, `{}`, date.Add(90 * time.Second).Format(http.TimeFormat), &wire.Refusal{Status: 503, RetryAfter: 90 * time.Second}, false},
		"by a date gone by": {503, problem, `{}`, date.Add(-time.Hour).Format(http.TimeFormat), &wire.Refusal{Status: 503}, false},
		"for ever":          {503, problem, `{}`, "99999999999999999999", &wire.Refusal{Status: 503, RetryAfter: time.Hour}, false},
		"backwards":         {503, problem, `{}`, "-5", &wire.Refusal{Status: 503}, false},
		"nonsense":          {503, problem, `{}`, "soon", &wire.Refusal{Status: 503}, false},
		"broken":            {500, problem, `{"detail":"oh"}`, "", &wire.Refusal{Status: 500, Problem: wire.Problem{Detail: "oh"}}, false},
		"proxy's 503":       {503, html, "<h1>", "9", &wire.Refusal{Status: 503, RetryAfter: 9 * time.Second}, false},
		"proxy's 403":       {403, html, "<h1>", "", &wire.Refusal{Status: 403}, false},
		"proxy's 404":       {404, html, "<h1>", "", nil, false}, // it must not remove anything
		"proxy's 410":       {410, "", "", "", nil, false},
		"proxy's 400":       {400, "application/json", "{}", "", nil, false}, // nor have a report dropped
		"not modified":      {304, "", "", "", &wire.Refusal{Status: 304}, false},
	} {
		t.Run(name, func(t *testing.T) {
			client, link := client(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header()["Content-Type"] = []string{c.kind}
				w.Header().Set("Date", date.Format(http.TimeFormat))
				if c.retryAfter != "" {
					w.Header().Set("Retry-After", c.retryAfter)
				}
				w.WriteHeader(c.status)
				io.WriteString(w, c.body)
			})
			var err error
			for range failuresToOffline {
				_, err = client.BootByID(t.Context(), "n")
			}
			got, ok := errors.AsType[*wire.Refusal](err)
			if err == nil || ok != (c.want != nil) || ok && !reflect.DeepEqual(got, c.want) {
				t.Errorf("%v, refusal %+v, want %+v", err, got, c.want)
			}
			if link.Online() != c.up {
				t.Errorf("online is %v", link.Online())
			}
		})
	}
}

func TestRedirectIsNotFollowed(t *testing.T) {
	var reached atomic.Bool
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Store(true) }))
	defer elsewhere.Close()
	for _, status := range []int{301, 302, 307, 308} {
		c, link := client(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/elsewhere" {
				reached.Store(true)
			}
			http.Redirect(w, r, map[bool]string{true: "/elsewhere", false: elsewhere.URL}[status == 302], status)
		})
		_, err := c.Event(t.Context(), "n", wire.Event{})
		if r, ok := errors.AsType[*wire.Refusal](err); !ok || r.Status != status || r.Final() || r.Gone() {
			t.Errorf("%d: %v", status, err)
		}
		if body, err := c.ReadContent(t.Context(), "images", "x", "00", 0, 0); err == nil {
			body.Close()
			t.Errorf("%d: content", status)
		}
		if _, err := c.BootByID(t.Context(), "n"); err == nil || link.Online() {
			t.Errorf("%d: a server that only redirects is taken for central", status)
		}
	}
	if reached.Load() {
		t.Error("a redirect was followed")
	}
}

func TestAnswerThatIsNone(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"cut":  cut,
		"HTML": func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") },
		"no type": func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Content-Type"] = nil
			io.WriteString(w, "{}")
		},
		"empty":        func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Type", "application/json") },
		"no content":   func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) },
		"garbled JSON": func(w http.ResponseWriter, _ *http.Request) { answer(w, json.RawMessage(`[1]`)) },
		"cut JSON": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, `{"node":`)
			http.NewResponseController(w).Flush()
			cut(w, r)
		},
		"many a header": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X", strings.Repeat("x", 2*maxHeader))
			answer(w, wire.Boot{})
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, link := client(t, h)
			for range failuresToOffline {
				_, err := c.BootByID(t.Context(), "n")
				if _, refused := errors.AsType[*wire.Refusal](err); err == nil || refused {
					t.Errorf("error %v", err)
				}
				mustNotTell(t, err, "s3cret")
			}
			if link.Online() {
				t.Error("a central that never makes sense is taken to be in reach")
			}
		})
	}
}

// endless is a body without end, which counts what is read of it.
type endless struct{ read int64 }

func (e *endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 'x'
	}
	if e.read == 0 {
		b[0] = '"'
	}
	e.read += int64(len(b))
	return len(b), nil
}

func (*endless) Close() error { return nil }

func TestHugeAnswersAreBounded(t *testing.T) {
	const slack = 64 << 10 // what a decoder reads ahead
	body := new(endless)
	res := &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: body}
	var out string
	if err := decode(res, &out); err == nil || body.read > maxAnswer+slack {
		t.Errorf("%v after %d bytes", err, body.read)
	}
	body = new(endless)
	res = &http.Response{StatusCode: 500, Header: http.Header{"Content-Type": {wire.MediaTypeProblem}}, Body: body}
	if r, own := refuse(res); !own || r.Status != 500 || body.read > maxRefuse+slack {
		t.Errorf("%+v after %d bytes", r, body.read)
	}
	body = new(endless)
	res = &http.Response{StatusCode: 404, Header: http.Header{"Content-Type": {"text/html"}}, Body: body}
	if _, own := refuse(res); own || body.read > 0 {
		t.Errorf("%d bytes read of what is not central's", body.read)
	}
}

// TestAnAnswerMayComeCompressed, and counts as what it decodes to.
func TestAnAnswerMayComeCompressed(t *testing.T) {
	id, bomb := strings.Repeat("node", 10_000), bytes.Repeat([]byte(" "), maxAnswer+1<<20)
	text := encode(t, []byte(`{"node":{"id":"`+id+`"}}`))
	for name, tt := range map[string]struct {
		coded []byte
		right bool
	}{
		"an answer": {text, true}, "a part of one": {text[:len(text)/2], false}, "a bomb": {encode(t, append(bomb, `{"node":{}}`...), zstd.WithEncoderLevel(zstd.SpeedFastest)), false},
	} {
		c, _ := client(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			sends("zstd", tt.coded)(w, r)
		})
		b, err := c.BootByID(t.Context(), "n")
		if (err == nil) != tt.right || tt.right && b.Node.ID != id {
			t.Errorf("%s: %d bytes, %v", name, len(b.Node.ID), err)
		}
	}
}

// TestConnectionsAreKept: with HTTP/1.1 a body that is not read to its end costs the connection.
func TestConnectionsAreKept(t *testing.T) {
	ca := newAuthority(t)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			refusal(w, 409, "no")
		} else {
			answer(w, wire.Boot{})
		}
		http.NewResponseController(w).Flush() // of unknown length
		io.WriteString(w, "\n\n")
	}))
	var connections atomic.Int32
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	cert := ca.issue(t, forLoopback(), ca.cert)
	s.TLS = serve(t, cert, nil).TLS.Clone()
	s.TLS.NextProtos = []string{"http/1.1"}
	s.StartTLS()
	defer s.Close()
	c, _ := clientOf(t, ca, s.URL)
	for range 5 {
		if _, err := c.BootByID(t.Context(), "n"); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Event(t.Context(), "n", wire.Event{}); err == nil {
			t.Fatal("no refusal")
		}
	}
	if n := connections.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

func TestServerOfAnotherCA(t *testing.T) {
	got, other := new(recorder), newAuthority(t)
	s := serve(t, other.issue(t, forLoopback(), other.cert), func(_ http.ResponseWriter, r *http.Request) { got.record(r) })
	c, link := clientOf(t, newAuthority(t), s.URL)
	for range failuresToOffline {
		if _, err := c.BootByID(t.Context(), "n"); err == nil {
			t.Error("a stranger was believed")
		}
	}
	if got.count() != 0 || link.Online() {
		t.Errorf("%d requests reached it, online is %v", got.count(), link.Online())
	}
}

// hang holds every request until it is given up or the test ends.
func hang(t *testing.T) http.HandlerFunc {
	end := make(chan struct{})
	t.Cleanup(func() { close(end) })
	return func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-end:
		}
	}
}

func TestCallersOwnEndIsNoFailure(t *testing.T) {
	started := make(chan struct{}, 100)
	ca, waiting := newAuthority(t), hang(t)
	s := serve(t, ca.issue(t, forLoopback(), ca.cert), func(w http.ResponseWriter, r *http.Request) {
		started <- struct{}{}
		waiting(w, r)
	})
	c, link := clientOf(t, ca, s.URL)
	for range 2 * failuresToOffline {
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-started; cancel() }()
		if _, err := c.BootByID(ctx, "n"); !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	}
	if !link.Online() {
		t.Error("offline because clients left")
	}
	for range failuresToOffline {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if _, err := c.BootByID(ctx, "n"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		cancel()
	}
	if link.Online() {
		t.Error("online though central answers nothing in time")
	}
}

func TestReadContent(t *testing.T) {
	const text, sha = "0123456789abcdef", "aa55"
	got := new(recorder)
	c, link := client(t, func(w http.ResponseWriter, r *http.Request) {
		got.record(r)
		w.Header().Set("ETag", `"`+sha+`"`)
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(text))
	})
	for _, r := range []struct {
		offset, length int64
		want           string
	}{{0, 0, text}, {0, 4, "0123"}, {4, 4, "4567"}, {10, 0, "abcdef"}, {0, 16, text}, {12, 100, "cdef"}} {
		body, err := c.ReadContent(t.Context(), "images", "a/b c", sha, r.offset, r.length)
		if err != nil {
			t.Errorf("%d+%d: %v", r.offset, r.length, err)
			continue
		}
		read, err := io.ReadAll(body)
		body.Close()
		if string(read) != r.want || err != nil {
			t.Errorf("%d+%d: %q, %v", r.offset, r.length, read, err)
		}
	}
	req, _ := got.last()
	if req.RequestURI != "/api/v1/content/images/a/b%20c" || req.Header.Get("If-Match") != `"aa55"` || req.Header.Get("Accept-Encoding") != "" {
		t.Errorf("%s, %v", req.RequestURI, req.Header)
	}
	if !link.Online() {
		t.Error("offline")
	}
}

func TestContentThatWasNotAskedFor(t *testing.T) {
	part := func(contentRange string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Range", contentRange)
			w.WriteHeader(http.StatusPartialContent)
			io.WriteString(w, "4567")
		}
	}
	whole := func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "0123456789") }
	for name, c := range map[string]struct {
		h              http.HandlerFunc
		offset, length int64
	}{
		"all, where a range was asked for":  {whole, 4, 4},
		"all, where the rest was asked for": {whole, 4, 0},
		"all, where the begin was":          {whole, 0, 4},
		"a range, where all was asked for":  {part("bytes 0-3/10"), 0, 0},
		"another range":                     {part("bytes 40-43/99"), 4, 4},
		"no range":                          {part(""), 4, 4},
		"an unknown unit":                   {part("lines 4-7/10"), 4, 4},
		"nothing":                           {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }, 0, 0},
	} {
		client, link := client(t, c.h)
		for range failuresToOffline {
			body, err := client.ReadContent(t.Context(), "images", "x", "aa", c.offset, c.length)
			if err == nil {
				body.Close()
				t.Errorf("%s: accepted", name)
			}
		}
		if link.Online() {
			t.Errorf("%s: online", name)
		}
	}
}

func TestContentThatChanged(t *testing.T) {
	c, _ := client(t, func(w http.ResponseWriter, _ *http.Request) { refusal(w, 412, "it has changed") })
	_, err := c.ReadContent(t.Context(), "images", "x", "aa", 0, 0)
	if r, ok := errors.AsType[*wire.Refusal](err); !ok || r.Status != 412 || !r.Final() {
		t.Errorf("%v", err)
	}
}

// TestContentStops: the caller ends a transfer that stands still.
func TestContentStops(t *testing.T) {
	waiting := hang(t)
	c, link := client(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "0123")
		http.NewResponseController(w).Flush()
		waiting(w, r)
	})
	ctx, cancel := context.WithCancel(t.Context())
	body, err := c.ReadContent(ctx, "images", "x", "aa", 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if _, err := io.ReadFull(body, make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := body.Read(make([]byte, 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if !link.Online() {
		t.Error("offline")
	}
}

func TestClientIsSafeForConcurrentUse(t *testing.T) {
	var n atomic.Int32
	c, link := client(t, func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1)%3 == 0 {
			refusal(w, 404, "no")
			return
		}
		answer(w, wire.Boot{Node: wire.Node{ID: r.URL.Query().Get("id")}})
	})
	done := make(chan error)
	for i := range 50 {
		go func() {
			id := fmt.Sprint(i)
			b, err := c.BootByID(t.Context(), id)
			if r, ok := errors.AsType[*wire.Refusal](err); ok && r.Gone() {
				err = nil
			} else if b.Node.ID != id {
				err = errors.Join(err, fmt.Errorf("asked for %s, got %s", id, b.Node.ID))
			}
			done <- err
		}()
	}
	for range 50 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if !link.Online() {
		t.Error("offline")
	}
}
