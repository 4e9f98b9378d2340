package httpcache

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pureboot/pureboot/agent/cache"
)

func TestAllMethodsPass(t *testing.T) {
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Got", fmt.Sprintf("%s %s %s", r.Method, r.Header.Get("Content-Type"), body))
		w.WriteHeader(http.StatusCreated)
	})
	s := startSite(t, o.URL)
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "BREW"} {
		req, err := http.NewRequestWithContext(t.Context(), method, s.server.URL+"/up/a", strings.NewReader("content"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "a/b")
		resp, err := s.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 201 || resp.Header.Get("X-Got") != method+" a/b content" ||
			!strings.HasPrefix(resp.Header.Get("Cache-Status"), "PureBoot; fwd=method; fwd-status=201") {
			t.Errorf("%s: %d, %v", method, resp.StatusCode, resp.Header)
		}
	}
}

// TestWhatPassesIsPaidFor: each byte of a body that is not stored once, in pieces that keep nobody waiting long.
func TestWhatPassesIsPaidFor(t *testing.T) {
	var paid atomic.Int64
	var broke atomic.Bool
	o := startOrigin(t, file(random(300_000), "Cache-Control: no-store"))
	s := startSite(t, o.URL, func(o *Options) {
		o.Admit = func(_ context.Context, n int, load cache.Load) error {
			if n > paidAtOnce || !load.Foreground {
				t.Errorf("%d bytes at once, %+v", n, load)
			}
			paid.Add(int64(n))
			if broke.Load() {
				return errNot
			}
			return nil
		}
	})
	s.body(s.get("/up/a"), 200, random(300_000)) // asked for to be stored
	s.body(s.get("/up/a"), 200, random(300_000)) // not even that
	s.get("/up/a", "Range: bytes=0-99")
	s.do(http.MethodPost, "/up/a")
	if n := paid.Load(); n != 900_100 {
		t.Errorf("%d bytes are paid for", n)
	}
	broke.Store(true)
	if r, err := s.try(t.Context(), http.MethodGet, "/up/a"); err == nil && r.err == nil {
		t.Errorf("%d bytes that nobody pays for", len(r.body))
	}
}

func TestTrailersPass(t *testing.T) {
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Trailer", "X-Sum")
		io.WriteString(w, "content")
		w.Header().Set("X-Sum", "42")
	})
	s := startSite(t, o.URL)
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		if r := s.do(method, "/up/a"); r.Trailer.Get("X-Sum") != "42" || string(r.body) != "content" {
			t.Errorf("%s: %q, trailer %v", method, r.body, r.Trailer)
		}
	}
}

func TestInterimAnswersPass(t *testing.T) {
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</style.css>")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Link")
		w.Header().Set("Cache-Control", "max-age=60")
		io.WriteString(w, "content")
	})
	s := startSite(t, o.URL)
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		var hints []string
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(status int, h textproto.MIMEHeader) error {
			hints = append(hints, fmt.Sprint(status, h.Get("Link")))
			return nil
		}})
		r, err := s.try(ctx, method, "/up/a")
		if err != nil || r.StatusCode != 200 || string(r.body) != "content" || r.Header.Get("Link") != "" {
			t.Errorf("%s: %v, %v", method, r.Response, err)
		}
		if len(hints) != 1 || hints[0] != "103</style.css>" {
			t.Errorf("%s: hints %q", method, hints)
		}
	}
}

func TestUpgradePasses(t *testing.T) {
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "echo" {
			t.Errorf("origin gets %v", r.Header)
		}
		c, buf, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		line, _ := buf.ReadString('\n')
		io.WriteString(c, "echo "+line)
	})
	s := startSite(t, o.URL)
	c, err := net.Dial("tcp", strings.TrimPrefix(s.server.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "GET /up/a HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	buf := bufio.NewReader(c)
	resp, err := http.ReadResponse(buf, nil)
	if err != nil || resp.StatusCode != 101 {
		t.Fatalf("%v, %v", resp, err)
	}
	io.WriteString(c, "hello\n")
	if line, err := buf.ReadString('\n'); line != "echo hello\n" {
		t.Errorf("%q, %v", line, err)
	}
}

func TestUnsafeMethodsInvalidate(t *testing.T) {
	version := 1
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			version++
			w.Header().Set("Location", "/dir/b?x=1")
			if strings.HasSuffix(r.URL.Path, "fails") {
				w.WriteHeader(400)
			}
			return
		}
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Vary", "X")
		fmt.Fprint(w, version)
	})
	s := startSite(t, o.URL+"/dir")
	all := []string{"/up/a", "/up/b?x=1", "/up/c"}
	fill := func() {
		for _, path := range all {
			s.get(path, "X: 1")
			s.get(path, "X: 2")
		}
		s.settled()
	}
	fill()
	s.do(http.MethodPost, "/up/fails")
	for _, path := range all {
		s.says(s.get(path, "X: 1"), "hit")
	}
	s.do(http.MethodPost, "/up/a")
	for _, path := range all[:2] {
		for _, x := range []string{"X: 1", "X: 2"} {
			if r := s.get(path, x); string(r.body) != "3" {
				t.Errorf("%s is still version %s", path, r.body)
			}
		}
	}
	s.says(s.get("/up/c", "X: 1"), "hit")
	s.settled()
	s.says(s.get("/up/a", "X: 1"), "hit")
}

