package agent

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/pureboot/pureboot/agent/boot"
	"github.com/pureboot/pureboot/agent/content"
	"github.com/pureboot/pureboot/agent/gateway"
	"github.com/pureboot/pureboot/agent/node"
	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/tftp"
)

// openTFTP opens what firmware asks for by TFTP: a name is that of a bootloader, unless it begins with a category.
// boot.ipxe, and autoexec.ipxe, which iPXE asks for by itself beside the file it is, are the bootstrap script.
func (a *Agent) openTFTP(ctx context.Context, r tftp.Request) (tftp.File, error) {
	category, path, within := strings.Cut(r.Name, "/")
	if !within || !slices.Contains(wire.Categories, category) {
		category, path = wire.Bootloaders, r.Name
	}
	if category == wire.Bootloaders && (path == "boot.ipxe" || path == "autoexec.ipxe") {
		return text{bytes.NewReader(boot.Bootstrap(a.urlFor(r.Local)))}, nil
	}
	f, err := a.files.Open(ctx, category, path)
	if err != nil {
		return nil, err // and no File, which a nil *content.File would be
	}
	a.tftpTiers.Store(r.Client, fileTier(f))
	return f, nil
}

// fileTier says where a file comes from, as the traces call it.
func fileTier(f *content.File) string {
	switch f.Status {
	case content.Stale:
		return "stale"
	case content.Miss, content.Collapsed:
		return "fill"
	case content.Pass:
		return "upstream"
	}
	return string(f.Tier())
}

// endedTFTP counts and traces a transfer that is over.
func (a *Agent) endedTFTP(t tftp.Transfer) {
	a.transfers.ended(t)
	tier, _ := a.tftpTiers.LoadAndDelete(t.Client)
	s := node.Step{At: time.Now(), Protocol: "tftp", File: t.Name, Bytes: t.Bytes, Begins: true}
	s.Tier, _ = tier.(string)
	if t.Err != nil {
		s.Error = t.Err.Error()
	}
	a.traces.Of(t.Client.Addr()).Note(s)
}

// urlFor returns the agent's HTTP address for a machine that reached it at a local address; none if HTTP is off.
func (a *Agent) urlFor(local netip.Addr) string {
	if a.http == nil {
		return ""
	}
	port := a.http.Addr().(*net.TCPAddr).Port
	return gateway.ServerURL("http", netip.AddrPortFrom(local, uint16(port)))
}

// text is a tftp.File that was made for the request.
type text struct{ *bytes.Reader }

func (text) Close() error { return nil }
