package httpcache

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// rawOrigin answers each connection's requests with these bytes, then closes it; "" closes it at once. It hands over what
// it has got.
func rawOrigin(t *testing.T, answer string) (url string, got <-chan string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	heard := make(chan string, 100)
	var work sync.WaitGroup
	work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			work.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(10 * time.Second))
				var asked bytes.Buffer
				r, err := http.ReadRequest(bufio.NewReader(io.TeeReader(c, &asked)))
				if err != nil {
					return
				}
				_, _ = io.Copy(io.Discard, r.Body)
				heard <- asked.String()
				_, _ = io.WriteString(c, answer)
			})
		}
	})
	t.Cleanup(func() { l.Close(); work.Wait() })
	return "http://" + l.Addr().String(), heard
}

// dial connects to the cache.
func (s *site) dial() net.Conn {
	s.t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(s.server.URL, "http://"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		s.t.Fatal(err)
	}
	return c
}

// raw sends these bytes, and reads all that comes until the connection ends.
func (s *site) raw(request string) (string, error) {
	s.t.Helper()
	c := s.dial()
	if _, err := io.WriteString(c, request); err != nil {
		s.t.Fatal(err)
	}
	answer, err := io.ReadAll(c)
	return string(answer), err
}

// TestRequestsThatAreNotOne is RFC 9112 sections 3 to 6 and 11.2: what two servers could take for different requests. The
// origin gets one request, in the cache's own framing, or none.
func TestRequestsThatAreNotOne(t *testing.T) {
	const smuggled = "GET /up/smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
	for _, tt := range []struct {
		rule    string
		request string
		status  string // of the first answer
		sent    string // the origin's content; "-": it is not asked
	}{
		{"6.3: a length and chunks", "POST /up/a HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n0\r\n\r\n", "", "abc"},
		{"6.3: two lengths", "POST /up/a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", "400", "-"},
		{"6.3: a list of lengths", "POST /up/a HTTP/1.1\r\nHost: x\r\nContent-Length: 3, 4\r\n\r\nabcd", "400", "-"},
		{"6.3: a signed length", "POST /up/a HTTP/1.1\r\nHost: x\r\nContent-Length: +3\r\n\r\nabc", "400", "-"},
		{"6.1: a coding that nobody knows", "POST /up/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, x\r\n\r\n0\r\n\r\n", "501", "-"},
		{"6.1: a coding hidden behind a character", "POST /up/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", "", "-"},
		{"5.1: whitespace before the colon", "POST /up/a HTTP/1.1\r\nHost: x\r\nContent-Length : 3\r\n\r\nabc", "400", "-"},
		{"5: a name that is none", "GET /up/a HTTP/1.1\r\nHost: x\r\nX(a): b\r\n\r\n", "400", "-"},
		{"5: a control character in a value", "GET /up/a HTTP/1.1\r\nHost: x\r\nX-A: a\x00b\r\n\r\n", "400", "-"},
		{"3.2: no Host", "GET /up/a HTTP/1.1\r\n\r\n", "400", "-"},
		{"3.2: two of them", "GET /up/a HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", "400", "-"},
		{"3: a space in the target", "GET /up/a b HTTP/1.1\r\nHost: x\r\n\r\n", "400", "-"},
		{"3: a control character in the target", "GET /up/a\x01 HTTP/1.1\r\nHost: x\r\n\r\n", "400", "-"},
		{"7.1: a chunk's length that is none", "POST /up/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\nabc\r\n0\r\n\r\n", "", "-"},
		{"6.2: what follows a body is another request", "POST /up/a HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" + smuggled, "200", ""},
		{"9.3.1 of 9110: so it is with a GET", "GET /up/a HTTP/1.1\r\nHost: x\r\nContent-Length: 38\r\nConnection: close\r\n\r\n" + smuggled, "200", smuggled},
		{"2.2: a body of HTTP/0.9", "GET /up/a\r\n\r\n", "400", "-"},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			var asked, sent []string
			o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					asked, sent = append(asked, r.URL.Path), append(sent, string(body))
				}
			})
			s := startSite(t, o.URL)
			answer, _ := s.raw(tt.request + strings.Repeat("\r\n", 2))
			if !strings.HasPrefix(answer, "HTTP/1.1 "+tt.status) {
				t.Errorf("answered by %.60q, want %s", answer, tt.status)
			}
			mu.Lock()
			defer mu.Unlock()
			switch {
			case tt.sent == "-" && len(asked) > 0:
				t.Errorf("the origin was asked %q", asked)
			case tt.sent != "-" && (len(asked) != 1 || asked[0] != "/a" || sent[0] != tt.sent):
				t.Errorf("the origin was asked %q with %q, want %q", asked, sent, tt.sent)
			}
		})
	}
}

