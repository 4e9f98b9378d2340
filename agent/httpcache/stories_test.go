package httpcache

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// story is one rule of HTTP, told by what clients ask of a cache before an origin, over sockets. The tables of stories
// are grouped by the part of the RFCs that their rules stand in:
//
//	stories_storing_test.go      what is stored            RFC 9111 section 3
//	stories_freshness_test.go    for how long it is used   RFC 9111 sections 4.2, 5.1 and 5.3
//	stories_directives_test.go   Cache-Control             RFC 9111 sections 5.2 and 5.4, RFC 5861, RFC 8246
//	stories_variants_test.go     keys and Vary             RFC 9111 sections 2 and 4.1
//	stories_validation_test.go   conditions                RFC 9111 section 4.3, RFC 9110 section 13
//	stories_invalidation_test.go unsafe methods            RFC 9111 section 4.4
//	stories_ranges_test.go       parts                     RFC 9110 section 14, RFC 9111 sections 3.3 and 3.4, RFC 9530
//	stories_forwarding_test.go   what passes, and how      RFC 9110 sections 7, 9, 10 and 15
//
// What needs raw bytes is in wire_test.go (framing, targets, HTTP/1.0, RFC 9112), tunnel_test.go (Upgrade) and broken_test.go.
type story struct {
	rule  string // with its section
	turns []turn
}

// turn is one request. Its strings are lists of fields, parted by |.
type turn struct {
	// ask is what the client sends: "HEAD /x?y|Accept: a|>body"; method, what is appended to the story's own path, and
	// the content are optional.
	ask string
	// origin is what the origin answers: "200|Etag: "v1"|<body", and by a leading "?" what it wants to have been sent:
	// `?If-None-Match: "v1"`, "?!Range", "?>body". "!Date" leaves out what a server adds. "-" cuts the connection.
	// "&&" parts the answers to several requests; of an empty one, nothing is asked.
	origin string
	// want is what the client gets: "200|Age: 60|!Warning|Cache-Status~hit|<body". "#0" is the body that the origin
	// has made in the first turn, "cut" a connection that ends before the answer does.
	want string
}

// dateToken is a date some seconds before or after now.
var dateToken = regexp.MustCompile(`NOW([+-]\d+)?`)

func parts(s string) []string {
	s = dateToken.ReplaceAllStringFunc(s, func(m string) string {
		shift, _ := strconv.Atoi(strings.TrimPrefix(m, "NOW"))
		return formatDate(time.Now().Add(time.Duration(shift) * time.Second))
	})
	return strings.Split(s, "|")
}

// teller is the origin of stories.
type teller struct {
	t    *testing.T
	mu   sync.Mutex
	turn int
	left []string // answers of this turn that nobody has asked for yet
	cut  bool
}

// contentOf reads what stands behind a "<": bytes, or "@3-6" for the fourth to sixth byte of a large file.
func contentOf(s string) string {
	span, is := strings.CutPrefix(s, "@")
	if !is {
		return s
	}
	first, end, _ := strings.Cut(span, "-")
	start, _ := strconv.Atoi(first)
	stop, _ := strconv.Atoi(end)
	return string(largeFile()[start:stop])
}

var largeFile = sync.OnceValue(func() []byte { return random(4 << 20) })

func bodyOf(turn int) string { return fmt.Sprintf("what the origin has in turn %d", turn) }

func (o *teller) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	sent, _ := io.ReadAll(r.Body)
	o.mu.Lock()
	turn, answer := o.turn, ""
	if len(o.left) > 0 {
		if answer = o.left[0]; answer == "-" {
			o.cut = true // however often it is asked: a transport tries again on another connection
		} else {
			o.left = o.left[1:]
		}
	}
	o.mu.Unlock()
	if answer == "" {
		o.t.Errorf("turn %d: the origin is asked: %s %s %v", turn, r.Method, r.RequestURI, r.Header)
		w.WriteHeader(http.StatusTeapot)
		return
	}
	if answer == "-" {
		panic(http.ErrAbortHandler)
	}
	fields := parts(answer)
	status, err := strconv.Atoi(fields[0])
	if err != nil {
		o.t.Errorf("turn %d: origin %q", turn, answer)
	}
	body := bodyOf(turn)
	for _, f := range fields[1:] {
		switch {
		case strings.HasPrefix(f, "?>"):
			if string(sent) != f[2:] {
				o.t.Errorf("turn %d: the origin gets the content %q, want %q", turn, sent, f[2:])
			}
		case strings.HasPrefix(f, "?"):
			wantField(o.t, fmt.Sprintf("turn %d: the origin", turn), r.Header, f[1:])
		case strings.HasPrefix(f, "<"):
			body = contentOf(f[1:])
		case strings.HasPrefix(f, "!"):
			w.Header()[f[1:]] = nil
		default:
			name, value, _ := strings.Cut(f, ":")
			w.Header().Add(name, strings.TrimLeft(value, " "))
		}
	}
	if status != http.StatusNoContent && status != http.StatusNotModified && w.Header().Get("Content-Length") == "" {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	}
	w.WriteHeader(status)
	if r.Method != http.MethodHead && status != http.StatusNoContent && status != http.StatusNotModified {
		_, _ = io.WriteString(w, body) // the client sees what is missing
	}
}

