package boot_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/pureboot/pureboot/agent/boot"
)

// TestBadWorkflow makes one thing wrong at a time: the machine is told which, and boots its disk.
func TestBadWorkflow(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(*boot.Input)
		want  string
	}{
		{"no token", func(i *boot.Input) { i.Token = "" }, "token"},
		{"odd token", func(i *boot.Input) { i.Token = "a&b" }, "token"},
		{"odd MAC", func(i *boot.Input) { i.MAC = "52:54" }, "mac"},
		{"odd server", func(i *boot.Input) { i.Server = "http://a/b" }, "server"},
		{"unknown state", func(i *boot.Input) { i.Boot.Node.State = "asleep" }, "state"},
		{"image method", func(i *boot.Input) { i.Boot.Workflow.InstallMethod = "image" }, "install_method"},
		{"no kernel", func(i *boot.Input) { i.Boot.Workflow.Kernel = "" }, "kernel: missing"},
		{"kernel above the content", func(i *boot.Input) { i.Boot.Workflow.Kernel = "images/../../etc/passwd" }, "kernel: not a plain path"},
		{"kernel over two lines", func(i *boot.Input) { i.Boot.Workflow.Kernel = "images/a\nshell" }, "kernel: holds a control"},
		{"initrd with a space in its URL", func(i *boot.Input) { i.Boot.Workflow.Initrd[1] = "http://a/b || shell" }, "initrd 1: not a URL"},
		{"parameter that climbs", func(i *boot.Input) { i.Boot.Params["firmware"] = ".." }, "initrd 1: not a plain path"},
		{"cmdline over two lines", func(i *boot.Input) { i.Boot.Workflow.Cmdline = "a\nshell" }, "cmdline: holds a control"},
		{"cmdline with another command", func(i *boot.Input) { i.Boot.Workflow.Cmdline = "a || shell" }, "cmdline: a word"},
		{"cmdline with a semicolon", func(i *boot.Input) { i.Boot.Workflow.Cmdline = "a ; shell" }, "cmdline: a word"},
		{"cmdline with a comment", func(i *boot.Input) { i.Boot.Workflow.Cmdline = "a #b" }, "cmdline: a word"},
		{"extra with another command", func(i *boot.Input) { i.Boot.Node.ExtraCmdline = "&& shell" }, "extra_cmdline: a word"},
		{"parameter with another command", func(i *boot.Input) { i.Boot.Params["console"] = "a && shell" }, "extra_cmdline: a word"},
		{"parameter with a quote", func(i *boot.Input) { i.Boot.Params["console"] = `a"` }, "extra_cmdline: param.console: holds a quote"},
		{"parameter with a setting", func(i *boot.Input) { i.Boot.Params["console"] = "$6$x" }, "extra_cmdline: param.console: holds a $"},
		{"cmdline too long", func(i *boot.Input) { i.Boot.Workflow.Cmdline = strings.Repeat("a", 2048) }, "cmdline: 2"},
		{"hostname with a space", func(i *boot.Input) { i.Boot.Node.Hostname = "a b" }, "cmdline: hostname: not a host name"},
		{"no template", func(i *boot.Input) { i.Boot.Workflow.Template = "" }, "cmdline: render_url: the workflow has no template"},
		{"other firmware", func(i *boot.Input) { i.Boot.Workflow.BootMode = "uefi" }, "boot_mode"},
		{"other processor", func(i *boot.Input) {
			i.Boot.Workflow.Arch, i.Query = "arm64", url.Values{"arch": {"x86_64"}}
		}, "arch"},
	} {
		t.Run(c.name, func(t *testing.T) {
			input := pending()
			c.spoil(&input)
			script, err := boot.Script(input)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
			if shapeOf(script) != shapeOf(boot.Safe("")) || strings.Contains(string(script), "Reason: \n") {
				t.Errorf("not the safe script:\n%s", script)
			}
		})
	}
}

