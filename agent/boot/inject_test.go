package boot_test

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/pureboot/pureboot/agent/boot"
	"github.com/pureboot/pureboot/central/lifecycle"
)

// shapeOf reads an iPXE script as iPXE does (a backslash joins lines, white space alone splits words, a word alone is
// a separator or begins a comment) and returns what it does: every command with the number of its arguments. Of
// commands that take any number, echo and kernel, it checks that nothing iPXE acts on is in them.
func shapeOf(script []byte) string {
	var shape strings.Builder
	text := strings.ReplaceAll(string(script), "\r\n", "\n")
	text = strings.ReplaceAll(text, "\\\n", " CONTINUED ")
	for line := range strings.SplitSeq(text, "\n") {
		var command []string
		end := func(separator string) {
			shape.WriteString(describe(command) + " " + separator + " ")
			command = nil
		}
		for _, word := range strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" \t\v\f\r", r) }) {
			if word == "||" || word == "&&" || word == ";" {
				end(word)
				continue
			}
			if word[0] == '#' && !strings.HasPrefix(word, "#!") {
				shape.WriteString("COMMENT")
				break
			}
			command = append(command, word)
		}
		end("\n")
	}
	return shape.String()
}

func describe(command []string) string {
	if len(command) == 0 {
		return ""
	}
	switch command[0] {
	case "echo":
		if text := strings.Join(command, " "); strings.ContainsAny(text, "$\\\"'`") || len(command) > 1 && command[1][0] == '-' {
			return "BAD " + text
		}
		return "echo"
	case "kernel":
		return strings.Join(command[:3], " ")
	case "iseq", "isset", "goto", "exit", "sleep":
		return strings.Join(command, " ")
	}
	if strings.HasPrefix(command[0], ":") {
		return strings.Join(command, " ")
	}
	return fmt.Sprint(command[0], " ", len(command))
}

var quoted = regexp.MustCompile(`('[^'\n]*' ?)+`)

// shapeOfGrub returns a grub.cfg with every run of quoted words made one: what GRUB does, without what it is told.
func shapeOfGrub(script []byte) string { return quoted.ReplaceAllString(string(script), "Q ") }

