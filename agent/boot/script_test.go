package boot_test

import (
	"flag"
	"net/url"
	"os"
	"path/filepath"
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

func TestScripts(t *testing.T) {
	noWorkflow := pending()
	noWorkflow.Boot.Workflow = nil
	unknown := pending()
	unknown.Boot, unknown.Reason = nil, "This machine is not known here, and central does not answer."
	bad := pending()
	bad.Boot.Workflow.Cmdline = "quiet ${param.missing}"
	for name, input := range map[string]boot.Input{
		"kernel":     pending(),
		"sanboot":    by("sanboot"),
		"chain":      by("chain"),
		"wait":       noWorkflow,
		"discovered": in(lifecycle.Discovered),
		"active":     in(lifecycle.Active),
		"unknown":    unknown,
		"bad":        bad,
	} {
		t.Run(name, func(t *testing.T) {
			script, _ := boot.Script(input)
			golden(t, name+".ipxe", script)
			script, _ = boot.Grub(input)
			golden(t, name+".cfg", script)
		})
	}
	golden(t, "bootstrap.ipxe", boot.Bootstrap("http://10.0.0.1:8080/"))
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
