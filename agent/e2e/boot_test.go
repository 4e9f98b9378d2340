package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Content of the site, by its path at central.
const (
	kernelPath = "images/debian/linux"
	initrdPath = "images/debian/initrd"
)

// TestMachinesBootThroughThePair tells the whole story: two machines are installed over the network, and boot their own
// disks when central is gone.
func TestMachinesBootThroughThePair(t *testing.T) {
	programs, kernelPackage := inside(t)
	machines := []*machine{
		{name: "bios0", mac: "52:54:00:e2:e0:01", mode: "bios", disk: newDisk(t)},
		{name: "uefi0", mac: "52:54:00:e2:e0:02", mode: "uefi", disk: newDisk(t)},
	}
	stranger := &machine{name: "other0", mac: "52:54:00:e2:e0:03", mode: "bios", disk: newDisk(t)}
	newLAN(t, "bios0", "uefi0", "other0")
	site := newSite(t, programs)

	content := upload(t, site.admin, kernelPackage)
	nodes := map[*machine]string{}
	for _, m := range machines {
		nodes[m] = register(t, site, m)
	}
	site.enrol(t)
	site.startAgent(t)

	// Looking moves nothing.
	for _, m := range machines {
		script, _ := site.get(t, "/boot/"+m.mac)
		if !strings.Contains(script, kernelPath) {
			t.Errorf("the script of %s does not boot the installer:\n%s", m.name, script)
		}
		if state := site.admin.node(t, nodes[m]).State; state != "pending" {
			t.Errorf("looking at the script of %s made it %s", m.name, state)
		}
	}

	dhcp := site.startDHCP(t, "snponly.efi", "ipxe.efi")
	boots(t, "install", machines, func(t *testing.T, m *machine) {
		printed := m.boot(t)
		if m.mode == "uefi" {
			expect(t, printed, "Start PXE over IPv4", "NBP filename is ipxe.efi", "boot.ipxe")
		}
		expect(t, printed, "INSTALLER-UP", "EVENT-OK install_started", "EVENT-OK install_complete", "INSTALLER-DONE")
	})
	dhcp.stop(t)
	if t.Failed() {
		return
	}
	for _, m := range machines {
		if state := site.admin.node(t, nodes[m]).State; state != "installed" {
			t.Errorf("%s is %s at central", m.name, state)
		}
		moves := site.admin.moves(t, nodes[m])
		if said := site.admin.node(t, nodes[m]).Vendor; said != vendor {
			t.Errorf("%s is made by %q at central, want %q", m.name, said, vendor)
		}
		if want := []string{">pending", "pending>installing", "installing>installed"}; !slices.Equal(moves, want) {
			t.Errorf("state log of %s: %q, want %q", m.name, moves, want)
		}
	}

	// A machine reaches nothing but the agent, and central sent each file once: what the protocol adds is less than any
	// file that both machines fetched.
	site.get(t, "/bootloaders/snponly.efi")
	if _, header := site.get(t, "/"+kernelPath); !strings.Contains(header.Get("Cache-Status"), "hit") {
		t.Errorf("Cache-Status of the kernel: %q", header.Get("Cache-Status"))
	}
	if sent := site.relay.sent.Load(); sent < content/2 || sent > content+content/20+256<<10 {
		t.Errorf("central sent %d bytes for %d bytes of content", sent, content)
	}

	site.agent.stop(t)
	site.central.stop(t)
	site.startAgent(t)
	script, _ := site.get(t, "/boot/"+stranger.mac)
	if !strings.HasPrefix(script, "#!ipxe\n") || !strings.Contains(script, strangerReason) {
		t.Errorf("the script of a machine never seen:\n%s", script)
	}
	site.startDHCP(t) // with snponly.efi, of Debian 12's builds the one that finds the way back to the firmware
	boots(t, "from disk", append(machines, stranger), func(t *testing.T, m *machine) {
		printed := m.boot(t)
		switch {
		case m == stranger:
			expect(t, printed, "PureBoot: safe boot", strangerReason, markBIOSDisk)
		case m.mode == "uefi": // whose firmware tries HTTP after PXE, and the disk after both
			expect(t, printed, "NBP filename is snponly.efi", "State: installed",
				"Start HTTP Boot over IPv4", "/bootloaders/snponly.efi", "State: installed", markUEFIDisk)
		default:
			expect(t, printed, "State: installed", markBIOSDisk)
		}
	})
}

// strangerReason begins what a machine that nobody knows is told while central is away.
const strangerReason = "Reason: Central cannot be reached"

// boots runs a test for each machine, of four at the same time, and waits for all.
func boots(t *testing.T, name string, machines []*machine, test func(*testing.T, *machine)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		for _, m := range machines {
			t.Run(m.name, func(t *testing.T) {
				t.Parallel()
				test(t, m)
			})
		}
	})
}

// upload fills central with what the site boots and returns its size in bytes.
func upload(t *testing.T, central *admin, kernelPackage string) int64 {
	t.Helper()
	kernel, err := filepath.Glob(filepath.Join(kernelPackage, "boot/vmlinuz-*"))
	if err != nil || len(kernel) != 1 {
		t.Fatalf("no kernel in %s", kernelPackage)
	}
	size := central.upload(t, initrdPath, newInitrd(t, kernelPackage))
	for path, file := range map[string]string{
		kernelPath:                kernel[0],
		"bootloaders/ipxe.efi":    filepath.Join(ipxeDir, "ipxe.efi"),
		"bootloaders/snponly.efi": filepath.Join(ipxeDir, "snponly.efi"),
	} {
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		size += central.upload(t, path, body)
	}
	return size
}

// register makes the machine a pending node with an installer, and returns its id.
func register(t *testing.T, s *site, m *machine) string {
	t.Helper()
	workflow := s.admin.create(t, "workflows", map[string]any{
		"name": "debian-" + m.mode, "arch": "x86_64", "boot_mode": m.mode, "install_method": "kernel",
		"kernel": kernelPath, "initrd": []string{initrdPath},
		"cmdline": "console=ttyS0 panic=1 quiet pureboot.event=${event_url} pureboot.token=${token}",
	})
	return s.admin.create(t, "nodes", map[string]any{
		"mac_address": m.mac, "hostname": m.name, "home_site_id": s.id, "workflow_id": workflow,
		"state": "pending", "arch": "x86_64", "boot_mode": m.mode,
	})
}