// nasty are texts that a machine could call itself by.
var nasty = []string{
	"a\nshell", "a\r\nshell\r\n", "a || shell", "a && shell", "a ; shell", "a # b", "#", "${net0/ip}", "$${server}", "${hostname}",
	"$(id)", "`id`", `"`, "'", `\`, "a \\", "' ; reboot ; '", "a'\nreboot\n'", "-n", "--help", "\x00", "\u2028", "\xff", "|| goto failed\nshell",
	"\n:failed\nshell", "", " ", "\t", "../../..", "%0ashell", "a&b=c", "a=b?c", "{{.}}", "x" + strings.Repeat("\n", 200),
}

// hostile is every field that a script is made of and a stranger may have a hand in.
type hostile struct {
	hostname, ip, id, mac, vendor, lastError, param, fact, extra, cmdline, path, name, reason, state string
}

func FuzzInjection(f *testing.F) {
	for i := range nasty {
		at := func(n int) string { return nasty[(i+n)%len(nasty)] }
		// All of them bad, and each of them alone: one bad field often hides the next.
		f.Add(at(0), at(1), at(2), at(3), at(4), at(5), at(6), at(7), at(8), at(9), at(10), at(11), at(12), at(13))
		for n := range 14 {
			v := [14]string{"h", "10.0.0.9", "id", "525400aabb01", "v", "e", "p", "f", "x", "c", "images/a", "n", "r", "pending"}
			v[n] = nasty[i]
			f.Add(v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[8], v[9], v[10], v[11], v[12], v[13])
		}
	}
	f.Fuzz(func(t *testing.T, hostname, ip, id, mac, vendor, lastError, param, fact, extra, cmdline, path, name, reason, state string) {
		h := hostile{hostname, ip, id, mac, vendor, lastError, param, fact, extra, cmdline, path, name, reason, state}
		for _, kind := range []struct {
			method string
			state  lifecycle.State
		}{
			{"kernel", lifecycle.Pending},
			{"sanboot", lifecycle.Pending},
			{"chain", lifecycle.Pending},
			{"kernel", lifecycle.Installing},
			{"kernel", lifecycle.Active},
			{"kernel", lifecycle.State(h.state)},
		} {
			benign, hurt := by(kind.method), h.into(by(kind.method))
			benign.Boot.Node.State, hurt.Boot.Node.State = string(kind.state), string(kind.state)
			benign.Boot.Node.LastInstallError = h.lastError
			harmless(t, hurt, benign)
		}
		// What is ordered for one boot passes the same checks.
		for _, next := range []string{"local", "installer", "tool"} {
			for _, state := range []lifecycle.State{lifecycle.Pending, lifecycle.Active} {
				benign, hurt := ordered(state, next), ordered(state, next)
				if once := hurt.Boot.NextWorkflow; once != nil {
					once.Name, once.Cmdline, once.Kernel = h.name, "console=${param.console} host=${hostname} ip=${ip} "+h.cmdline, h.path
					hurt.Boot.NextParams["console"] = h.param
				}
				hurt = h.into(hurt)
				harmless(t, hurt, benign)
				hurt.OrderToken, hurt.Boot.Node.NextBoot = h.fact, h.id
				hurt.Boot.NextWorkflow = nil
				got, _ := boot.Script(hurt)
				if s := shapeOf(got); s != shapeOf(boot.Safe("")) && h.id != "" && h.id != "local" && h.id != "installer" {
					t.Errorf("an order for nothing:\n%s", got)
				}
			}
		}
		noWorkflow, hurt := pending(), h.into(pending())
		noWorkflow.Boot.Workflow, hurt.Boot.Workflow = nil, nil
		harmless(t, hurt, noWorkflow)
		hurt.Boot, hurt.Reason = nil, h.reason
		harmless(t, hurt, noWorkflow)
	})
}

// into returns the input with the hostile values, and texts that use them.
func (h hostile) into(i boot.Input) boot.Input {
	i.MAC = h.mac
	i.Query = url.Values{"platform": {"pcbios"}, "serial": {h.fact}, "product": {h.vendor}, "arch": {h.fact}}
	n, w := &i.Boot.Node, i.Boot.Workflow
	n.Hostname, n.IPAddress, n.ID, n.Vendor, n.LastInstallError = h.hostname, h.ip, h.id, h.vendor, h.lastError
	n.ExtraCmdline = "${param.console} " + h.extra
	i.Boot.Params["console"] = h.param
	w.Name = h.name
	w.Cmdline = "ip=${ip} id=${node_id} host=${hostname} ev=${event_url} " + h.cmdline
	w.Kernel, w.BootURL, w.Initrd[0] = h.path, "${server}/"+h.path, "images/${param.console}/"+h.path
	return i
}

// harmless fails the test unless hurt is given the benign machine's script, but for its texts, or the safe one.
func harmless(t *testing.T, hurt, benign boot.Input) {
	t.Helper()
	got, _ := boot.Script(hurt)
	want, _ := boot.Script(benign)
	if s := shapeOf(got); s != shapeOf(want) && s != shapeOf(boot.Safe("")) {
		t.Errorf("injected:\n%s\nread as:\n%s\nwithout:\n%s", got, s, shapeOf(want))
	}
	benignForGrub := benign
	if w := benign.Boot.Workflow; w != nil {
		plain := *w
		plain.Cmdline = "quiet"
		record := *benign.Boot
		record.Workflow, benignForGrub.Boot = &plain, &record
	}
	got, _ = boot.Grub(hurt)
	want, _ = boot.Grub(benignForGrub)
	if s := shapeOfGrub(got); s != shapeOfGrub(want) && s != shapeOfGrub(boot.GrubSafe("")) {
		t.Errorf("injected:\n%s\nread as:\n%s\nwithout:\n%s", got, s, shapeOfGrub(want))
	}
}

// TestShapeSees holds the reader above to account: it must see what it is there to see.
func TestShapeSees(t *testing.T) {
	plain := shapeOf([]byte("#!ipxe\necho a\nexit 1\n"))
	for _, bad := range []string{"echo a\nshell", "echo a || shell", "echo a ; shell", "echo a && shell", "echo a # b", `echo a \`, "echo ${a}", "echo -n"} {
		if shapeOf([]byte("#!ipxe\n"+bad+"\nexit 1\n")) == plain {
			t.Errorf("%q is not seen", bad)
		}
	}
	if shapeOfGrub([]byte("echo 'a' ; reboot ''\n")) == shapeOfGrub([]byte("echo 'a b'\n")) {
		t.Error("GRUB: a quote that ends is not seen")
	}
}
