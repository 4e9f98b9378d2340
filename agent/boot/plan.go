package boot

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// plan is a workflow made ready for one node: every text replaced and checked.
type plan struct {
	Method  string // kernel, sanboot or chain
	Kernel  string // URL
	Initrds []initrd
	Cmdline string
	URL     string // what sanboot or chain is given
}

// initrd is one initial ramdisk and the name that the kernel's command line knows it by. A kernel started by UEFI puts
// several of them together without padding: an uncompressed one must not follow one of a length that is no multiple
// of four.
type initrd struct{ Name, URL string }

// maxCmdline is the longest command line of a Linux kernel on x86, in bytes. iPXE cuts off the rest without a word.
const maxCmdline = 2047

// plan makes the node's workflow ready for a dialect.
func (in Input) plan(d dialect) (plan, error) {
	w := in.Boot.Workflow
	p := plan{Method: w.InstallMethod}
	if err := in.suits(); err != nil {
		return plan{}, err
	}
	var err error
	switch w.InstallMethod {
	case "sanboot", "chain":
		if d == grub {
			return plan{}, fmt.Errorf("install_method: GRUB cannot do %s", w.InstallMethod)
		}
		if p.URL, err = in.locate(w.BootURL); err != nil {
			return plan{}, fmt.Errorf("boot_url: %w", err)
		}
		return p, nil
	case "kernel":
	default:
		return plan{}, fmt.Errorf("install_method: %.40q is not known", w.InstallMethod)
	}

	if p.Kernel, err = in.locate(w.Kernel); err != nil {
		return plan{}, fmt.Errorf("kernel: %w", err)
	}
	for i, text := range w.Initrd {
		at, err := in.locate(text)
		if err != nil {
			return plan{}, fmt.Errorf("initrd %d: %w", i, err)
		}
		p.Initrds = append(p.Initrds, initrd{Name: initrdName(at, i, p.Initrds), URL: at})
	}
	if p.Cmdline, err = in.cmdline(d, p.Initrds); err != nil {
		return plan{}, err
	}
	if d == grub {
		return p.forGrub()
	}
	return p, nil
}

// suits says whether the workflow is meant for this kind of machine, as far as the machine told. A BIOS tells nothing
// of its processor: iPXE there is a 32-bit program on every machine.
func (in Input) suits() error {
	w := in.Boot.Workflow
	mode := map[string]string{"pcbios": "bios", "efi": "uefi"}[in.Query.Get("platform")]
	if w.BootMode != "" && mode != "" && w.BootMode != mode {
		return fmt.Errorf("boot_mode: it is for %s, this machine boots by %s", w.BootMode, mode)
	}
	arch := in.Query.Get("arch")
	if w.Arch != "" && w.Arch != arch && (arch == "x86_64" || arch == "arm64") {
		return fmt.Errorf("arch: it is for %s, this machine is %s", w.Arch, arch)
	}
	return nil
}

var scheme = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*:`)

// locate returns the URL of a workflow's file: a URL stays as it is, a path is content of this agent.
func (in Input) locate(text string) (string, error) {
	at, err := in.substitute(text, checkParam)
	if err != nil {
		return "", err
	}
	if scheme.MatchString(at) {
		if strings.ContainsFunc(at, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune("\"'`\\<>", r) }) {
			return "", errors.New("not a URL: it holds a space, quote, backslash, bracket or unprintable character")
		}
		return at, nil
	}
	server, err := in.base()
	if err != nil {
		return "", err
	}
	p, err := contentPath(at)
	return server + "/" + p, err
}

// contentPath returns a content path as part of a URL. Firmware settings such as ${buildarch} stay legible.
func contentPath(p string) (string, error) {
	p = strings.TrimPrefix(p, "/")
	switch {
	case p == "":
		return "", errors.New("missing")
	case p != path.Clean(p) || p == "." || p == ".." || strings.HasPrefix(p, "../"):
		return "", errors.New("not a plain path")
	case !utf8.ValidString(p) || strings.ContainsFunc(p, breaks):
		return "", errors.New("holds a control character")
	}
	var b strings.Builder
	for i := range len(p) {
		if only(p[i:i+1], alphanumeric+"/-._~+@=,:${}") {
			b.WriteByte(p[i])
		} else {
			fmt.Fprintf(&b, "%%%02X", p[i])
		}
	}
	return b.String(), nil
}

// initrdName returns the last part of the path, as iPXE itself would name the file, so that a workflow may refer to it;
// or a number where that would not do. UEFI finds files in any case, so names differ by more than that.
func initrdName(at string, i int, others []initrd) string {
	name := at
	if u, err := url.Parse(at); err == nil {
		name = path.Base(u.Path)
	}
	taken := func(name string) bool {
		return strings.EqualFold(name, "kernel") || strings.EqualFold(name, "started") ||
			slices.ContainsFunc(others, func(o initrd) bool { return strings.EqualFold(o.Name, name) })
	}
	if strings.HasPrefix(name, "-") || !only(name, alphanumeric+".-_") {
		name = fmt.Sprintf("initrd%d", i)
	}
	for n := i; taken(name); n++ { // one that was given may look like a number
		name = fmt.Sprintf("initrd%d", n)
	}
	return name
}

// cmdline returns the kernel's command line. A kernel started by UEFI finds its initial ramdisks by initrd=NAME, which
// is put in front, since Debian's installer copies what follows --- to the installed system. GRUB hands them over by
// itself, and the kernel would look for the name in vain.
func (in Input) cmdline(d dialect, initrds []initrd) (string, error) {
	var words []string
	for _, text := range []struct{ field, text string }{
		{"cmdline", in.Boot.Workflow.Cmdline}, {"extra_cmdline", in.Boot.Node.ExtraCmdline},
	} {
		line, err := in.substitute(text.text, checkParam)
		if err == nil {
			err = checkWords(line)
		}
		if err != nil {
			return "", fmt.Errorf("%s: %w", text.field, err)
		}
		words = append(words, strings.Fields(line)...)
	}
	if d == grub {
		words = slices.DeleteFunc(words, func(w string) bool { return strings.HasPrefix(w, "initrd=") })
	} else {
		for _, rd := range slices.Backward(initrds) {
			if word := "initrd=" + rd.Name; !slices.Contains(words, word) {
				words = slices.Insert(words, 0, word)
			}
		}
	}
	line := strings.Join(words, " ")
	if len(line) > maxCmdline {
		return "", fmt.Errorf("cmdline: %d bytes long, a kernel takes %d", len(line), maxCmdline)
	}
	return line, nil
}

// checkWords refuses what would end the command that a line is part of. iPXE splits a line at white space, before it
// replaces its settings, and a word alone decides.
func checkWords(line string) error {
	if !utf8.ValidString(line) || strings.ContainsFunc(line, breaks) {
		return errors.New("holds a control character or a line break")
	}
	for word := range strings.FieldsSeq(line) {
		if word == ";" || word == "&&" || word == "||" || word[0] == '#' {
			return errors.New("a word that is a semicolon, two ampersands or two bars, or begins with a hash, ends the command")
		}
	}
	return nil
}
