package gateway

import (
	"bufio"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pureboot/pureboot/agent/cache"
	"github.com/pureboot/pureboot/agent/content"
)

func TestEveryRouteKnowsItsMethods(t *testing.T) {
	c := newCentral()
	n := c.add(mac, "pending")
	c.file("bootloaders/ipxe.efi", []byte("loader"))
	c.file("scripts/x", []byte("script"))
	c.file("templates/x", []byte("template"))
	c.file("images/x", []byte("image"))
	s := startSite(t, c)
	token := s.tokenOf(t, n)
	for _, tt := range []struct {
		path, allow string
		status      int // with the first of the allowed methods and no body
	}{
		{"/boot.ipxe", "GET, HEAD", 200},
		{"/autoexec.ipxe", "GET, HEAD", 200},
		{"/bootloaders/autoexec.ipxe", "GET, HEAD", 200},
		{"/boot/" + mac, "GET, HEAD", 200},
		{"/boot/", "GET, HEAD", 200},
		{"/boot/no/mac", "GET, HEAD", 200},
		{"/boot/" + mac + "/started?t=" + token, "GET", 200},
		{"/api/v1/boot?mac=" + mac, "GET, HEAD", 200},
		{"/grub/" + mac, "GET, HEAD", 200},
		{"/render/" + mac + "/templates/x?t=" + token, "GET, HEAD", 200},
		{"/api/v1/nodes?mac=" + mac, "GET, HEAD", 200},
		{"/api/v1/nodes/" + n.ID, "GET, HEAD", 200},
		{"/api/v1/nodes/register", "POST", 400},
		{"/api/v1/nodes/" + n.ID + "/state", "PATCH", 400},
		{"/api/v1/nodes/" + n.ID + "/event", "POST", 400},
		{"/bootloaders/ipxe.efi", "GET, HEAD", 200},
		{"/scripts/x", "GET, HEAD", 200},
		{"/templates/x", "GET, HEAD", 200},
		{"/images/x", "GET, HEAD", 200},
	} {
		allowed := strings.Split(tt.allow, ", ")
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "get"} {
			r := s.do(t, method, tt.path, "")
			switch {
			case method == allowed[0]:
				if r.StatusCode != tt.status {
					t.Errorf("%s %s is answered %d: %s", method, tt.path, r.StatusCode, r.body)
				}
			case slices.Contains(allowed, method):
				if r.StatusCode != tt.status || r.body != "" {
					t.Errorf("%s %s is answered %d: %q", method, tt.path, r.StatusCode, r.body)
				}
			default:
				if r.StatusCode != http.StatusMethodNotAllowed {
					t.Errorf("%s %s is answered %d", method, tt.path, r.StatusCode)
				}
				if method != http.MethodHead { // which has no body
					r.problem(t, http.StatusMethodNotAllowed)
				}
				if got := r.Header.Get("Allow"); got != tt.allow {
					t.Errorf("%s %s allows %q, want %q", method, tt.path, got, tt.allow)
				}
			}
			if r.Header.Get("Cache-Status") == "" {
				t.Errorf("%s %s: no Cache-Status", method, tt.path)
			}
		}
	}
}

func TestWhatIsNotThere(t *testing.T) {
	s := startSite(t, newCentral())
	for _, path := range []string{
		"/", "", "/favicon.ico", "/bootloaders", "/bootloaders/", "/images", "/scripts/", "/templates", "/render", "/render/" + mac,
		"/render/" + mac + "/", "/api", "/api/v1", "/api/v1/", "/api/v1/agents/boot", "/api/v1/content/images/x", "/api/v1/groups",
		"/api/v1/nodes/" + "x/y/z", "/upstream/x", "/readyz", "/metrics", "/bootx", "/grubx",
	} {
		s.get(t, path).problem(t, http.StatusNotFound)
	}
}

