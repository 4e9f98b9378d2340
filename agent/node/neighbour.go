package node

import (
	"bufio"
	"io"
	"net/netip"
	"os"
	"strings"

	"github.com/pureboot/pureboot/central/lifecycle"
)

// Neighbours returns the MAC addresses of the machines that the kernel has lately spoken with on the agent's own
// networks, by IPv4 address. Nothing is known of others.
func Neighbours() map[netip.Addr]string {
	f, err := os.Open("/proc/net/arp")
	if err != nil {
		return nil // a system that does not tell
	}
	defer f.Close()
	return parseARP(f)
}

// parseARP reads the kernel's table: address, type, flags, MAC address, mask, device. An entry that is not complete has
// zeros for the MAC address.
func parseARP(r io.Reader) map[netip.Addr]string {
	known := map[netip.Addr]string{}
	for lines := bufio.NewScanner(r); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 4 {
			continue
		}
		addr, err := netip.ParseAddr(fields[0])
		if err != nil {
			continue // the headings
		}
		if mac, err := lifecycle.ParseMAC(fields[3]); err == nil && mac != "00:00:00:00:00:00" {
			known[addr] = mac
		}
	}
	return known
}
