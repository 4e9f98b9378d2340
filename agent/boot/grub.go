package boot

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// Grub returns the node's grub.cfg, on the same terms as Script. GRUB has no sanboot and no iPXE settings: a workflow
// that needs them gets the safe script.
func Grub(in Input) ([]byte, error) {
	if in.Boot == nil {
		return GrubSafe(cmp.Or(in.Reason, errUnknown.Error())), nil
	}
	b, err := in.script(grub)
	if err != nil {
		return GrubSafe(err.Error()), err
	}
	return b, nil
}

// GrubSafe is Safe for GRUB.
func GrubSafe(reason string) []byte { return execute("safe.cfg", page{Message: reason}) }

// forGrub rewrites the plan in GRUB's notation: devices for URLs, and every word in single quotes, within which GRUB
// acts on nothing.
func (p plan) forGrub() (plan, error) {
	var err error
	if p.Kernel, err = grubFile(p.Kernel); err != nil {
		return plan{}, fmt.Errorf("kernel: %w", err)
	}
	for i, rd := range p.Initrds {
		if p.Initrds[i].URL, err = grubFile(rd.URL); err != nil {
			return plan{}, fmt.Errorf("initrd %d: %w", i, err)
		}
	}
	if p.Cmdline, err = grubWords(p.Cmdline); err != nil {
		return plan{}, fmt.Errorf("cmdline: %w", err)
	}
	return p, nil
}

// grubFile returns a URL as GRUB writes it: (http,10.0.0.1:8080)/path. GRUB 2.06 and older know no ports: a site with
// one of them has its agent listen on port 80, which is left out here.
func grubFile(at string) (string, error) {
	u, err := url.Parse(at)
	switch {
	case strings.Contains(at, "${"):
		return "", errors.New("GRUB does not know the settings of iPXE")
	case err != nil || (u.Scheme != "http" && u.Scheme != "tftp") || !only(u.Host, alphanumeric+".:-[]"):
		return "", errors.New("GRUB reads http and tftp only")
	}
	host := strings.TrimSuffix(u.Host, ":80")
	return "'(" + u.Scheme + "," + host + ")" + u.RequestURI() + "'", nil
}

// grubWords quotes a command line for GRUB. GRUB itself puts double quotes round an argument with spaces, and a
// backslash before any quote in it, so the kernel's own quotes are taken away and the words they held kept together.
func grubWords(line string) (string, error) {
	if strings.ContainsAny(line, "'\\") {
		return "", errors.New("GRUB would change the quote or backslash in it")
	}
	if strings.Contains(line, "${") {
		return "", errors.New("GRUB does not know the settings of iPXE")
	}
	var b strings.Builder
	var quoted, word bool
	for _, r := range line {
		switch {
		case r == '"':
			quoted = !quoted
		case r == ' ' && !quoted && word:
			b.WriteString("' ")
			word = false
		default:
			if !word {
				b.WriteByte('\'')
				word = true
			}
			b.WriteRune(r)
		}
	}
	if quoted {
		return "", errors.New("a quote is never closed")
	}
	if word {
		b.WriteByte('\'')
	}
	return b.String(), nil
}
