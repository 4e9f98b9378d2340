package e2e

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// envSwitch asks for the test; make e2e sets it.
const envSwitch = "PUREBOOT_E2E"

// envInside holds, in the process that runs in the namespace, what was prepared for it outside: there is no way out.
const envInside = "PUREBOOT_E2E_INSIDE"

// ownSpaces are the namespaces of the test: of the network, and of processes so that none outlives the test, even if it
// is killed.
const ownSpaces = syscall.CLONE_NEWNET | syscall.CLONE_NEWPID

// Where Debian puts what we need.
const (
	busyboxPath = "/bin/busybox"
	ovmfCode    = "/usr/share/OVMF/OVMF_CODE_4M.fd"
	ovmfVars    = "/usr/share/OVMF/OVMF_VARS_4M.fd"
	ipxeDir     = "/usr/lib/ipxe"
)

// Addresses of the site's LAN.
const (
	bridge  = "site0"
	agentIP = "10.99.0.1"
)

// TestMain prepares what needs the outside world and then runs this same program in namespaces of its own. It is the
// first process there: all others end with it, and with them bridge, taps and sockets, whatever becomes of the test.
func TestMain(m *testing.M) {
	if os.Getenv(envSwitch) == "" || os.Getenv(envInside) != "" || len(missing()) > 0 {
		os.Exit(m.Run())
	}
	code, err := runInside()
	if err != nil {
		fmt.Fprintln(os.Stderr, "end to end:", err)
		os.Exit(1)
	}
	os.Exit(code)
}

// runInside returns the exit code of the tests.
func runInside() (int, error) {
	work, err := os.MkdirTemp("", "pureboot-e2e-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(work)
	if err := buildPrograms(work); err != nil {
		return 0, err
	}
	kernel, err := fetchKernel()
	if err != nil {
		return 0, err
	}
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	cmd := exec.Command(self, append(os.Args[1:], "-test.parallel=4")...) // machines wait more than they work
	cmd.Env = append(os.Environ(), envInside+"="+work+":"+kernel, "TMPDIR="+work)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: ownSpaces, Pdeathsig: syscall.SIGKILL}
	err = cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.Exited() {
		return exit.ExitCode(), nil
	}
	return 0, err
}

// inside returns where the programs and the unpacked kernel package are, or skips the test saying what it lacks.
func inside(t *testing.T) (programs, kernel string) {
	t.Helper()
	programs, kernel, prepared := strings.Cut(os.Getenv(envInside), ":")
	if prepared {
		return programs, kernel
	}
	if lacks := missing(); len(lacks) > 0 {
		t.Skipf("no end-to-end test here: %s", strings.Join(lacks, "; "))
	}
	t.Skip("boots real firmware for minutes: run make e2e")
	return "", ""
}

// missing names what this machine lacks, each with the way to get it.
func missing() []string {
	var lacks []string
	if os.Geteuid() != 0 {
		lacks = append(lacks, "needs root")
	} else if err := tryNamespace(); err != nil {
		lacks = append(lacks, fmt.Sprintf("needs network and process namespaces (%v)", err))
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		lacks = append(lacks, "needs /dev/net/tun (modprobe tun)")
	}
	var packages []string
	need := func(name string, found bool) {
		if !found && !slices.Contains(packages, name) {
			packages = append(packages, name)
		}
	}
	need("qemu-system-x86", inPath("qemu-system-x86_64"))
	need("dnsmasq-base", inPath("dnsmasq"))
	need("iproute2", inPath("ip"))
	need("xz-utils", inPath("xz"))
	need("busybox-static", isStatic(busyboxPath))
	need("ovmf", isFile(ovmfCode) && isFile(ovmfVars))
	need("ipxe", isFile(filepath.Join(ipxeDir, "ipxe.efi")))
	need("ipxe-qemu", isFile(filepath.Join(ipxeDir, "qemu/pxe-virtio.rom")))
	if !inPath("apt-get") || !inPath("dpkg-deb") {
		lacks = append(lacks, "needs Debian's apt-get and dpkg-deb, for the kernel")
	}
	if len(packages) > 0 {
		lacks = append(lacks, "apt-get install --no-install-recommends "+strings.Join(packages, " "))
	}
	return lacks
}

func tryNamespace() error {
	cmd := exec.Command("/bin/true")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: ownSpaces}
	return cmd.Run()
}

// inPath tells whether a program is installed, also one that only root has in its path.
func inPath(program string) bool {
	_, err := exec.LookPath(program)
	return err == nil || isFile("/usr/sbin/"+program)
}

func isFile(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// isStatic tells whether a program needs no shared libraries: the initrd has none.
func isStatic(name string) bool {
	program, err := elf.Open(name)
	if err != nil {
		return false
	}
	defer program.Close()
	return !slices.ContainsFunc(program.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP })
}

// newLAN makes the site's bridge and a tap for each machine, in the namespace that we are in.
func newLAN(t *testing.T, taps ...string) {
	t.Helper()
	commands := []string{
		"link set lo up",
		"link add " + bridge + " type bridge",
		"addr add " + agentIP + "/24 dev " + bridge,
		"link set " + bridge + " up",
	}
	for _, tap := range taps {
		commands = append(commands, "tuntap add dev "+tap+" mode tap", "link set "+tap+" master "+bridge+" up")
	}
	ip := func(command string) {
		if out, err := exec.Command("ip", strings.Fields(command)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %s", command, err, out)
		}
	}
	for _, c := range commands {
		ip(c)
	}
	t.Cleanup(func() {
		for _, link := range append(taps, bridge) {
			ip("link del " + link)
		}
	})
}