// TestInvalidatedWhileReceived has an object changed while it is received: those who come after that do not get it.
func TestInvalidatedWhileReceived(t *testing.T) {
	old, now := random(300_000), random(300_001)
	g := make(gate)
	first := gatedFile(old, 1000, g, `Etag: "v1"`, "Cache-Control: max-age=60")
	asked := 0
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodPut:
		case asked == 0:
			asked++
			first(w, r)
		default:
			file(now, `Etag: "v2"`, "Cache-Control: max-age=60")(w, r)
		}
	})
	s := startSite(t, o.URL)
	f, err := s.follow(t.Context(), "/up/a")
	if err != nil {
		t.Fatal(err)
	}
	s.do(http.MethodPut, "/up/a")
	s.body(s.get("/up/a"), 200, now)
	g.open()
	if got, err := f.rest(); err != nil || !bytes.Equal(got, old) {
		t.Errorf("who came before: %d bytes, %v", len(got), err)
	}
	s.settled()
	s.body(s.get("/up/a"), 200, now)
	s.settled()
	r := s.get("/up/a")
	s.body(r, 200, now)
	s.says(r, "hit")
}

func TestRedirects(t *testing.T) {
	elsewhere := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" || r.Header.Get("Cookie") != "" {
			t.Errorf("credentials have left for %s: %v", r.Host, r.Header)
		}
		file([]byte("elsewhere"), `Etag: "v1"`, "Cache-Control: max-age=60")(w, r)
	})
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/dir/inside":
			http.Redirect(w, r, "/dir/b?c=d#e", http.StatusFound)
		case "/dir/absolute":
			w.Header().Set("Location", "http://"+r.Host+"/dir/b")
			w.WriteHeader(http.StatusMovedPermanently)
		case "/dir/outside":
			http.Redirect(w, r, "/other", http.StatusFound)
		case "/dir/elsewhere":
			http.Redirect(w, r, elsewhere.URL+"/x", http.StatusTemporaryRedirect)
		case "/dir/circle":
			http.Redirect(w, r, "/dir/circle", http.StatusFound)
		default:
			file([]byte("here"), `Etag: "v1"`, "Cache-Control: max-age=60")(w, r)
		}
	})
	s := startSite(t, o.URL+"/dir")
	for _, tt := range []struct{ path, want string }{
		{"/up/inside", "/up/b?c=d#e"}, {"/up/absolute", "/up/b"}, {"/up/outside", o.URL + "/other"}, {"/up/elsewhere", elsewhere.URL + "/x"},
	} {
		for range 2 {
			r := s.get(tt.path)
			if got := r.Header.Get("Location"); r.StatusCode/100 != 3 || got != tt.want {
				t.Errorf("%s: %d to %s, want %s", tt.path, r.StatusCode, got, tt.want)
			}
			s.settled()
		}
	}
	s = startSite(t, o.URL+"/dir", func(o *Options) { o.FollowRedirects = true })
	for path, want := range map[string]string{"/up/inside": "here", "/up/absolute": "here", "/up/elsewhere": "elsewhere"} {
		s.body(s.get(path, "Cookie: a=b"), 200, []byte(want))
		s.settled()
		s.says(s.get(path), "hit")
	}
	if r := s.get("/up/circle"); r.StatusCode != http.StatusBadGateway {
		t.Errorf("circle: status %d", r.StatusCode)
	}
	if r := s.do(http.MethodPost, "/up/elsewhere"); r.StatusCode != http.StatusTemporaryRedirect {
		t.Errorf("POST: status %d", r.StatusCode)
	}
}

