package httpcache

import (
	"net/http"
	"reflect"
	"testing"
	"time"
)

func TestRemoveHopByHop(t *testing.T) {
	for _, tt := range []struct {
		name        string
		lines, want []string
	}{
		{"7.6.1: nothing to remove", []string{"Accept: a", "Host: b"}, []string{"Accept: a", "Host: b"}},
		{"7.6.1: those known", []string{"Accept: a", "Connection: keep-alive", "Keep-Alive: 5", "Proxy-Connection: x", "TE: trailers", "Trailer: x", "Transfer-Encoding: chunked", "Upgrade: h2c"}, []string{"Accept: a"}},
		{"7.6.1: those listed, in any case and on any line", []string{"Connection: close, x-a", "Connection: X-B", "X-A: 1", "X-B: 2", "X-C: 3"}, []string{"X-C: 3"}},
		{"7.6.1: nobody strips what caching and access depend on", []string{"Connection: cache-control, authorization", "Cache-Control: no-store", "Authorization: x"}, []string{"Cache-Control: no-store", "Authorization: x"}},
		{"11.7 of 9110: credentials for a proxy", []string{"Proxy-Authorization: x", "Proxy-Authenticate: y", "Authorization: z"}, []string{"Authorization: z"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := fields(tt.lines...)
			RemoveHopByHop(h)
			if !reflect.DeepEqual(h, fields(tt.want...)) {
				t.Errorf("left %v, want %v", h, fields(tt.want...))
			}
		})
	}
}

func TestCopyTo(t *testing.T) {
	for _, tt := range []struct {
		name string
		age  time.Duration
		want string
	}{
		{"5.1: whole seconds, rounded down", 59*time.Second + 999*time.Millisecond, "59"},
		{"5.1: zero", 0, "0"},
		{"5.1: never negative", -time.Second, "0"},
		{"1.2.2: no more than 2^31", 1 << 62, "2147483648"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := stored("Age: 7", "X-A: 1", "X-A: 2", "Date: DATE+0")
			h := http.Header{"X-A": {"0"}, "X-B": {"0"}}
			s.CopyTo(h, tt.age)
			if want := fields("Age: "+tt.want, "X-A: 1", "X-A: 2", "X-B: 0", "Date: DATE+0"); !reflect.DeepEqual(h, want) {
				t.Errorf("got %v, want %v", h, want)
			}
		})
	}
}

// TestCopyMayBeAppendedTo holds that a handler's additions do not reach what others are served from.
func TestCopyMayBeAppendedTo(t *testing.T) {
	s := stored("Via: 1.1 a", "Cache-Status: a; hit", "Via: 1.1 b", "Cache-Status: b; hit", "Via: 1.1 c", "Cache-Status: c; hit")
	first, second := http.Header{}, http.Header{}
	for _, h := range []http.Header{first, second} {
		s.CopyTo(h, 0)
		AddVia(h, 1, 1, "x")
		CacheStatus{Cache: "x", Hit: true}.AddTo(h)
		h.Add("Via", "1.1 y")
	}
	first["Via"][3] = "changed"
	same(t, "via of the other", second["Via"][3], "1.1 x")
	same(t, "stored lines", len(s.Header["Via"]), 3)
}

func TestAddVia(t *testing.T) {
	for _, tt := range []struct {
		name         string
		lines        []string
		major, minor int
		want         []string
	}{
		{"7.6.3: the first", nil, 1, 1, []string{"Via: 1.1 site"}},
		{"7.6.3: behind others", []string{"Via: 1.0 fred, 1.1 p"}, 1, 0, []string{"Via: 1.0 fred, 1.1 p", "Via: 1.0 site"}},
		{"7.6.3: HTTP/2", nil, 2, 0, []string{"Via: 2 site"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := fields(tt.lines...)
			AddVia(h, tt.major, tt.minor, "site")
			if !reflect.DeepEqual(h, fields(tt.want...)) {
				t.Errorf("got %v, want %v", h, fields(tt.want...))
			}
		})
	}
}
