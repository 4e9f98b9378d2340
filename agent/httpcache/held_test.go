package httpcache

import (
	"net/http"
	"testing"

	"github.com/pureboot/pureboot/agent/cache"
)

// TestHeldPart asks for a range that an earlier transfer has left, after a restart: the origin is asked only where it would
// be asked about the whole.
func TestHeldPart(t *testing.T) {
	data := random(3 << 20)
	const first, confirming = "GET /a bytes=2000000-2099999", `GET /a bytes=2000000-2000000 if-range "v1"`
	for _, tt := range []struct {
		name      string
		control   string
		meanwhile func(*site)
		ask       string // a line of the second request
		says      string
		want      []string
	}{
		{"fresh", "max-age=60", func(*site) {}, "X: none", "hit; ttl=", []string{first}},
		{"stale", "max-age=0", func(*site) {}, "X: none", "fwd=", []string{first, confirming}},
		{"client insists", "max-age=60", func(*site) {}, "Cache-Control: no-cache", "fwd=", []string{first, confirming}},
		{"no-cache", "no-cache, max-age=60", func(*site) {}, "X: none", "fwd=", []string{first, confirming}},
		{"invalidated", "max-age=60", func(s *site) { s.do(http.MethodPost, "/up/a") }, "X: none", "fwd=", []string{first, "POST /a", first}},
		{"invalidated after a restart", "max-age=60", func(s *site) {
			s.reopen()
			s.do(http.MethodPost, "/up/a")
		}, "X: none", "fwd=", []string{first, "POST /a", first}},
		{"purged softly", "max-age=60", func(s *site) {
			if _, err := s.store.MarkStale(func(cache.Entry) bool { return true }); err != nil {
				s.t.Error(err)
			}
		}, "X: none", "fwd=", []string{first, first}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := startOrigin(t, file(data, `Etag: "v1"`, "Cache-Control: "+tt.control))
			s := startSite(t, o.URL)
			s.body(s.get("/up/a", "Range: bytes=2000000-2099999"), 206, data[2_000_000:2_100_000])
			s.settled()
			tt.meanwhile(s)
			s.reopen()
			before := s.handler.Stats()
			r := s.get("/up/a", "Range: bytes=2000000-2099999", tt.ask)
			s.body(r, 206, data[2_000_000:2_100_000])
			s.says(r, tt.says)
			o.wantRequests(t, tt.want...)
			if len(tt.want) == 1 {
				eventually(t, "it is counted as a hit", func() bool { return s.handler.Stats().Hits == before.Hits+1 })
				if n := s.handler.Stats().OriginBytes; n != 0 {
					t.Errorf("%d bytes were fetched", n)
				}
			}
			s.settled()
			s.body(s.get("/up/a"), 200, data) // the rest comes when it is wanted
		})
	}
}

// TestHeldPartGrows: a part that answered without the origin does not stand in the way of the whole.
func TestHeldPartGrows(t *testing.T) {
	data := random(3 << 20)
	o := startOrigin(t, file(data, `Etag: "v1"`, "Cache-Control: max-age=60"))
	s := startSite(t, o.URL)
	s.body(s.get("/up/a", "Range: bytes=1048576-2097151"), 206, data[1<<20:2<<20])
	s.settled()
	s.body(s.get("/up/a", "Range: bytes=1048576-2000000"), 206, data[1<<20:2_000_001])
	s.settled()
	o.wantRequests(t, "GET /a bytes=1048576-2097151")
	s.body(s.get("/up/a"), 200, data)
	s.settled()
	r := s.get("/up/a")
	s.body(r, 200, data)
	s.says(r, "hit")
}

// TestHeldPartInvalidatedOnItsWay: it was asked for before the request that invalidates it, and comes after.
func TestHeldPartInvalidatedOnItsWay(t *testing.T) {
	data, gate := random(3<<20), make(chan struct{})
	whole := file(data, `Etag: "v1"`, "Cache-Control: max-age=60")
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			<-gate
		}
		whole(w, r)
	})
	s := startSite(t, o.URL)
	const part = "Range: bytes=2000000-2099999"
	first := make(chan reply)
	go func() {
		r, err := s.try(t.Context(), http.MethodGet, "/up/a", part)
		if err != nil {
			t.Error(err)
		}
		first <- r
	}()
	eventually(t, "it is asked for", func() bool { return len(o.requests()) == 1 })
	s.do(http.MethodPost, "/up/a")
	close(gate)
	s.body(<-first, 206, data[2_000_000:2_100_000])
	s.settled()
	r := s.get("/up/a", part)
	s.body(r, 206, data[2_000_000:2_100_000])
	s.says(r, "fwd=")
	o.wantRequests(t, "GET /a bytes=2000000-2099999", "POST /a", `GET /a bytes=2000000-2000000 if-range "v1"`)
}
