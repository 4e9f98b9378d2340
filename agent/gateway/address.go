package gateway

import (
	"net"
	"net/http"
	"net/netip"
)

// ServerURL returns the agent's address as a machine writes it that reached it there. Port 80 is left out, since GRUB
// and some firmware cannot write one.
func ServerURL(scheme string, local netip.AddrPort) string {
	addr := local.Addr().Unmap()
	if scheme == "http" && local.Port() == 80 {
		if addr.Is6() {
			return "http://[" + addr.String() + "]"
		}
		return "http://" + addr.String()
	}
	return scheme + "://" + netip.AddrPortFrom(addr, local.Port()).String()
}

// serverURL returns the agent's address as the client reached it, from the socket: a Host header is the client's word.
func serverURL(r *http.Request) string {
	addr, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return ""
	}
	local, err := netip.ParseAddrPort(addr.String())
	if err != nil {
		return ""
	}
	if r.TLS != nil {
		return ServerURL("https", local)
	}
	return ServerURL("http", local)
}

// clientIP returns the address the request came from, as far as it means something elsewhere.
func clientIP(r *http.Request) string {
	client, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return ""
	}
	return client.Addr().Unmap().WithZone("").String()
}
