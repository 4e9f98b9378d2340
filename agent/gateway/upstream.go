package gateway

import (
	"net/http"
	"slices"
	"strings"

	"github.com/pureboot/pureboot/central/wire"
)

// Upstream is who answers for paths that begin with a prefix, which begins and ends with a slash. It gets them as the
// client wrote them.
type Upstream struct {
	Prefix string
	http.Handler
}

// roots are the first parts of the paths that are this gateway's own, whatever follows them.
var roots = append([]string{"boot", "boot.ipxe", "autoexec.ipxe", "grub", "render"}, wire.Categories...)

// Owns is whether a path is among the gateway's own routes: no upstream ever answers for it.
func Owns(path string) bool {
	first, rest, _ := strings.Cut(strings.TrimLeft(path, "/"), "/")
	if slices.Contains(roots, first) {
		return true
	}
	version, route, _ := strings.Cut(strings.TrimLeft(rest, "/"), "/")
	name, _, _ := strings.Cut(strings.TrimLeft(route, "/"), "/")
	return first == "api" && version == "v1" && (name == "boot" || name == "nodes")
}

// upstream finds who answers for a path that is not the gateway's own; clean is the path as routes see it, or empty if
// none of them would have it. Prefixes are compared with the path as the client wrote it, so that an encoded slash
// is part of a name; only slashes before it may be doubled.
func (g *Gateway) upstream(r *http.Request, clean string) http.Handler {
	if len(g.Upstreams) == 0 || !strings.HasPrefix(r.URL.Path, "/") || r.Method == http.MethodConnect || Owns(clean) ||
		clean != r.URL.Path && Owns(r.URL.Path) {
		return nil
	}
	path := r.URL.EscapedPath()
	for strings.HasPrefix(path, "//") {
		path = path[1:]
	}
	var best *Upstream
	for i, up := range g.Upstreams {
		if strings.HasPrefix(path, up.Prefix) && (best == nil || len(up.Prefix) > len(best.Prefix)) {
			best = &g.Upstreams[i]
		}
	}
	if best == nil {
		return nil
	}
	return best.Handler
}