// TestAnswersThatAreNone is RFC 9112 sections 4 to 6 seen from the other side: an origin that breaks the protocol is an origin
// that does not answer, and nothing of it is kept.
func TestAnswersThatAreNone(t *testing.T) {
	for _, tt := range []struct {
		rule, answer string
		want         int // 0: the client's connection is cut
		body         string
	}{
		{"4: no HTTP", "220 smtp.example ESMTP\r\n", 502, ""},
		{"4: nothing", "", 502, ""},
		{"4: a status of two digits", "HTTP/1.1 20 OK\r\n\r\n", 502, ""},
		{"4: half a header", "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n", 502, ""},
		{"5: a line that is no field", "HTTP/1.1 200 OK\r\nnonsense\r\n\r\n", 502, ""},
		{"6.3: two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 502, ""},
		{"6.3: a negative length", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nabcd", 502, ""},
		{"6.3: too short", "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 10\r\n\r\nabcd", 0, ""},
		{"6.3: too short, and not to be stored", "HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: 10\r\n\r\nabcd", 0, ""},
		{"6.3: too long", "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 3\r\n\r\nabcdefgh", 200, "abc"},
		{"7.1: chunks that end early", "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", 0, ""},
		{"7.1: chunks that end early, and not to be stored", "HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", 0, ""},
		{"7.1: a chunk that is none", "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\n0\r\n\r\n", 0, ""},
		{"6.3: a length and chunks", "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 200, "abc"},
		{"6.3: neither, so that the end is the end", "HTTP/1.0 200 OK\r\nCache-Control: max-age=60\r\n\r\nabc", 200, "abc"},
		{"5.2: a folded line", "HTTP/1.1 200 OK\r\nX-A: a\r\n b\r\nContent-Length: 3\r\n\r\nabc", 200, "abc"},
		{"5: a huge header", "HTTP/1.1 200 OK\r\nX-A: " + strings.Repeat("a", 1<<20) + "\r\nContent-Length: 3\r\n\r\nabc", 502, ""},
		{"15 of 9110: a status that is none", "HTTP/1.1 999 Odd\r\nCache-Control: max-age=60\r\nContent-Length: 3\r\n\r\nabc", 999, "abc"},
		{"15.2 of 9110: switching when nobody asked", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nabc", 502, ""},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			t.Parallel()
			at, _ := rawOrigin(t, tt.answer)
			s := startSite(t, at)
			r, err := s.try(t.Context(), http.MethodGet, "/up/a")
			switch cut := err != nil || r.err != nil; {
			case tt.want == 0 && !cut:
				t.Errorf("status %d, %q looks whole", r.StatusCode, r.body)
			case tt.want == 0:
			case cut:
				t.Errorf("cut: %v, %v", err, r.err)
			case r.StatusCode != tt.want || tt.body != "" && string(r.body) != tt.body:
				t.Errorf("status %d, %q", r.StatusCode, r.body)
			}
			s.settled()
			if n := s.store.Stats().Entries; n > 0 && tt.want != 200 {
				t.Errorf("%d stored", n)
			}
		})
	}
}

// TestLargeHeaderIsKept is that what the transport lets through the store keeps.
func TestLargeHeaderIsKept(t *testing.T) {
	value := strings.Repeat("a", 100_000)
	o := startOrigin(t, file([]byte("x"), "Cache-Control: max-age=60", "X-A: "+value))
	s := startSite(t, o.URL)
	for range 2 {
		if r := s.get("/up/a"); r.StatusCode != 200 || r.Header.Get("X-A") != value {
			t.Errorf("status %d, %d bytes", r.StatusCode, len(r.Header.Get("X-A")))
		}
		s.settled()
	}
	o.wantRequests(t, "GET /a")
}

// TestHTTP10 is RFC 9112 section 9.3: a client of HTTP/1.0 knows the end of a body of unknown length by that of the
// connection, so that one that is cut has to end by a reset.
func TestHTTP10(t *testing.T) {
	for _, control := range []string{"max-age=60", "no-store"} {
		var whole atomic.Bool
		whole.Store(true)
		o := startOrigin(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Cache-Control", control)
			_, _ = io.WriteString(w, "some")
			_ = http.NewResponseController(w).Flush()
			if !whole.Load() {
				panic(http.ErrAbortHandler)
			}
			_, _ = io.WriteString(w, "thing")
		})
		s := startSite(t, o.URL)
		answer, err := s.raw("GET /up/a HTTP/1.0\r\n\r\n")
		if err != nil || !strings.HasSuffix(answer, "\r\n\r\nsomething") || strings.Contains(answer, "chunked") {
			t.Errorf("%s: %q, %v", control, answer, err)
		}
		whole.Store(false)
		if answer, err := s.raw("GET /up/b HTTP/1.0\r\n\r\n"); err == nil {
			t.Errorf("%s: %q looks whole", control, answer)
		}
		s.settled()
	}
}

// TestTargetForms is RFC 9112 section 3.2: forms of the request's target.
func TestTargetForms(t *testing.T) {
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		fmt.Fprint(w, r.Host, " ", r.RequestURI)
	})
	s := startSite(t, o.URL)
	host := strings.TrimPrefix(o.URL, "http://")
	for _, tt := range []struct{ rule, line, want string }{
		{"3.2.1: origin-form", "GET /up/a?b=c", host + " /a?b=c"},
		{"3.2.2: absolute-form", "GET http://other.example/up/a?b=c", host + " /a?b=c"},
		{"3.2.2: absolute-form with credentials", "GET http://u:p@other.example/up/d", host + " /d"},
		{"3.2.2: absolute-form of a PUT", "PUT http://other.example/up/e", host + " /e"},
	} {
		answer, err := s.raw(tt.line + " HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		if err != nil || !strings.HasSuffix(answer, "\r\n\r\n"+tt.want) {
			t.Errorf("%s: %q, %v", tt.rule, answer, err)
		}
	}
	o.wantRequests(t, "GET /a?b=c", "GET /d", "PUT /e")
	for line, want := range map[string]string{"OPTIONS *": "HTTP/1.1 200 ", "CONNECT other.example:443": "HTTP/1.1 400 ", "GET /elsewhere": "HTTP/1.1 400 "} {
		if answer, _ := s.raw(line + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); !strings.HasPrefix(answer, want) {
			t.Errorf("%s: %q", line, answer)
		}
	}
}

