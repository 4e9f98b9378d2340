package boot_test

import (
	"flag"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pureboot/pureboot/agent/boot"
	"github.com/pureboot/pureboot/central/lifecycle"
	"github.com/pureboot/pureboot/central/wire"
)

var update = flag.Bool("update", false, "write the golden files anew")

var now = time.Date(2031, 5, 6, 7, 8, 9, 0, time.UTC)

// pending returns a machine whose installer is due, with a workflow that uses everything.
func pending() boot.Input {
	return boot.Input{
		Server: "http://10.0.0.1:8080",
		MAC:    "52-54-00-AA-BB-01",
		Token:  "dG9rZW4tMQ",
		Query:  url.Values{"platform": {"pcbios"}, "arch": {"i386"}, "product": {"Box (9 + 1)"}, "serial": {"A&B=${x}"}},
		Now:    now,
		Boot: &wire.Boot{
			Node: wire.Node{
				ID:           "6f1c1a52-6c1e-4b86-9d2b-0d9d6a0a3c11",
				MACAddress:   "52:54:00:aa:bb:01",
				Hostname:     "web-01",
				IPAddress:    "10.0.0.57",
				State:        string(lifecycle.Pending),
				ExtraCmdline: "console=${param.console}",
				InstallSeq:   1,
			},
			Workflow: &wire.Workflow{
				Name:          "debian-12",
				InstallMethod: "kernel",
				Kernel:        "images/debian-12/linux",
				Initrd:        []string{"images/debian-12/initrd.gz", "images/${param.firmware}/firmware.cpio"},
				Cmdline:       "auto=true url=${render_url} hostname=${hostname} own=${net0/ip} ---",
				BootURL:       "${server}/images/tool.iso",
				Template:      "templates/debian/preseed.cfg",
			},
			Params: map[string]string{"console": "ttyS0,115200n8", "firmware": "debian-12"},
		},
	}
}

// in returns the machine in another state.
func in(state lifecycle.State) boot.Input {
	i := pending()
	i.Boot.Node.State = string(state)
	return i
}

// by returns the machine with another install method.
func by(method string) boot.Input {
	i := pending()
	i.Boot.Workflow.InstallMethod = method
	return i
}

// ordered returns the machine in a state with an order for its next boot; "tool" is one by the workflow of that name.
func ordered(state lifecycle.State, next string) boot.Input {
	i := in(state)
	i.OrderToken = "b3JkZXI"
	i.Boot.Node.NextBoot = next
	if next == "tool" {
		i.Token = ""
		i.Boot.Node.NextBoot = "2b0c7c1e-7c55-4b0e-8d1a-5a2b7f6f1d11"
		i.Boot.NextWorkflow = &wire.Workflow{
			Name: "memtest", InstallMethod: "kernel", Kernel: "images/memtest/${param.build}", Cmdline: "console=${param.console}",
		}
		i.Boot.NextParams = map[string]string{"console": "ttyS1", "build": "mt86.bin"}
	}
	return i
}

func TestScripts(t *testing.T) {
	noWorkflow := pending()
	noWorkflow.Boot.Workflow = nil
	unknown := pending()
	unknown.Boot, unknown.Reason = nil, "This machine is not known here, and central does not answer."
	bad := pending()
	bad.Boot.Workflow.Cmdline = "quiet ${param.missing}"
	silent := pending()
	silent.Query = nil
	chained := ordered(lifecycle.Active, "tool")
	chained.Boot.NextWorkflow.InstallMethod, chained.Boot.NextWorkflow.BootURL = "chain", "images/tool.efi"
	for name, input := range map[string]boot.Input{
		"kernel":     pending(),
		"silent":     silent,
		"once-local": ordered(lifecycle.Pending, "local"),
		"once-new":   ordered(lifecycle.Active, "installer"),
		"once-tool":  ordered(lifecycle.Pending, "tool"),
		"once-chain": chained,
		"sanboot":    by("sanboot"),
		"chain":      by("chain"),
		"wait":       noWorkflow,
		"discovered": in(lifecycle.Discovered),
		"active":     in(lifecycle.Active),
		"unknown":    unknown,
		"bad":        bad,
	} {
		t.Run(name, func(t *testing.T) {
			script, err := boot.Script(input)
			if (err != nil) != (name == "bad") {
				t.Errorf("error: %v", err)
			}
			golden(t, name+".ipxe", script)
		})
	}
}

