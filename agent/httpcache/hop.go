package httpcache

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// ends answers what goes no further than to this hop: methods that are about the connection to it (RFC 9110 sections
// 9.3.6 and 9.3.8), and OPTIONS that has been forwarded often enough (section 7.6.2).
func (h *Handler) ends(w http.ResponseWriter, r *http.Request) bool {
	switch r.Method {
	case http.MethodConnect, http.MethodTrace:
		h.refuse(w, CacheStatus{Cache: cacheName}, http.StatusNotImplemented, "An upstream has neither CONNECT nor TRACE.")
		return true
	case http.MethodOptions:
		if left, ok := single(r.Header, "Max-Forwards"); ok && left != "" && strings.Trim(left, "0") == "" {
			w.Header().Set("Cache-Status", CacheStatus{Cache: cacheName}.String())
			w.WriteHeader(http.StatusNoContent)
			return true
		}
	}
	return false
}

// countDown lessens Max-Forwards (RFC 9110 section 7.6.2), which ends has let pass. It means nothing but with OPTIONS.
func countDown(r *http.Request) {
	if r.Method != http.MethodOptions {
		return
	}
	value, _ := single(r.Header, "Max-Forwards")
	if left, ok := parsePosition(value); ok && left > 0 {
		r.Header["Max-Forwards"] = []string{strconv.FormatInt(left-1, 10)}
	}
}

// upgrades is whether a request wants to go on in another protocol (RFC 9110 section 7.8). HTTP/2 is none: who offers it
// on the way is answered in what it has spoken so far, from the store too.
func upgrades(r *http.Request) bool {
	if !r.ProtoAtLeast(1, 1) {
		return false
	}
	asked := false
	for option := range members(r.Header["Connection"]) {
		asked = asked || strings.EqualFold(option, "upgrade")
	}
	for protocol := range members(r.Header["Upgrade"]) {
		if asked && !strings.EqualFold(protocol, "h2c") {
			return true
		}
	}
	return false
}

// tunnel is the origin's side of a connection that speaks another protocol by now. When either side ends, both do (RFC
// 9110 section 9.3.6): what they say to each other is known to them alone, so that half of it cannot be told to be enough.
// It is not an io.ReaderFrom, nor can one half of it be closed, because that would let the other go on.
type tunnel struct {
	io.ReadWriter
	close func() error
}

var errTunnelEnds = errors.New("the origin has closed the tunnel")

// openTunnel has the tunnel that resp opens end with the handler, too.
func (h *Handler) openTunnel(resp *http.Response) {
	body, ok := resp.Body.(io.ReadWriteCloser)
	if !ok {
		return // which the proxy complains of
	}
	end := sync.OnceValue(body.Close)
	stop := context.AfterFunc(h.ctx, func() { _ = end() })
	resp.Body = &tunnel{body, func() error { stop(); return end() }}
}

func (t *tunnel) Read(p []byte) (int, error) {
	n, err := t.ReadWriter.Read(p)
	if err == io.EOF { //nolint:errorlint // as io.Reader demands
		err = errTunnelEnds
	}
	return n, err
}

func (t *tunnel) Close() error { return t.close() }

// reset resets the connection of a client of HTTP/1.0 whose answer is aborted: where there is no length, the end of the
// connection is what tells that a body is whole.
func reset(w http.ResponseWriter) {
	p := recover()
	if p == nil {
		return
	}
	if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
		if tcp, ok := conn.(interface{ SetLinger(sec int) error }); ok {
			_ = tcp.SetLinger(0)
		}
		_ = conn.Close()
	}
	panic(p)
}
