package agent

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/pureboot/pureboot/agent/boot"
	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/tftp"
)

// openTFTP opens what firmware asks for by TFTP: a name is that of a bootloader, unless it begins with a category;
// boot.ipxe and autoexec.ipxe, which iPXE asks for by itself, are the bootstrap script.
func (a *Agent) openTFTP(ctx context.Context, r tftp.Request) (tftp.File, error) {
	if r.Name == "boot.ipxe" || r.Name == "autoexec.ipxe" {
		return newText(boot.Bootstrap(a.urlFor(r.Local))), nil
	}
	category, path, _ := strings.Cut(r.Name, "/")
	if !slices.Contains(wire.Categories, category) {
		category, path = wire.Bootloaders, r.Name
	}
	f, err := a.files.Open(ctx, category, path)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// urlFor returns the agent's HTTP address for a machine that reached it at a local address.
func (a *Agent) urlFor(local netip.Addr) string {
	port := netip.MustParseAddrPort(a.http.Addr().String()).Port()
	if port == 80 {
		host := local.String()
		if local.Is6() && !local.Is4In6() {
			host = "[" + host + "]"
		}
		return "http://" + host
	}
	return "http://" + net.JoinHostPort(local.Unmap().String(), strconv.Itoa(int(port)))
}

// text is a tftp.File that was made for the request.
type text struct{ *bytes.Reader }

func newText(b []byte) tftp.File { return text{bytes.NewReader(b)} }

func (text) Close() error { return nil }
