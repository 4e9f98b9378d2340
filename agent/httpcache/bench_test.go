package httpcache

import (
	"log/slog"
	"net/http"
	"testing"

	"github.com/pureboot/pureboot/agent/cache"
)

// nowhere takes an answer.
type nowhere struct {
	header http.Header
	sent   int
}

func (w *nowhere) Header() http.Header { return w.header }
func (w *nowhere) WriteHeader(int)     {}

func (w *nowhere) Write(b []byte) (int, error) {
	w.sent += len(b)
	return len(b), nil
}

// BenchmarkHit answers with 4 KiB out of memory, without a connection.
func BenchmarkHit(b *testing.B) {
	const size = 4 << 10
	store, err := cache.Open(cache.Options{Dir: b.TempDir(), HotBytes: 64 << 20, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	h := New(Options{
		Cache: store, Prefix: "/up/", Origin: mustParse(b, "http://deb.example/"), Log: slog.New(slog.DiscardHandler),
		Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			return answering(r, random(size), `Etag: "v1"`, "Cache-Control: max-age=600", "Content-Type: a/b", "Last-Modified: DATE-99999"), nil
		}),
	})
	defer h.Close()
	r, err := http.NewRequestWithContext(b.Context(), http.MethodGet, "/up/a/b/c?d", nil)
	if err != nil {
		b.Fatal(err)
	}
	r.Header = fields("User-Agent: x", "Accept: */*", "Connection: keep-alive", "Accept-Encoding: gzip")
	for range 3 {
		w := &nowhere{header: http.Header{}}
		h.ServeHTTP(w, r)
		for store.Stats().Filling > 0 {
			continue
		}
	}
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		w := &nowhere{header: http.Header{}}
		h.ServeHTTP(w, r)
		if w.sent != size {
			b.Fatalf("%d bytes", w.sent)
		}
	}
}