func TestInstallerLines(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*boot.Input)
		want   string
	}{
		{
			"a firmware's own setting survives",
			func(i *boot.Input) { i.Boot.Workflow.Kernel = "images/${buildarch}/linux" },
			"kernel --name kernel http://10.0.0.1:8080/images/${buildarch}/linux ",
		},
		{
			"a path is encoded",
			func(i *boot.Input) { i.Boot.Workflow.Kernel = "/images/my kernel 100%" },
			"kernel --name kernel http://10.0.0.1:8080/images/my%20kernel%20100%25 ",
		},
		{
			"a URL through an upstream",
			func(i *boot.Input) { i.Boot.Workflow.Kernel = "${server}/mirror/debian/linux" },
			"kernel --name kernel http://10.0.0.1:8080/mirror/debian/linux ",
		},
		{
			"a name given in the workflow is not added again",
			func(i *boot.Input) { i.Boot.Workflow.Cmdline, i.Boot.Node.ExtraCmdline = "quiet initrd=initrd.gz", "" },
			"linux initrd=firmware.cpio quiet initrd=initrd.gz ||",
		},
		{
			"names are told apart",
			func(i *boot.Input) {
				i.Boot.Workflow.Initrd = []string{"images/a/kernel", "images/b/rd", "images/c/rd"}
			},
			"linux initrd=initrd0 initrd=rd initrd=initrd2 ",
		},
		{
			"names are told apart whatever their case, from numbers too",
			func(i *boot.Input) {
				i.Boot.Workflow.Initrd = []string{"images/a/initrd1", "images/b/ü", "images/c/INITRD1", "images/d/Kernel", "images/e/initrd3"}
			},
			"linux initrd=initrd1 initrd=initrd2 initrd=initrd3 initrd=initrd4 initrd=initrd5 ",
		},
		{
			"no command line at all",
			func(i *boot.Input) {
				i.Boot.Workflow.Initrd, i.Boot.Workflow.Cmdline, i.Boot.Node.ExtraCmdline = nil, " ", ""
			},
			"linux || goto failed\nimgfetch",
		},
		{
			"a workflow for this machine",
			func(i *boot.Input) { i.Boot.Workflow.BootMode, i.Boot.Workflow.Arch = "bios", "x86_64" },
			"boot kernel ||",
		},
		{
			"an attempt after a failure",
			func(i *boot.Input) {
				i.Boot.Node.State, i.Boot.Node.InstallAttempts, i.Boot.Node.LastInstallError = "installing", 1, "no disk"
			},
			"echo Installing, attempt 2 of 3.",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			input := pending()
			c.change(&input)
			script, err := boot.Script(input)
			if err != nil || !strings.Contains(string(script), c.want) {
				t.Errorf("error %v, want a line with %q in\n%s", err, c.want, script)
			}
		})
	}
}

func TestGrubRefuses(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(*boot.Input)
		want  string
	}{
		{"chain", func(i *boot.Input) { i.Boot.Workflow.InstallMethod = "chain" }, "install_method: GRUB cannot"},
		{"iPXE's settings in a path", func(i *boot.Input) { i.Boot.Workflow.Kernel = "images/${buildarch}/linux" }, "kernel: GRUB does not know"},
		{"iPXE's settings in the command line", func(i *boot.Input) { i.Boot.Workflow.Cmdline = "own=${net0/ip}" }, "cmdline: GRUB does not know"},
		{"a single quote", func(i *boot.Input) { i.Boot.Workflow.Cmdline = "a='b'" }, "cmdline: GRUB would change"},
		{"an open quote", func(i *boot.Input) { i.Boot.Workflow.Cmdline = `a="b` }, "cmdline: a quote is never closed"},
		{"a secure mirror", func(i *boot.Input) { i.Boot.Workflow.Kernel = "https://a/b" }, "kernel: GRUB reads http and tftp only"},
		{"a secure agent", func(i *boot.Input) { i.Server = "https://10.0.0.1" }, "GRUB reads http and tftp only"},
	} {
		t.Run(c.name, func(t *testing.T) {
			input := pending()
			input.Boot.Workflow.Cmdline = "quiet"
			c.spoil(&input)
			script, err := boot.Grub(input)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
			if shapeOfGrub(script) != shapeOfGrub(boot.GrubSafe("")) {
				t.Errorf("not the safe script:\n%s", script)
			}
		})
	}
}