// TestPathsThatAClientWouldClean writes them on the socket as they are.
func TestPathsThatAClientWouldClean(t *testing.T) {
	c := newCentral()
	c.add(mac, "active")
	body := string(c.file("images/debian-12/linux", []byte("the kernel")))
	s := startSite(t, c)
	host := s.server.Listener.Addr().String()
	for _, target := range []string{
		"/images/debian-12/linux", "//images/debian-12/linux", "/images//debian-12///linux", "/images/debian-12/linux/",
		"///images/debian-12/linux//", "/%69mages/debian-12/linux", "/images/debian%2D12/linux",
		"http://" + host + "/images/debian-12/linux", "http://elsewhere.example//images/debian-12/linux",
		"/images/debian-12/linux?x=../../etc", "/images/debian-12/linux?%2e%2e",
	} {
		r := s.raw(t, "GET "+target+" HTTP/1.1\r\nHost: "+host+"\r\n\r\n")
		if r.StatusCode != 200 || r.body != body {
			t.Errorf("%s is answered %d: %s", target, r.StatusCode, r.body)
		}
	}
	for _, target := range []string{
		"/images/../images/debian-12/linux", "/images/%2e%2e/images/debian-12/linux", "/images/.%2e/x", "/images/%2E%2E%2Fx",
		"/images/debian-12%2flinux", "/images/debian-12%2Flinux", "/images/debian-12%5clinux", `/images/debian-12\linux`,
		"/images/linux%00", "/images/%0alinux", "/images/%7f", "/..", "/../../etc/passwd", "/./images/debian-12/linux",
		"/images/./debian-12/linux", "/images/%2e/x", "/images/%252e%252e/..", "/%2e%2e/%2e%2e/etc/passwd",
		"/images/" + strings.Repeat("x", 3000),
	} {
		s.raw(t, "GET "+target+" HTTP/1.1\r\nHost: x\r\n\r\n").problem(t, http.StatusBadRequest)
	}
	s.raw(t, "CONNECT "+host+" HTTP/1.1\r\nHost: x\r\n\r\n").problem(t, http.StatusBadRequest)
	s.raw(t, "CONNECT /images/debian-12/linux HTTP/1.1\r\nHost: x\r\n\r\n").problem(t, http.StatusMethodNotAllowed)
	s.raw(t, "CONNECT //images/ HTTP/1.1\r\nHost: x\r\n\r\n").problem(t, http.StatusNotFound)

	for _, target := range []string{
		"/boot/" + mac, "//boot/" + mac, "/boot//" + mac, "/boot/" + mac + "/", "/boot/%2e%2e", "/boot/../boot/" + mac, "/boot/a%2fb",
		"/boot/%00", "/boot/\xff", "/boot/%ff", "/boot/a/b/c", "/boot", "/boot//", "//boot", "/boot/" + strings.Repeat("0", 3000), `/boot/\`,
		"http://elsewhere.example/boot/" + mac, "/boot/" + mac + "?%zz;;&=", "/api/v1/boot", "/api/v1/boot?mac=%00",
	} {
		s.raw(t, "GET "+target+" HTTP/1.1\r\nHost: x\r\n\r\n").script(t)
	}
	if r := s.raw(t, "GET /grub/%2e%2e HTTP/1.1\r\nHost: x\r\n\r\n"); r.StatusCode != 200 || !strings.Contains(r.body, "echo 'Reason:") {
		t.Errorf("grub is answered %d: %s", r.StatusCode, r.body)
	}
}

func TestAnHTTP10Client(t *testing.T) {
	c := newCentral()
	body := string(c.file("images/linux", []byte("the kernel")))
	s := startSite(t, c)
	if r := s.raw(t, "GET /images/linux HTTP/1.0\r\n\r\n"); r.body != body || r.ContentLength != int64(len(body)) {
		t.Errorf("answered %d, %d bytes: %s", r.StatusCode, r.ContentLength, r.body)
	}
	s.raw(t, "GET /boot/"+mac+" HTTP/1.0\r\n\r\n").script(t)
}

func FuzzCleanPath(f *testing.F) {
	for _, seed := range []string{"/", "//a", "/a//b/", "/a/../b", "/%2e%2e", "/a%2fb", "/a%5cb", "/%00", "*", "", "/a;b", "/%25", "http://h/x", "/..a", "/ü"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, target string) {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			return
		}
		path, err := cleanPath(u)
		if err != nil {
			return
		}
		if path != filepath.Clean(path) || path[0] != '/' || strings.ContainsAny(path, "\\\x00\r\n") {
			t.Errorf("%q becomes %q", target, path)
		}
		again := &url.URL{Path: path}
		if twice, err := cleanPath(again); err != nil || twice != path {
			t.Errorf("%q becomes %q, and that %q, %v", target, path, twice, err)
		}
	})
}

// FuzzRequests sends whatever may come from the site's network, while central is away and secrets lie around the
// cache.
func FuzzRequests(f *testing.F) {
	for _, seed := range [][2]string{
		{"GET", "/boot/" + mac},
		{"GET", "//boot/x"},
		{"GET", "/boot/%2e%2e/%2e%2e/secret"},
		{"GET", "/images/../secret"},
		{"GET", "/images/linux"},
		{"HEAD", "/boot/x"},
		{"POST", "/boot/x"},
		{"GET", "/grub/x"},
		{"GET", "/render/" + mac + "/templates/../../secret?t=x"},
		{"GET", "/api/v1/nodes?mac=" + mac},
		{"GET", "/api/v1/nodes/x"},
		{"OPTIONS", "*"},
		{"GET", "/boot/" + mac + "?uuid=%0a&serial='\"$(x)"},
		{"GET", "http://x//images//linux/"},
		{"CONNECT", "/images"},
		{"GET", "/images"},
		{"GET", "/boot"},
		{"GET", "/boot/a?platform=efi&arch=x"},
		{"GET", "/images/%2fetc/passwd"},
		{"GET", "/render/a"},
		{"GET", "/bootloaders/autoexec.ipxe"},
		{"GET", "/boot/x/started"},
	} {
		f.Add(seed[0], seed[1], "bytes=0-")
	}
	c := newCentral()
	c.down = errDead
	c.file("images/linux", []byte("the kernel"))
	s := openSite(f, c)
	for _, name := range []string{"secret", "state/secret", "cache/secret"} {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte("SECRET"), 0o600); err != nil {
			f.Fatal(err)
		}
	}
	s.Log = discard
	f.Fuzz(func(t *testing.T, method, target, ranges string) {
		text := method + " " + target + " HTTP/1.1\r\nHost: x\r\n"
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text + "\r\n")))
		if err != nil {
			return // net/http refuses it
		}
		r.Header.Set("Range", ranges)
		began := time.Now()
		w := s.recorded(r)
		res := w.Result()
		body := w.Body.String()
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("answered after %v", took)
		}
		if res.StatusCode < 200 || res.StatusCode >= 300 && res.StatusCode < 400 || res.Header.Get("Location") != "" {
			t.Errorf("answered %d to %s", res.StatusCode, res.Header.Get("Location"))
		}
		if res.StatusCode == http.StatusInternalServerError {
			t.Errorf("panicked: %s", body)
		}
		if strings.Contains(body, "SECRET") || strings.Contains(body, "the kernel") {
			t.Errorf("gave away %q", body)
		}
		if res.Header.Get("Cache-Status") == "" {
			t.Error("no Cache-Status")
		}
		first, rest, _ := strings.Cut(strings.Trim(r.URL.Path, "/"), "/")
		if r.Method == "GET" && first == "boot" && !strings.Contains(rest, "started") {
			if res.StatusCode != 200 || !strings.HasPrefix(body, "#!ipxe\n") {
				t.Errorf("a machine is answered %d: %s", res.StatusCode, body)
			}
		}
	})
}

func TestAPanicIsNoEndForAMachine(t *testing.T) {
	s := openSite(t, newCentral())
	s.Nodes, s.Files = nil, nil // which every handler trips over
	w := s.recorded(httptest.NewRequest("GET", "/boot/"+mac, nil))
	if w.Code != 200 || !strings.HasPrefix(w.Body.String(), "#!ipxe\n") {
		t.Errorf("boot is answered %d: %s", w.Code, w.Body)
	}
	w = s.recorded(httptest.NewRequest("GET", "/grub/"+mac, nil))
	if w.Code != 200 || !strings.Contains(w.Body.String(), "fault of the agent") {
		t.Errorf("grub is answered %d: %s", w.Code, w.Body)
	}
	w = s.recorded(httptest.NewRequest("GET", "/images/linux", nil))
	if w.Code != 500 || strings.Contains(w.Body.String(), "nil pointer") {
		t.Errorf("content is answered %d: %s", w.Code, w.Body)
	}
	if log := s.log.String(); strings.Count(log, "handler panicked") != 3 || !strings.Contains(log, "gateway.go") {
		t.Errorf("the log does not say where: %s", log)
	}
}

func TestOverloadAsksToComeBack(t *testing.T) {
	s := openSite(t, newCentral())
	var leaves []func()
	enter := func(client string, n int) {
		for range n {
			if !s.visitors.enter(client) {
				t.Fatalf("%s finds no place", client)
			}
			leaves = append(leaves, func() { s.visitors.leave(client) })
		}
	}
	boot := func() *httptest.ResponseRecorder {
		return s.recorded(httptest.NewRequest("GET", "/boot/"+mac, nil)) // from 192.0.2.1
	}
	refused := func(why string) {
		t.Helper()
		if w := boot(); w.Code != 503 || w.Header().Get("Retry-After") == "" {
			t.Errorf("%s: answered %d, %v", why, w.Code, w.Header())
		}
	}
	enter("192.0.2.9:1", maxOfClient)
	if w := boot(); w.Code != 200 {
		t.Errorf("while another host takes all it can: %d", w.Code)
	}
	enter("192.0.2.1:1", maxOfClient)
	refused("a host that takes all it can")
	leaves[len(leaves)-1]()
	if w := boot(); w.Code != 200 {
		t.Errorf("with a place again: %d", w.Code)
	}
	leaves = leaves[:len(leaves)-1]
	for i := 0; s.Active() < maxActive; i++ {
		enter(fmt.Sprintf("[2001:db8::%x]:1", i), 1)
	}
	refused("with all places taken")
	for _, leave := range leaves {
		leave()
	}
	if s.Active() != 0 || len(s.visitors.of) != 0 {
		t.Errorf("%d requests and %d clients are left", s.Active(), len(s.visitors.of))
	}
}

func TestRequestIDs(t *testing.T) {
	s := openSite(t, newCentral())
	for _, tt := range []struct {
		sent string
		kept bool
	}{{"abc-1", true}, {"", false}, {"a b", false}, {"a:b", false}, {"a\"b", false}, {"a\nb", false}, {strings.Repeat("x", 65), false}, {"ü", false}} {
		r := httptest.NewRequest("GET", "/boot.ipxe", nil)
		r.Header["X-Request-Id"] = []string{tt.sent}
		got := s.recorded(r).Header().Get("X-Request-Id")
		if (got == tt.sent) != tt.kept || got == "" {
			t.Errorf("%q becomes %q", tt.sent, got)
		}
		if !strings.Contains(s.log.String(), fmt.Sprintf("%q:%q", "request", got)) {
			t.Errorf("%q is not in the log", got)
		}
	}
}

func TestServerURL(t *testing.T) {
	for _, tt := range []struct{ scheme, local, want string }{
		{"http", "10.0.0.1:8080", "http://10.0.0.1:8080"},
		{"http", "10.0.0.1:80", "http://10.0.0.1"},
		{"http", "[::ffff:10.0.0.1]:80", "http://10.0.0.1"},
		{"http", "[fd00::1]:80", "http://[fd00::1]"},
		{"http", "[fd00::1]:8080", "http://[fd00::1]:8080"},
		{"https", "10.0.0.1:80", "https://10.0.0.1:80"},
	} {
		if got := ServerURL(tt.scheme, netip.MustParseAddrPort(tt.local)); got != tt.want {
			t.Errorf("%s at %s is %s, want %s", tt.scheme, tt.local, got, tt.want)
		}
	}
}

func TestContentStatusIsRFC9211(t *testing.T) {
	for _, tt := range []struct {
		status content.Status
		tier   cache.Tier
		want   string
	}{
		{content.Hit, cache.TierHot, "PureBoot; hit; detail=hot"},
		{content.Hit, cache.TierDisk, "PureBoot; hit; detail=disk"},
		{content.Hit, "", "PureBoot; hit"},
		{content.Miss, cache.TierFill, "PureBoot; fwd=miss; stored"},
		{content.Collapsed, cache.TierJoined, "PureBoot; fwd=miss; stored; collapsed"},
		{content.Pass, cache.TierPass, "PureBoot; fwd=miss"},
		{content.Stale, cache.TierDisk, "PureBoot; hit; detail=stale"},
	} {
		w := httptest.NewRecorder()
		setCacheStatus(w, contentStatus(tt.status, tt.tier))
		if got := w.Header().Get("Cache-Status"); got != tt.want {
			t.Errorf("%s from %q is %q, want %q", tt.status, tt.tier, got, tt.want)
		}
	}
}
