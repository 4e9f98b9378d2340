package gateway

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// named answers with its name and the path as it got it.
type named string

func (n named) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(w, "%s %s %s", n, r.Method, r.RequestURI)
}

func TestUpstreamsAnswerForWhatIsNotOurs(t *testing.T) {
	c := newCentral()
	c.add(mac, "active")
	c.file("images/x", []byte("image"))
	s := startSite(t, c)
	s.Upstreams = []Upstream{{"/", named("root")}, {"/mirror/debian/", named("debian")}, {"/mirror/", named("mirror")}}
	for _, tt := range []struct{ method, path, want string }{
		{"GET", "/", "root"},
		{"GET", "/favicon.ico", "root"},
		{"GET", "/mirror", "root"},
		{"GET", "/mirror/", "mirror"},
		{"POST", "/mirror/debian", "mirror"},
		{"PUT", "/mirror/debian/", "debian"},
		{"PROPFIND", "/mirror/debian/a/{b}/c?d=../e", "debian"},
		{"GET", "//mirror/debian//a", "debian"},
		{"GET", "/mirror/debian/a%2Fb%5cc", "debian"},
		{"GET", "/mirror%2Fdebian/a", "root"},
		{"GET", "/mirror/debian/../../images/x", "debian"}, // who refuses it
		{"GET", "/api/v1/groups", "root"},
		{"GET", "/bootx", "root"},
		{"GET", "/%7bx%7d", "root"},
		{"GET", "http://other.example/mirror/debian/a", "debian"}, // RFC 9112 section 3.2.2
		{"GET", "/mirror/debian/%2e%2e/%2e%2e/images/x", "debian"},
		{"GET", "/mirror/debi%61n/a", "mirror"}, // a prefix is as it is written
		{"GET", "/mirror/debian?/mirror/", "mirror"},
		{"GET", "/?/mirror/", "root"},
		{"OPTIONS", "/mirror/x", "mirror"},
	} {
		r := s.raw(t, tt.method+" "+tt.path+" HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
		if want := tt.want + " " + tt.method + " " + tt.path; r.StatusCode != 200 || r.body != want {
			t.Errorf("%s %s is answered %d by %q, want %q", tt.method, tt.path, r.StatusCode, r.body, want)
		}
	}
	if r := s.get(t, "/images/x"); r.body != "image" {
		t.Errorf("our own file is %q", r.body)
	}
	for _, path := range []string{"/images/x", "/boot/" + mac, "/boot.ipxe", "/grub/" + mac, "/api/v1/nodes", "/api/v1/boot", "/render/x/y", "//images//x", "/%69mages/x"} {
		if r := s.raw(t, "DELETE "+path+" HTTP/1.1\r\nHost: x\r\n\r\n"); r.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("DELETE %s is answered %d: %s", path, r.StatusCode, r.body)
		}
	}
	for _, path := range []string{"/images/none", "/images/", "/images", "/scripts/", "/render", "/render/x"} {
		s.get(t, path).problem(t, http.StatusNotFound)
	}
	s.raw(t, "GET /images/%2e%2e/mirror/ HTTP/1.1\r\nHost: x\r\n\r\n").problem(t, http.StatusBadRequest)
	if r := s.raw(t, "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n"); r.StatusCode != http.StatusNoContent || r.body != "" {
		t.Errorf("OPTIONS * is answered %d: %q", r.StatusCode, r.body)
	}
	s.raw(t, "GET http://other.example HTTP/1.1\r\nHost: x\r\n\r\n").problem(t, http.StatusBadRequest)
	s.raw(t, "CONNECT other.example:443 HTTP/1.1\r\nHost: x\r\n\r\n").problem(t, http.StatusBadRequest)
	s.raw(t, "CONNECT /mirror/x HTTP/1.1\r\nHost: x\r\n\r\n").problem(t, http.StatusNotFound)
	s.raw(t, "GET /boot/../mirror/x HTTP/1.1\r\nHost: x\r\n\r\n").script(t)
}

// TestOwnsKnowsTheRoutes holds it to what is routed: what is not routed may be an upstream's.
func TestOwnsKnowsTheRoutes(t *testing.T) {
	s := startSite(t, newCentral())
	for _, path := range []string{"/boot", "/boot/x", "/boot.ipxe", "/autoexec.ipxe", "/grub", "/grub/x", "/render", "/render/x/y", "/api/v1/boot", "/api/v1/nodes", "/api/v1/nodes/x/event", "/images/x", "/templates", "/scripts/", "/bootloaders/a/b"} {
		if !Owns(path) {
			t.Errorf("%s is not ours", path)
		}
	}
	for _, path := range []string{"/", "", "/x", "/api", "/api/v1", "/api/v1/x", "/api/v2/nodes", "/imagesx", "/x/images/"} {
		if Owns(path) {
			t.Errorf("%s is ours", path)
		}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://x/"+strings.TrimPrefix(path, "/"), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, pattern := s.mux.Handler(r); pattern != "/" {
			t.Errorf("%s is not ours, but routed as %s", path, pattern)
		}
	}
}
