package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// bootTime bounds a machine's time from power-on to power-off. The slowest, OVMF, takes a minute and a half.
const bootTime = 5 * time.Minute

// machine is a computer with a network card, a disk and a serial console. Its tap has its name.
type machine struct {
	name string
	mac  string
	mode string // bios: SeaBIOS and the iPXE in QEMU's network card; uefi: OVMF with its own PXE client
	disk string // image
}

// boot switches the machine on, waits until it switches itself off, and returns what it printed on its serial console.
func (m *machine) boot(t *testing.T) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), bootTime)
	defer cancel()
	dir := t.TempDir()
	console := filepath.Join(dir, "console")
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", m.args(t, dir, console)...)
	var complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &complaints, &complaints
	err := cmd.Run()

	text, _ := os.ReadFile(console) // there is none if QEMU did not start
	printed := plain(text)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("console of %s:\n%s", m.name, printed)
		}
	})
	switch {
	case ctx.Err() != nil:
		t.Fatalf("%s did not switch off within %s", m.name, bootTime)
	case err != nil:
		t.Fatalf("%s: qemu: %v: %s", m.name, err, &complaints)
	}
	return printed
}

func (m *machine) args(t *testing.T, dir, console string) []string {
	t.Helper()
	args := strings.Fields("-accel tcg -m 512 -nodefaults -display none -no-reboot -device virtio-rng-pci")
	card := "virtio-net-pci,netdev=lan,bootindex=1,mac=" + m.mac
	if m.mode == "uefi" {
		vars := filepath.Join(dir, "vars.fd")
		original, err := os.ReadFile(ovmfVars)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(vars, original, 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "-machine", "q35",
			"-drive", "if=pflash,format=raw,readonly=on,file="+ovmfCode,
			"-drive", "if=pflash,format=raw,file="+vars,
			"-fw_cfg", "name=opt/org.tianocore/IPv6PXESupport,string=n")
		card += ",romfile=" // no iPXE in the card: the firmware's own client
	} else {
		args = append(args, "-machine", "pc,graphics=off") // which sends SeaBIOS to the serial console
	}
	return append(args,
		"-serial", "file:"+console,
		"-smbios", "type=1,manufacturer="+vendor+",serial="+m.name,
		"-netdev", "tap,id=lan,script=no,downscript=no,ifname="+m.name, "-device", card,
		"-drive", "if=none,id=disk,format=raw,file="+m.disk, "-device", "virtio-blk-pci,drive=disk,bootindex=2")
}

// vendor is what the machines say of their maker, and what no script may be led astray by. iPXE leaves a & in it
// unescaped and expands a ${}, so that central would hear something else.
const vendor = `Ma"ker $(reboot) || exit`

// escape matches what a firmware sends to move its cursor and choose its colours.
var escape = regexp.MustCompile("\x1b\\[[0-9;=?]*[A-Za-z]|\x1bc")

// plain is a console's output as a person would read it.
func plain(console []byte) string {
	text := strings.ReplaceAll(string(escape.ReplaceAll(console, nil)), "\r", "")
	return regexp.MustCompile(` {3,}`).ReplaceAllString(text, "\n")
}

// expect fails the test unless the console showed each of the marks, in this order.
func expect(t *testing.T, printed string, marks ...string) {
	t.Helper()
	rest := printed
	for i, mark := range marks {
		_, after, found := strings.Cut(rest, mark)
		if !found {
			t.Fatalf("the console does not show %q%s", mark, fmt.Sprintf(" after %q", marks[:i]))
		}
		rest = after
	}
}