func TestGrubScripts(t *testing.T) {
	noWorkflow := pending()
	noWorkflow.Boot.Workflow = nil
	unknown := pending()
	unknown.Boot = nil
	kernel := pending()
	kernel.Boot.Workflow.Cmdline = `initrd=initrd.gz hostname=${hostname} dyndbg="file a.c +p" ---`
	bare := pending()
	bare.Server = "http://10.0.0.1:80"
	bare.Boot.Workflow.Initrd, bare.Boot.Workflow.Cmdline, bare.Boot.Node.ExtraCmdline = nil, "", ""
	anew := ordered(lifecycle.Installed, "installer")
	anew.Boot.Workflow.Cmdline = "quiet"
	for name, input := range map[string]boot.Input{
		"once-local": ordered(lifecycle.Pending, "local"),
		"once-new":   anew,
		"once-tool":  ordered(lifecycle.Active, "tool"),
		"kernel":     kernel,
		"bare":       bare,
		"sanboot":    by("sanboot"),
		"wait":       noWorkflow,
		"active":     in(lifecycle.Active),
		"unknown":    unknown,
	} {
		t.Run(name, func(t *testing.T) {
			script, err := boot.Grub(input)
			if (err != nil) != (name == "sanboot") {
				t.Errorf("error: %v", err)
			}
			golden(t, name+".cfg", script)
		})
	}
}

// TestAnOrderThatCannotBeCarriedOut leaves the machine to its disk, and the order in its place: nothing is reported.
func TestAnOrderThatCannotBeCarriedOut(t *testing.T) {
	for _, c := range []struct {
		name, next string
		spoil      func(*boot.Input)
		want       string
	}{
		{"no token for a local boot", "local", func(i *boot.Input) { i.OrderToken = "" }, "token"},
		{"no token for an installation", "installer", func(i *boot.Input) { i.OrderToken = "" }, "token"},
		{"an odd token", "tool", func(i *boot.Input) { i.OrderToken = "a b" }, "token"},
		{"a central that did not send the workflow", "tool", func(i *boot.Input) { i.Boot.NextWorkflow = nil }, "next_boot"},
		{"a tool that wants a template", "tool", func(i *boot.Input) {
			i.Boot.NextWorkflow.Template, i.Boot.NextWorkflow.Cmdline = "templates/a", "url=${render_url}"
		}, "workflow memtest: cmdline: render_url: token: there is none"},
		{"a tool that reports", "tool", func(i *boot.Input) { i.Token, i.Boot.NextWorkflow.Cmdline = "abc", "t=${token}" }, "token: there is none"},
		{"a parameter of the other workflow", "tool", func(i *boot.Input) { i.Boot.NextWorkflow.Cmdline = "${param.firmware}" }, "param.firmware"},
	} {
		t.Run(c.name, func(t *testing.T) {
			input := ordered(lifecycle.Active, c.next)
			c.spoil(&input)
			script, err := boot.Script(input)
			if err == nil || !strings.Contains(err.Error(), c.want) || shapeOf(script) != shapeOf(boot.Safe("")) {
				t.Errorf("error %v, want %q in\n%s", err, c.want, script)
			}
			script, err = boot.Grub(input)
			if err == nil || !strings.Contains(err.Error(), c.want) || shapeOfGrub(script) != shapeOfGrub(boot.GrubSafe("")) {
				t.Errorf("GRUB: error %v, want %q in\n%s", err, c.want, script)
			}
		})
	}
}

func TestBootstrap(t *testing.T) {
	golden(t, "bootstrap.ipxe", boot.Bootstrap("http://10.0.0.1:8080/"))
	for _, server := range []string{"", "10.0.0.1", "ftp://10.0.0.1", "http://10.0.0.1/x", "http://a b", "http://a\nexit"} {
		script := string(boot.Bootstrap(server))
		if !strings.Contains(script, "Reason: server: ") || strings.Contains(script, "\nexit\n") {
			t.Errorf("server %q:\n%s", server, script)
		}
	}
}

// TestTimeout is about the one thing that the clock decides.
func TestTimeout(t *testing.T) {
	input := in(lifecycle.Installing)
	begun := now.Add(-lifecycle.InstallTimeout)
	input.Boot.Node.InstallAttempts, input.Boot.Node.InstallStartedAt = 1, &begun
	if script, err := boot.Script(input); err != nil || !strings.Contains(string(script), "attempt 2 of 3") {
		t.Errorf("after the timeout: %v\n%s", err, script)
	}
	input.Now = now.Add(-time.Second)
	if script, err := boot.Script(input); err != nil || !strings.Contains(string(script), "is under way") {
		t.Errorf("before the timeout: %v\n%s", err, script)
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("%s:\n%s\nwant:\n%s", name, got, want)
	}
}