// TestRelocate is RFC 9110 section 10.2.2, for an upstream of all paths and for one of some.
func TestRelocate(t *testing.T) {
	for _, tt := range []struct{ prefix, origin, from, to, want string }{
		{"/", "http://x/", "/a/b", "http://x/c?d#e", "/c?d#e"},
		{"/", "http://x/", "/a/b", "http://x:80", "/"},
		{"/", "http://x/", "/a/b", "http://x//evil.example/", "/.//evil.example/"},
		{"/", "http://x/", "/a/b", "//evil.example/", "http://evil.example/"},
		{"/", "http://x/", "/a/b", "c", "/a/c"},
		{"/", "http://x/", "/a/b", "#c", "/a/b#c"},
		{"/up/", "https://x/d/", "/d/a/b", "../../e", "https://x/e"},
		{"/up/", "https://x/d/", "/d/a/b", "../c%2Fd", "/up/c%2Fd"},
		{"/up/", "https://x/d/", "/d/a/b", "http://x/d/c", "http://x/d/c"},
		{"/up/", "https://x/d/", "/d/a/b", "https://x/dd", "https://x/dd"},
		{"/up/", "https://x/d/", "/d/a/b", "//other.example/", "https://other.example/"},
		{"/up/", "https://x/d/", "/d/a/b", "%zz", "%zz"},
		{"/up/", "https://x/d/", "/d/a/b", "mailto:a@b", "mailto:a@b"},
	} {
		h := &Handler{Options: Options{Prefix: tt.prefix, Origin: mustParse(t, tt.origin)}}
		header := http.Header{"Location": {tt.to}}
		h.relocate(header, "Location", h.Origin.ResolveReference(mustParse(t, tt.from)))
		same(t, tt.to+" from "+tt.from, header.Get("Location"), tt.want)
	}
}

// TestCredentialsWhileFollowing is RFC 9110 section 17.16.3: another origin never gets them, nor does the first one once others
// have had a say.
func TestCredentialsWhileFollowing(t *testing.T) {
	for _, tt := range []struct {
		name string
		to   []string // what is redirected to, in turn
		want []bool   // whether credentials are there
	}{
		{"the same origin", []string{"/b", "http://a.example:80/c"}, []bool{true, true, true}},
		{"another host", []string{"http://b.example/"}, []bool{true, false}},
		{"another port", []string{"http://a.example:8080/"}, []bool{true, false}},
		{"another scheme", []string{"https://a.example/"}, []bool{true, false}},
		{"a name within", []string{"http://x.a.example/"}, []bool{true, false}},
		{"there and back", []string{"http://b.example/", "http://a.example/"}, []bool{true, false, false}},
	} {
		var got []bool
		f := &following{next: roundTripper(func(r *http.Request) (*http.Response, error) {
			kept := r.Header.Get("Authorization") != ""
			same(t, tt.name+": the cookie as the rest", r.Header.Get("Cookie") != "", kept)
			same(t, tt.name+": credentials in the URL", r.URL.User == nil, true)
			got = append(got, kept)
			resp := &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody}
			if n := len(got); n <= len(tt.to) {
				resp.StatusCode, resp.Header = 302, http.Header{"Location": {tt.to[n-1]}}
			}
			return resp, nil
		})}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://a.example/a", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header = fields("Authorization: x", "Cookie: y")
		resp, err := f.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		same(t, tt.name, fmt.Sprint(got), fmt.Sprint(tt.want))
	}
}

func TestTargets(t *testing.T) {
	base, err := url.Parse("http://deb.example/debian/")
	if err != nil {
		t.Fatal(err)
	}
	h := &Handler{Options: Options{Prefix: "/mirror/debian/", Origin: base}}
	for path, want := range map[string]string{
		"/mirror/debian/":                   "http://deb.example/debian/",
		"/mirror/debian/pool/a+b.deb?x=%2f": "http://deb.example/debian/pool/a+b.deb?x=%2f",
		"/mirror/debian/a%2Fb/c%20d":        "http://deb.example/debian/a%2Fb/c%20d",
		"//mirror/debian/a//b/":             "http://deb.example/debian/a//b/",
		"/mirror/debian/a;b=c,d:e@f!":       "http://deb.example/debian/a;b=c,d:e@f!",
		"/mirror/debian/...":                "http://deb.example/debian/...",
	} {
		u, err := url.ParseRequestURI(path)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := h.target(u); err != nil || got.String() != want {
			t.Errorf("%s goes to %v, %v, want %s", path, got, err, want)
		}
	}
}

// TestWhatCannotBeStoredIsRemembered for a while, and only so much of it.
func TestWhatCannotBeStoredIsRemembered(t *testing.T) {
	h, now := bare(t), time.Now()
	h.dismiss("a", time.Minute)
	for after, want := range map[time.Duration]bool{0: true, 59 * time.Second: true} {
		same(t, fmt.Sprint("after ", after), h.unstorable("a", now.Add(after)), want)
	}
	same(t, "another", h.unstorable("b", now), false)
	same(t, "when it is over", h.unstorable("a", now.Add(2*time.Minute)), false)
	same(t, "then it is forgotten", len(h.unstored), 0)
	for i := range 2 * maxUnstored {
		h.dismiss(fmt.Sprint(i), time.Minute)
	}
	if n := len(h.unstored); n > maxUnstored || !h.unstorable(fmt.Sprint(2*maxUnstored-1), now) {
		t.Errorf("%d are remembered", n)
	}
}
