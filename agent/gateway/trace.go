package gateway

import (
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/pureboot/pureboot/agent/node"
	"github.com/pureboot/pureboot/central/lifecycle"
	"github.com/pureboot/pureboot/central/wire"
)

// trace notes a request that is over. c is nil where the connection is not one of Listen's.
func (g *Gateway) trace(c *conn, r *http.Request, s node.Step) {
	if g.Traces == nil {
		return
	}
	s.Protocol, s.Method = "http", r.Method
	if c != nil && c.trace != nil && c.trace.Note(s) {
		return
	}
	client, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return // a test's recorder
	}
	trace := g.Traces.Of(client.Addr())
	trace.Note(s) // if it has had to go already, a thousand others came since
	if c != nil {
		c.trace = trace
	}
}

// traceHot notes what came from memory.
func (g *Gateway) traceHot(c *conn, r *http.Request, at time.Time, n int, route Route, err error) {
	if g.Traces == nil {
		return
	}
	s := node.Step{
		At: at, File: pathOf(r), Status: http.StatusOK, Bytes: int64(n), Tier: "hot", Upstream: route == RouteUpstream,
		Begins: strings.HasPrefix(r.URL.Path, "/"+wire.Bootloaders+"/"),
	}
	if err != nil {
		s.Error = err.Error()
	}
	g.trace(c, r, s)
}

// traceLong notes what went the long way.
func (g *Gateway) traceLong(r *http.Request, out *response, upstream bool) {
	if g.Traces == nil {
		return
	}
	s := node.Step{
		At: time.Now(), File: pathOf(r), Status: out.status, Bytes: out.bytes, Upstream: upstream,
		Tier: tierOf(out.Header()),
	}
	if out.err != nil {
		s.Error = out.err.Error()
	}
	if !upstream {
		s.MAC, s.Begins = namedBy(r)
	}
	g.trace(connOf(r.Context()), r, s)
}

// pathOf is the path of a request, without the long query that it may be a part of in memory.
func pathOf(r *http.Request) string {
	if len(r.RequestURI) > 500 {
		return strings.Clone(clip(r.URL.Path))
	}
	return r.URL.Path
}

// namedBy returns the MAC address that a path has in it, and whether it is one for machines that have yet to say theirs.
func namedBy(r *http.Request) (mac string, begins bool) {
	route, rest, _ := strings.Cut(strings.TrimLeft(r.URL.Path, "/"), "/")
	switch route {
	case "boot", "grub", "render":
		rest, _, _ = strings.Cut(rest, "/")
	case "boot.ipxe", "autoexec.ipxe", wire.Bootloaders:
		return "", true
	case "api":
		rest = r.URL.Query().Get("mac")
	default:
		return "", false
	}
	if rest == "" {
		return "", false
	}
	mac, _ = lifecycle.ParseMAC(rest) // what is none names nobody
	return mac, false
}

// tierOf says where an answer came from, by the Cache-Status that this cache gave it, the last of all.
func tierOf(h http.Header) string {
	all := h["Cache-Status"]
	if len(all) == 0 {
		return ""
	}
	how, own := strings.CutPrefix(all[len(all)-1], cacheName+"; ")
	switch {
	case !own:
		return ""
	case strings.Contains(how, "detail=stale") || strings.Contains(how, "; ttl=-"):
		return "stale"
	case strings.HasPrefix(how, "hit") && strings.Contains(how, "hot"):
		return "hot"
	case strings.HasPrefix(how, "hit"):
		return "disk"
	case strings.Contains(how, "; stored") || strings.Contains(how, "; collapsed"):
		return "fill"
	case strings.HasPrefix(how, "fwd="):
		return "upstream"
	}
	return ""
}
