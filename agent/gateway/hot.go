package gateway

import (
	"crypto/rand"
	"log/slog"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/pureboot/pureboot/agent/cache"
	"github.com/pureboot/pureboot/agent/content"
	"github.com/pureboot/pureboot/agent/httpcache"
	"github.com/pureboot/pureboot/central/wire"
)

// sendHot answers what most requests of a busy site are: a plain GET of a small file that is in memory. Its header is
// the one that the long way would send, kept as it goes over the wire. It reports false for all else, having done
// nothing.
func (g *Gateway) sendHot(w http.ResponseWriter, r *http.Request) bool {
	c := connOf(r.Context())
	if c == nil || r.Method != http.MethodGet || r.ContentLength != 0 || r.URL.RawPath != "" || !httpcache.Plain(r.Header) ||
		g.Log.Enabled(r.Context(), slog.LevelDebug) { // where each request is a line in the log
		return false
	}
	hit, route := g.hotContent(r), RouteContent
	if hit == nil {
		hit, route = g.hotUpstream(r), RouteUpstream
	}
	if hit == nil {
		return false
	}
	var room [64]byte
	name := room[:0]
	if id := r.Header.Get(wire.HeaderRequestID); wire.GoodRequestID(id) {
		name = append(name, id...)
	} else {
		name = g.names.next(name)
	}
	if !c.pack(hit.Fields, name, len(hit.Body)) {
		return false
	}
	now := time.Now()
	_ = c.SetWriteDeadline(now.Add(g.pieceTime)) // of a closed connection, which Write tells
	header := w.Header()
	header["Content-Type"], header["Content-Length"] = hit.Type, hit.Length
	if hit.Date != nil {
		header["Date"] = hit.Date
	}
	n, err := w.Write(hit.Body)
	count := g.count.routes[route]
	count.sent.Add(int64(n))
	count.ended(http.StatusOK)
	g.traceHot(c, r, now, n, route, err)
	if err != nil {
		g.Log.Info("request", "request", string(name), "client", r.RemoteAddr, "method", r.Method, "path", clip(r.URL.Path),
			"status", http.StatusOK, "bytes", n, "err", err)
		panic(http.ErrAbortHandler)
	}
	return true
}

// hotContent finds a file that is what the manifest says, and that has no form but its own for this client.
func (g *Gateway) hotContent(r *http.Request) *httpcache.Hit {
	path := r.URL.Path
	if len(path) < 2 || path == autoexec {
		return nil
	}
	hot := g.Files.Hot(cache.Key(path[1:]))
	if hot == nil || len(hot.Bytes()) == 0 {
		return nil
	}
	ready, _ := hot.Memo().(*readyFile)
	if ready == nil {
		ready = readyOf(hot)
		hot.SetMemo(ready)
	}
	if ready.negotiable && len(r.Header["Accept-Encoding"]) > 0 {
		return nil
	}
	g.Files.ServedHot(hot)
	return ready.Hit
}

// readyFile is a file's answer.
type readyFile struct {
	*httpcache.Hit
	negotiable bool
}

func readyOf(hot *cache.Hot) *readyFile {
	info := content.InfoOf(hot)
	header := http.Header{}
	representation{Info: info}.describe(header)
	header.Set("Server", serverName)
	header.Set("Accept-Ranges", "bytes")
	header.Set("Cache-Status", cacheName+contentStatus(content.Hit, cache.TierHot))
	if !info.Modified.IsZero() && !info.Modified.Equal(time.Unix(0, 0)) { // as http.ServeContent has it
		header.Set("Last-Modified", info.Modified.UTC().Format(http.TimeFormat))
	}
	return &readyFile{httpcache.NewHit(header, hot.Bytes()), info.Negotiable()}
}

// hotUpstream finds a response of an upstream.
func (g *Gateway) hotUpstream(r *http.Request) *httpcache.Hit {
	if up, ok := g.upstream(r, r.URL.Path).(interface {
		Hot(r *http.Request) *httpcache.Hit
	}); ok {
		return up.Hot(r)
	}
	return nil
}

// names makes names for requests that bring none, like no other agent's. It is safe for concurrent use.
type names struct {
	prefix string
	count  atomic.Uint64
}

func (n *names) begin() { n.prefix = rand.Text()[:16] + "-" }

// next appends a name to b.
func (n *names) next(b []byte) []byte {
	return strconv.AppendUint(append(b, n.prefix...), n.count.Add(1), 36)
}