// TestContentIsForwarded is RFC 9110 sections 6.4 and 6.5: content of known and of unknown length, with its trailer.
func TestContentIsForwarded(t *testing.T) {
	large := random(3 << 20)
	type got struct {
		length  int64
		body    []byte
		trailer string
	}
	heard := make(chan got, 1)
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		heard <- got{r.ContentLength, body, r.Trailer.Get("X-Sum")}
	})
	s := startSite(t, o.URL)
	for _, method := range []string{http.MethodPut, http.MethodPost, "PROPPATCH"} {
		for _, length := range []int64{int64(len(large)), -1} {
			req, err := http.NewRequestWithContext(t.Context(), method, s.server.URL+"/up/a", io.NopCloser(bytes.NewReader(large)))
			if err != nil {
				t.Fatal(err)
			}
			req.ContentLength = length
			want := got{length, large, ""}
			if length < 0 {
				req.Trailer, want.trailer = http.Header{"X-Sum": {"42"}}, "42"
			}
			resp, err := s.client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if g := <-heard; g.length != want.length || !bytes.Equal(g.body, large) || g.trailer != want.trailer {
				t.Errorf("%s: length %d, %d bytes, trailer %q, want %d, %q", method, g.length, len(g.body), g.trailer, want.length, want.trailer)
			}
		}
	}
}

