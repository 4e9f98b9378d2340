package boot

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/pureboot/pureboot/central/lifecycle"
	"github.com/pureboot/pureboot/central/wire"
)

// Input is what a script or a template is made of. Server and MAC are always needed; the rest may be missing.
type Input struct {
	// Server is how the machine reaches this agent, from the local address of the socket it asked on:
	// http://10.0.0.1:8080, without a path.
	Server string

	// MAC is the address the machine asked with, in any notation of lifecycle.ParseMAC.
	MAC string

	// Boot is the machine's record; nil when nothing is known of it.
	Boot *wire.Boot

	// Reason says on the console why Boot is nil.
	Reason string

	// Token is the node token of the current installation. An installer is not served without one.
	Token string

	// OrderToken is the token by which the machine says that it carries out the order for its next boot, if there is one.
	OrderToken string

	// Query is what the machine said of itself when it asked: uuid (all zeros when it has none), serial, manufacturer,
	// product, arch (of its iPXE: i386 on every BIOS) and platform (pcbios or efi). A script that has the machine ask
	// again makes it say the same, and a workflow made for another platform or architecture is not served.
	Query url.Values

	// Now decides whether an installation has timed out.
	Now time.Time
}

// facts are the parameters of Query, and the iPXE settings that the bootstrap script takes them from.
var facts = []struct{ name, setting string }{
	{"uuid", "${uuid}"},
	{"serial", "${serial:uristring}"},
	{"manufacturer", "${manufacturer:uristring}"},
	{"product", "${product:uristring}"},
	{"arch", "${buildarch}"},
	{"platform", "${platform}"},
}

// maxFact bounds a value of Query, in bytes, for the machine to be made to repeat it.
const maxFact = 128

var (
	errUnknown = errors.New("nothing is known of this machine")
	errNoToken = errors.New("token: there is none for this boot")
	errNoOnce  = errors.New("next_boot: nothing is known of this workflow")
)

// base checks Server and returns it without a trailing slash.
func (in Input) base() (string, error) {
	u, err := url.Parse(in.Server)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || !only(u.Host, alphanumeric+".:-[]") ||
		u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return "", fmt.Errorf("server: %.80q is not an address of this agent", in.Server)
	}
	return u.Scheme + "://" + u.Host, nil
}

// place returns the URL of a node's own resource, as /boot/{mac}; the MAC address is written with hyphens, which no
// parser of URLs takes for a port.
func (in Input) place(route string) (string, error) {
	server, err := in.base()
	if err != nil {
		return "", err
	}
	mac, err := lifecycle.ParseMAC(in.MAC)
	if err != nil {
		return "", fmt.Errorf("mac: %w", err)
	}
	return server + "/" + route + "/" + strings.ReplaceAll(mac, ":", "-"), nil
}

// again returns the URL of the node's own script, with what the machine said of itself.
func (in Input) again() (string, error) {
	at, err := in.place("boot")
	if err != nil {
		return "", err
	}
	said := url.Values{}
	for _, fact := range facts {
		if v := in.Query.Get(fact.name); v != "" && len(v) <= maxFact {
			said.Set(fact.name, v)
		}
	}
	if len(said) > 0 {
		at += "?" + said.Encode()
	}
	return at, nil
}

// tokenQuery returns a token as the query of a URL.
func tokenQuery(token string) (string, error) {
	if token == "" {
		return "", errNoToken
	}
	if !only(token, alphanumeric+"-_.~=") {
		return "", errors.New("token: holds characters that no token has")
	}
	return "?t=" + token, nil
}

// Install returns the part of the record that decides what is served. Boot must be there.
func (in Input) Install() (lifecycle.Install, error) {
	state, err := lifecycle.ParseState(in.Boot.Node.State)
	if err != nil {
		return lifecycle.Install{}, fmt.Errorf("state: %w", err)
	}
	n := in.Boot.Node
	install := lifecycle.Install{
		State: state, Seq: n.InstallSeq, Attempts: n.InstallAttempts, LastError: n.LastInstallError,
		Next: lifecycle.NextBoot(n.NextBoot),
	}
	if n.InstallStartedAt != nil {
		install.StartedAt = *n.InstallStartedAt
	}
	return install, nil
}

const alphanumeric = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

// only says whether s consists of the given ASCII characters.
func only(s, alphabet string) bool {
	for i := range len(s) {
		if strings.IndexByte(alphabet, s[i]) < 0 {
			return false
		}
	}
	return true
}