// wantField is that a header has "Name: value", has "Name~part" in it, or has no "!Name".
func wantField(t *testing.T, who string, h http.Header, want string) {
	t.Helper()
	if name, absent := strings.CutPrefix(want, "!"); absent {
		if v, has := h[http.CanonicalHeaderKey(name)]; has {
			t.Errorf("%s gets %s: %q", who, name, v)
		}
		return
	}
	i := strings.IndexAny(want, ":~")
	name, value := want[:i], strings.TrimLeft(want[i+1:], " ")
	got, is := strings.Join(h.Values(name), ", "), false
	if want[i] == '~' {
		is = strings.Contains(got, value)
	} else {
		is = got == value
	}
	// Seconds may pass between two turns.
	if n, err := strconv.Atoi(value); err == nil && name == "Age" {
		age, err := strconv.Atoi(got)
		is = err == nil && age >= n && age <= n+5
	}
	if !is {
		t.Errorf("%s gets %s: %s, want %s", who, name, got, want)
	}
}

// tell has each story happen at a path of its own.
func tell(t *testing.T, stories []story, change ...func(*Options)) {
	o := &teller{}
	origin := startOrigin(t, o.ServeHTTP)
	s := startSite(t, origin.URL, change...)
	s.handler.patient = 10 * time.Second // stories are about what the origin says, however slow the machine is
	for i, st := range stories {
		t.Run(st.rule, func(t *testing.T) {
			o.t, s.t = t, t
			defer func(before *testing.T) { s.t = before }(s.t)
			for n, turn := range st.turns {
				o.begin(n, turn.origin)
				s.turn(n, "/up/"+strconv.Itoa(i), turn)
				o.end()
				s.settled()
			}
		})
	}
	s.t = t
}

func (o *teller) begin(turn int, answers string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.turn, o.left, o.cut = turn, nil, false
	if answers != "" {
		for answer := range strings.SplitSeq(answers, "&&") {
			o.left = append(o.left, strings.TrimSpace(answer))
		}
	}
}

// end waits until the origin was asked as often as it should be: what goes on in the background may take a while.
func (o *teller) end() {
	o.t.Helper()
	eventually(o.t, fmt.Sprintf("turn %d: the origin is asked", o.turn), func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		return len(o.left) == 0 || o.cut
	})
}

func (s *site) turn(n int, path string, turn turn) {
	s.t.Helper()
	ask := parts(turn.ask)
	method, suffix, _ := strings.Cut(ask[0], " ")
	if method == "" {
		method = http.MethodGet
	}
	var content io.Reader
	var lines []string
	for _, f := range ask[1:] {
		if body, is := strings.CutPrefix(f, ">"); is {
			content = strings.NewReader(body)
		} else {
			lines = append(lines, f)
		}
	}
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.server.URL+path+suffix, content)
	if err != nil {
		s.t.Fatal(err)
	}
	maps.Copy(req.Header, fields(lines...))
	if host := req.Header.Get("Host"); host != "" {
		req.Host = host
	}
	resp, err := s.client.Do(req)
	if err != nil {
		if turn.want != "cut" {
			s.t.Errorf("turn %d: %v", n, err)
		}
		return
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if (err != nil) != (turn.want == "cut") {
		s.t.Errorf("turn %d: status %d, %d bytes, %v, want %s", n, resp.StatusCode, len(body), err, turn.want)
	}
	if turn.want == "cut" {
		return
	}
	want := parts(turn.want)
	if got := strconv.Itoa(resp.StatusCode); got != want[0] {
		s.t.Errorf("turn %d: status %s, want %s; %v", n, got, want[0], resp.Header)
	}
	for _, f := range want[1:] {
		switch {
		case strings.HasPrefix(f, "#"):
			made, _ := strconv.Atoi(f[1:])
			same(s.t, fmt.Sprintf("turn %d: body", n), string(body), bodyOf(made))
		case strings.HasPrefix(f, "<"):
			if want := contentOf(f[1:]); string(body) != want {
				s.t.Errorf("turn %d: body is %.40q of %d bytes, want %.40q of %d", n, body, len(body), want, len(want))
			}
		default:
			wantField(s.t, fmt.Sprintf("turn %d: the client", n), resp.Header, f)
		}
	}
}
