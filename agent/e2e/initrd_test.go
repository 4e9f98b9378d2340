package e2e

import (
	"bytes"
	"compress/gzip"
	"debug/elf"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The NIC of our machines, and what finds it on the bus.
var nicModules = []string{"virtio_pci", "virtio_net"}

// newInitrd builds the installer's root: busybox, the NIC's modules and our /init, as a gzipped newc archive.
func newInitrd(t *testing.T, modules string) []byte {
	t.Helper()
	busybox, err := os.ReadFile(busyboxPath)
	if err != nil {
		t.Fatal(err)
	}
	order, err := moduleOrder(modules, nicModules)
	if err != nil {
		t.Fatal(err)
	}
	var a newc
	for _, dir := range []string{"bin", "dev", "proc", "sys", "etc", "lib", "lib/modules"} {
		a.add(dir, modeDir|0o755, nil)
	}
	a.device("dev/console", 5, 1)
	a.add("bin/busybox", modeFile|0o755, busybox)
	a.add("bin/sh", modeLink|0o777, []byte("busybox"))
	var insmod strings.Builder
	for _, m := range order {
		name := "lib/modules/" + m.name + ".ko"
		a.add(name, modeFile|0o644, m.body)
		fmt.Fprintf(&insmod, "insmod /%s\n", name)
	}
	a.add("etc/udhcpc", modeFile|0o755, []byte(dhcpScript))
	a.add("init", modeFile|0o755, []byte(strings.Replace(initScript, "@INSMOD@\n", insmod.String(), 1)))
	return a.gzip()
}

// initScript is the installer. Its serial marks are short and begin a line: a BIOS console wraps at 80 columns.
const initScript = `#!/bin/sh
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
echo
echo INSTALLER-UP
@INSMOD@
ip link set lo up
ip link set eth0 up
udhcpc -i eth0 -s /etc/udhcpc -f -n -q -t 20 -T 1 || echo INSTALLER-NO-LEASE
for word in $(cat /proc/cmdline); do
	case $word in
	pureboot.event=*) event=${word#*=} ;;
	pureboot.token=*) token=${word#*=} ;;
	esac
done
post() {
	if timeout 20 wget -q -O /dev/null --header "Authorization: Bearer $token" --header "Content-Type: application/json" \
		--post-data "{\"event_id\":\"$(cat /proc/sys/kernel/random/uuid)\",\"event_type\":\"$1\",\"status\":\"$2\"}" "$event"
	then echo "EVENT-OK $1"
	else echo "EVENT-FAILED $1"
	fi
}
post install_started in_progress
post install_complete success
echo INSTALLER-DONE
poweroff -f
`

// dhcpScript is what udhcpc runs with a lease in its environment.
const dhcpScript = `#!/bin/sh
[ "$1" = bound ] || [ "$1" = renew ] || exit 0
ip addr flush dev "$interface"
ip addr add "$ip/$mask" dev "$interface"
`

// module is a kernel module, ready for insmod.
type module struct {
	name string
	body []byte
}

// moduleOrder returns the modules under dir, each after those it needs, as their own .modinfo sections say: the package
// has no modules.dep, which depmod makes on installation. A module that is not there is built in.
func moduleOrder(dir string, names []string) ([]module, error) {
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(file string, _ fs.DirEntry, err error) error {
		if name, found := strings.CutSuffix(strings.TrimSuffix(filepath.Base(file), ".xz"), ".ko"); found {
			files[strings.ReplaceAll(name, "-", "_")] = file
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	var order []module
	var visit func(name string) error
	visit = func(name string) error {
		name = strings.ReplaceAll(name, "-", "_")
		file, found := files[name]
		if !found || slices.ContainsFunc(order, func(m module) bool { return m.name == name }) {
			return nil
		}
		m, err := readModule(name, file)
		if err != nil {
			return err
		}
		needs, err := m.needs()
		if err != nil {
			return err
		}
		for _, need := range needs {
			if err := visit(need); err != nil {
				return err
			}
		}
		order = append(order, m)
		return nil
	}
	for _, name := range names {
		if err := visit(name); err != nil {
			return nil, err
		}
	}
	return order, nil
}

// readModule reads a module, which later Debians compress.
func readModule(name, file string) (module, error) {
	if !strings.HasSuffix(file, ".xz") {
		body, err := os.ReadFile(file)
		return module{name, body}, err
	}
	body, err := output("", "xz", "-dc", file)
	return module{name, []byte(body)}, err
}

// needs reads "depends=a,b" out of the module's zero-separated .modinfo.
func (m module) needs() ([]string, error) {
	object, err := elf.NewFile(bytes.NewReader(m.body))
	if err != nil {
		return nil, fmt.Errorf("module %s: %w", m.name, err)
	}
	section := object.Section(".modinfo")
	if section == nil {
		return nil, fmt.Errorf("module %s has no .modinfo", m.name)
	}
	info, err := section.Data()
	if err != nil {
		return nil, fmt.Errorf("module %s: %w", m.name, err)
	}
	for field := range strings.SplitSeq(string(info), "\x00") {
		if list, found := strings.CutPrefix(field, "depends="); found && list != "" {
			return strings.Split(list, ","), nil
		}
	}
	return nil, nil
}

// File types in the mode of a cpio entry.
const (
	modeDir    = 0o040000
	modeFile   = 0o100000
	modeLink   = 0o120000
	modeDevice = 0o020000
)

// newc is a cpio archive of the kind that Linux unpacks as its first root: "070701", 13 fields of eight
// hexadecimal digits, name and body, each padded to four bytes.
type newc struct {
	buf   bytes.Buffer
	inode int
}

func (a *newc) add(name string, mode int, body []byte) { a.entry(name, mode, body, 0, 0) }

func (a *newc) device(name string, major, minor int) {
	a.entry(name, modeDevice|0o600, nil, major, minor)
}

func (a *newc) entry(name string, mode int, body []byte, major, minor int) {
	a.inode++
	fmt.Fprintf(&a.buf, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
		a.inode, mode, 0, 0, 1, 0, len(body), 0, 0, major, minor, len(name)+1, 0)
	a.buf.WriteString(name + "\x00")
	a.pad()
	a.buf.Write(body)
	a.pad()
}

func (a *newc) pad() { a.buf.Write(make([]byte, -a.buf.Len()&3)) }

// gzip ends the archive and returns it compressed.
func (a *newc) gzip() []byte {
	a.add("TRAILER!!!", 0, nil)
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	z.Write(a.buf.Bytes()) // into memory: neither call can fail
	z.Close()
	return out.Bytes()
}
