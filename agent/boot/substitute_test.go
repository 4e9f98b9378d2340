package boot_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/pureboot/pureboot/agent/boot"
)

func TestRender(t *testing.T) {
	for _, c := range []struct{ template, want string }{
		{"", ""},
		{"no names", "no names"},
		{"${server} ${mac} ${ip}", "http://10.0.0.1:8080 52:54:00:aa:bb:01 10.0.0.57"},
		{"${node_id}", "6f1c1a52-6c1e-4b86-9d2b-0d9d6a0a3c11"},
		{"${hostname}.example", "web-01.example"},
		{"${token}", "dG9rZW4tMQ"},
		{"${event_url}", "http://10.0.0.1:8080/api/v1/nodes/6f1c1a52-6c1e-4b86-9d2b-0d9d6a0a3c11/event"},
		{"${render_url}", "http://10.0.0.1:8080/render/52-54-00-aa-bb-01/templates/debian/preseed.cfg?t=dG9rZW4tMQ"},
		{"${param.console}", "ttyS0,115200n8"},
		{"${param.hash}", "$6$salt$digest"},
		{"$${param.console}", "${param.console}"},
		{"$${server}", "${server}"},
		{"$$${server}", "$${server}"},
		{"$${", "${"},
		{"$ $$ $a $(b) ${ ${} ${c} ${net0/ip} ${param.} ${server", "$ $$ $a $(b) ${ ${} ${c} ${net0/ip} ${param.} ${server"},
		{"${SERVER} ${ server } ${hostname:-x}", "${SERVER} ${ server } ${hostname:-x}"},
		{"${a${hostname}}", "${aweb-01}"},
		{"${param.a\nb}", "${param.a\nb}"},
	} {
		input := pending()
		input.Boot.Params["hash"] = "$6$salt$digest"
		got, err := boot.Render([]byte(c.template), input)
		if err != nil || string(got) != c.want {
			t.Errorf("%q gives %q, %v; want %q", c.template, got, err, c.want)
		}
	}
}

// TestRenderMissing holds that a node without a name or address gets an empty one, since an installer asks for them
// itself, but a parameter that nobody set is a mistake.
func TestRenderMissing(t *testing.T) {
	input := pending()
	input.Boot.Node.Hostname, input.Boot.Node.IPAddress = "", ""
	if got, err := boot.Render([]byte("<${hostname}${ip}>"), input); err != nil || string(got) != "<>" {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := boot.Render([]byte("${param.disk}"), input); err == nil || err.Error() != "param.disk: this parameter is not set" {
		t.Errorf("a missing parameter: %v", err)
	}
	input.Boot = nil
	if _, err := boot.Render(nil, input); err == nil {
		t.Error("a node that nobody knows was rendered for")
	}
}

func TestRenderRefuses(t *testing.T) {
	for name, values := range map[string][]string{
		"hostname": {"a b", "a\nb", `a"b`, "a$b", "a;b", "-a", "a'b", "ü", strings.Repeat("a", 254)},
		"ip":       {"10.0.0", "10.0.0.1 x", "fe80::1%eth0", "x\ny"},
		"node_id":  {"", "a/b", "a\nb"},
		"param.p": {
			"a\nb", "a\rb", "a\x00b", "a\u2028b", "a\u202eb", "a\xffb", `a"b`, "a'b", "a`b`", `a\b`,
			"${server}", "$(id)", "tail$",
		},
	} {
		for _, value := range values {
			input := pending()
			n := &input.Boot.Node
			switch name {
			case "hostname":
				n.Hostname = value
			case "ip":
				n.IPAddress = value
			case "node_id":
				n.ID = value
			default:
				input.Boot.Params["p"] = value
			}
			got, err := boot.Render([]byte("x=${"+name+"}"), input)
			if err == nil || !strings.HasPrefix(err.Error(), name+": ") {
				t.Errorf("%s %q gives %q, %v", name, value, got, err)
			}
			if _, err := boot.Render([]byte("unused"), input); err != nil {
				t.Errorf("%s %q matters where it is not used: %v", name, value, err)
			}
		}
	}
}

// TestAShortTemplateDoesNotGrowWithoutEnd: what names a long parameter on each line is refused before it fills the memory.
func TestAShortTemplateDoesNotGrowWithoutEnd(t *testing.T) {
	input := pending()
	input.Boot.Params["p"] = strings.Repeat("a", 4096)
	if got, err := boot.Render([]byte(strings.Repeat("${param.p}\n", 1000)), input); err != nil || len(got) != 4097*1000 {
		t.Errorf("4 MB: %d bytes, %v", len(got), err)
	}
	if got, err := boot.Render([]byte(strings.Repeat("${param.p}", 100_000)), input); err == nil || len(got) > 0 {
		t.Errorf("400 MB: %d bytes, %v", len(got), err)
	}
}

func TestNames(t *testing.T) {
	for template, want := range map[string]string{
		"": "", "no names": "",
		"${mac} ${param.a} ${mac}":                     "mac param.a",
		"$${mac} $$${ip} $${${ip}":                     "ip",
		"${${hostname}} ${net0/ip} ${param.} ${MAC} $": "hostname",
	} {
		if got := strings.Join(boot.Names([]byte(template)), " "); got != want {
			t.Errorf("%q: %q, want %q", template, got, want)
		}
	}
	many := make([]byte, 0, 1<<20)
	for i := range 50_000 {
		many = fmt.Appendf(many, "${param.%d}", i)
	}
	if got := len(boot.Names(many)); got != 50_000 {
		t.Errorf("%d of 50000", got)
	}
}

// FuzzRender holds that a template's own text never changes, and that a value's never is replaced again.
func FuzzRender(f *testing.F) {
	f.Add("a ${param.p} b", "value")
	f.Add("$${param.p}${param.p}$", "{server}")
	f.Add("${${param.p}}", "server")
	f.Fuzz(func(t *testing.T, text, value string) {
		input := pending()
		input.Boot.Params["p"] = value
		got, err := boot.Render([]byte(text), input)
		if err != nil {
			return
		}
		if names := boot.Names([]byte(text)); len(names) == 0 && string(got) != strings.ReplaceAll(text, "$${", "${") {
			t.Errorf("%q uses no name and became %q", text, got)
		}
		if !strings.Contains(text, "${") && string(got) != text {
			t.Errorf("%q without a name became %q", text, got)
		}
		if bytes.Count(got, []byte("\n")) != strings.Count(text, "\n") {
			t.Errorf("%q with %q changed its lines: %q", text, value, got)
		}
		// The same template and a value without meaning: everything round the value is the same.
		input.Boot.Params["p"] = "VALUE"
		plain, err := boot.Render([]byte(text), input)
		if err != nil || (!strings.Contains(text, "VALUE") && strings.ReplaceAll(string(plain), "VALUE", value) != string(got)) {
			t.Errorf("%q with %q gives %q, %v", text, value, got, err)
		}
	})
}
