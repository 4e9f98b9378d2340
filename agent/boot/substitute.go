package boot

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/pureboot/pureboot/central/lifecycle"
)

// Render returns a template with PureBoot's names replaced by the values of in: ${server} ${mac} ${ip} ${node_id}
// ${hostname} ${token} ${event_url} ${render_url} and ${param.NAME}. Any other ${...} is the template's own and stays,
// and $${ stands for a literal ${. What a value holds is not replaced again. A hostname or address that the node does
// not have is empty.
//
// Every error is about the template or the record, not about this machine's request, and names the field: a
// parameter that nobody set, or a value with characters that would let it reach beyond its place.
func Render(template []byte, in Input) ([]byte, error) {
	if in.Boot == nil {
		return nil, errUnknown
	}
	s, err := in.substitute(string(template), checkTemplateParam)
	return []byte(s), err
}

// Names returns the names of ours that a template uses, each once, in their order.
func Names(template []byte) []string {
	var names []string
	seen := map[string]bool{}
	for text := string(template); ; {
		i := strings.IndexByte(text, '$')
		if i < 0 {
			return names
		}
		text = text[i:]
		if rest, ok := strings.CutPrefix(text, "$${"); ok {
			text = rest
			continue
		}
		if name, ok := nameAt(text); ok && !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
		text = text[1:]
	}
}

// maxText bounds a text with its values, in bytes: a short template may name a long parameter many times.
const maxText = 4 << 20

var errLong = fmt.Errorf("longer than %d bytes with its values", maxText)

// substitute replaces the names in a text. checkParam judges the parameters, whose dangers depend on the text.
func (in Input) substitute(text string, checkParam func(string) error) (string, error) {
	var b strings.Builder
	for {
		i := strings.IndexByte(text, '$')
		if i < 0 {
			b.WriteString(text)
			return b.String(), nil
		}
		b.WriteString(text[:i])
		text = text[i:]
		if rest, ok := strings.CutPrefix(text, "$${"); ok {
			b.WriteString("${")
			text = rest
			continue
		}
		name, ok := nameAt(text)
		if !ok {
			b.WriteByte('$')
			text = text[1:]
			continue
		}
		value, err := in.value(name, checkParam)
		if err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
		if b.Len()+len(value) > maxText {
			return "", errLong
		}
		b.WriteString(value)
		text = text[len("${")+len(name)+len("}"):]
	}
}

// maxName bounds what is taken for a name, in bytes.
const maxName = 128

// nameAt returns the name that text begins with, as ${name}, if it is one of ours.
func nameAt(text string) (string, bool) {
	rest, ok := strings.CutPrefix(text, "${")
	if !ok {
		return "", false
	}
	end := strings.IndexAny(rest[:min(len(rest), maxName)], "}${\n")
	if end < 0 || rest[end] != '}' {
		return "", false
	}
	name := rest[:end]
	switch name {
	case "server", "mac", "ip", "node_id", "hostname", "token", "event_url", "render_url":
		return name, true
	}
	return name, strings.HasPrefix(name, "param.") && name != "param."
}

// value returns what a name of ours stands for.
func (in Input) value(name string, checkParam func(string) error) (string, error) {
	n := in.Boot.Node
	switch name {
	case "server":
		return in.base()
	case "mac":
		return lifecycle.ParseMAC(in.MAC)
	case "ip":
		return checkAddress(n.IPAddress)
	case "node_id":
		return n.ID, checkID(n.ID)
	case "hostname":
		return n.Hostname, checkHostname(n.Hostname)
	case "token":
		_, err := tokenQuery(in.Token)
		return in.Token, err
	case "event_url":
		server, err := in.base()
		return server + "/api/v1/nodes/" + n.ID + "/event", cmp.Or(err, checkID(n.ID))
	case "render_url":
		return in.renderURL()
	}
	value, ok := in.Boot.Params[strings.TrimPrefix(name, "param.")]
	if !ok {
		return "", errors.New("this parameter is not set")
	}
	return value, checkParam(value)
}

// renderURL returns where the node fetches its workflow's template.
func (in Input) renderURL() (string, error) {
	if in.Boot.Workflow == nil || in.Boot.Workflow.Template == "" {
		return "", errors.New("the workflow has no template")
	}
	at, err := in.place("render")
	if err != nil {
		return "", err
	}
	path, err := contentPath(in.Boot.Workflow.Template)
	if err != nil {
		return "", fmt.Errorf("template: %w", err)
	}
	query, err := tokenQuery(in.Token)
	return at + "/" + path + query, err
}

func checkID(id string) error {
	if id == "" || !only(id, alphanumeric+"-") {
		return errors.New("not a node id")
	}
	return nil
}

// checkAddress returns the address in its usual form; a node may have none.
func checkAddress(ip string) (string, error) {
	if ip == "" {
		return "", nil
	}
	a, err := netip.ParseAddr(ip)
	if err != nil || a.Zone() != "" {
		return "", errors.New("not an IP address")
	}
	return a.String(), nil
}

// checkHostname takes letters, digits, dots, dashes and, as many sites use them, underscores.
func checkHostname(name string) error {
	if len(name) > 253 || !only(name, alphanumeric+".-_") || strings.HasPrefix(name, "-") {
		return errors.New("not a host name: letters, digits, dots and dashes only")
	}
	return nil
}

// checkParam refuses what could end a value's place in a script: controls, quotes, backslashes and $.
func checkParam(value string) error {
	if err := checkTemplateParam(value); err != nil {
		return err
	}
	if strings.Contains(value, "$") {
		return errors.New("holds a $")
	}
	return nil
}

// checkTemplateParam is checkParam for templates, where a $ is also part of every password hash ($6$...). There it is
// refused only where a shell would run what follows, or a template engine replace it.
func checkTemplateParam(value string) error {
	switch {
	case !utf8.ValidString(value) || strings.ContainsFunc(value, breaks):
		return errors.New("holds a control character")
	case strings.ContainsAny(value, "\"'`\\"):
		return errors.New("holds a quote or a backslash")
	case strings.Contains(value, "${") || strings.Contains(value, "$(") || strings.HasSuffix(value, "$"):
		return errors.New("holds a $ before a bracket or at its end")
	}
	return nil
}

// breaks says whether a character may end a line somewhere, or hide what is written.
func breaks(r rune) bool {
	return unicode.IsControl(r) || unicode.In(r, unicode.Zl, unicode.Zp, unicode.Cf)
}