// TestContinue is RFC 9110 section 10.1.1: who expects 100 gets it once the origin wants the content, and what the origin says
// instead without having sent any.
func TestContinue(t *testing.T) {
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/refused" {
			w.Header().Set("Connection", "close")
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return
		}
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "got %s", body)
	})
	s := startSite(t, o.URL)
	for path, want := range map[string]string{"/up/a": "HTTP/1.1 100 ", "/up/refused": "HTTP/1.1 413 "} {
		c := s.dial()
		fmt.Fprintf(c, "PUT %s HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n", path)
		r := bufio.NewReader(c)
		line, err := r.ReadString('\n')
		if err != nil || !strings.HasPrefix(line, want) {
			t.Errorf("%s: %q, %v", path, line, err)
		}
		if strings.Contains(want, "100") {
			_, _ = io.WriteString(c, "body")
		}
		rest, err := io.ReadAll(r)
		if err != nil || strings.Contains(want, "100") && !bytes.HasSuffix(rest, []byte("got body")) {
			t.Errorf("%s: %q, %v", path, rest, err)
		}
	}
}

// blackHole is a transport to an origin that nobody answers for.
type blackHole struct {
	next http.RoundTripper
	open atomic.Bool
}

func (b *blackHole) RoundTrip(r *http.Request) (*http.Response, error) {
	if b.open.Load() {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	return b.next.RoundTrip(r)
}

// TestOriginThatIsNotThere is RFC 9111 section 4.2.4: what is stale is there in a second, whether the origin refuses or says
// nothing at all.
func TestOriginThatIsNotThere(t *testing.T) {
	for _, silent := range []bool{false, true} {
		o := startOrigin(t, file(random(1000), `Etag: "v1"`, "Cache-Control: max-age=0"))
		hole := &blackHole{next: NewTransport()}
		s := startSite(t, o.URL, func(o *Options) { o.Transport = hole })
		s.get("/up/a")
		s.settled()
		if silent {
			hole.open.Store(true)
		} else {
			o.Close()
		}
		for _, ask := range []string{"X: none", "Range: bytes=0-9", "Cache-Control: no-cache", "Cache-Control: no-store"} {
			began := time.Now()
			if r := s.get("/up/a", ask); r.StatusCode > 206 || !bytes.HasPrefix(random(1000), r.body) {
				t.Errorf("status %d", r.StatusCode)
			}
			if took := time.Since(began); took > 5*time.Second { // most of it is the machine's: nobody waits for a timeout
				t.Errorf("%s took %v", ask, took)
			}
		}
		hole.next.(*http.Transport).CloseIdleConnections()
	}
}

// TestPrivateAnswersAreForOne has a herd ask at once for what is each one's own: nobody gets another's, whatever says so.
func TestPrivateAnswersAreForOne(t *testing.T) {
	for _, lines := range []string{
		"Cache-Control: private", "Cache-Control: no-store", "Set-Cookie: a=b", "Vary: *", "Vary: Cookie|Cache-Control: max-age=60", "Trailer: X",
	} {
		t.Run(lines, func(t *testing.T) {
			t.Parallel()
			o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
				maps.Copy(w.Header(), fields(strings.Split(lines, "|")...))
				fmt.Fprint(w, "for ", r.Header.Get("Cookie"))
			})
			s := startSite(t, o.URL)
			var herd sync.WaitGroup
			for i := range 40 {
				herd.Go(func() {
					who := fmt.Sprint("c=", i)
					if r, err := s.try(t.Context(), http.MethodGet, "/up/a", "Cookie: "+who); err != nil || string(r.body) != "for "+who {
						t.Errorf("%s gets %q, %v", who, r.body, err)
					}
				})
			}
			herd.Wait()
		})
	}
}
