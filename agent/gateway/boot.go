package gateway

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/pureboot/pureboot/agent/boot"
	"github.com/pureboot/pureboot/agent/node"
	"github.com/pureboot/pureboot/central/lifecycle"
	"github.com/pureboot/pureboot/central/wire"
)

// bootstrap is GET /boot.ipxe: the script that has each machine ask for its own.
func (g *Gateway) bootstrap(w http.ResponseWriter, r *http.Request) {
	if allow(w, r, http.MethodGet, http.MethodHead) {
		if r.Method == http.MethodGet {
			g.count.served(Served{"bootstrap", "bootstrap"})
		}
		sendScript(w, r, boot.Bootstrap(serverURL(r)))
	}
}

// bootTime bounds the answer of a boot route: firmware that waits longer may give up for good.
const bootTime = 2500 * time.Millisecond

// boot is GET /boot/{mac} and GET /api/v1/boot?mac=: the node's iPXE script. It moves nothing, and whatever is wrong,
// the answer is a script.
func (g *Gateway) boot(w http.ResponseWriter, r *http.Request) {
	if !allow(w, r, http.MethodGet, http.MethodHead) {
		return
	}
	in := g.input(w, r)
	script, err := boot.Script(in)
	if err != nil {
		g.log(r).Error("no script but the safe one", "mac", in.MAC, "err", err)
	}
	g.booted(r, "ipxe", in, err)
	sendScript(w, r, script)
}

// grub is GET /grub/{mac}: the same as a grub.cfg.
func (g *Gateway) grub(w http.ResponseWriter, r *http.Request) {
	if !allow(w, r, http.MethodGet, http.MethodHead) {
		return
	}
	in := g.input(w, r)
	script, err := boot.Grub(in)
	if err != nil {
		g.log(r).Error("no grub.cfg but the safe one", "mac", in.MAC, "err", err)
	}
	g.booted(r, "grub", in, err)
	sendScript(w, r, script)
}

// input finds out all that a script is made of, in bootTime. Without a record it says why.
func (g *Gateway) input(w http.ResponseWriter, r *http.Request) boot.Input {
	query := r.URL.Query()
	text := r.PathValue("mac")
	if text == "" {
		text = query.Get("mac")
	}
	in := boot.Input{Server: serverURL(r), MAC: text, Query: query, Now: time.Now()}
	mac, err := lifecycle.ParseMAC(text)
	if err != nil {
		in.Reason = "This is no MAC address: " + err.Error()
		return in
	}
	ctx, cancel := context.WithTimeout(r.Context(), bootTime)
	defer cancel()
	rec, err := g.machine(ctx, r, mac, query)
	if err != nil {
		in.Reason = g.reason(err)
		g.log(r).Warn("no record for a boot", "mac", mac, "err", err)
		return in
	}
	setRecordStatus(w, rec)
	in.Boot = &rec.Boot
	install := rec.Install()
	order := install.Order(rec.Workflow != nil)
	var noOrder error
	if order != "" {
		in.OrderToken, noOrder = g.Key.Order(&rec.Node)
	}
	if install.Renders() || order == lifecycle.NextInstaller {
		in.Token, err = g.Key.Token(&rec.Node)
	}
	if err := errors.Join(err, noOrder); err != nil {
		g.log(r).Error("no token for a node", "node", rec.Node.ID, "err", err)
	}
	return in
}

// machine returns the record of the machine that asks, registering one that nobody knows.
func (g *Gateway) machine(ctx context.Context, r *http.Request, mac string, query url.Values) (node.Record, error) {
	facts := factsOf(r, mac, query)
	rec, err := g.Nodes.ByMAC(ctx, mac, facts.SystemUUID)
	switch {
	case errors.Is(err, node.ErrUnknown) && r.Method == http.MethodGet:
		return g.Nodes.Discover(ctx, facts)
	case err == nil && query.Has("platform"):
		// Firmware describes itself; a person who looks at the script does not.
		g.Nodes.Sight(&rec.Node, facts)
	}
	return rec, err
}

// reason says on a console why a machine gets no script of its own.
func (g *Gateway) reason(err error) string {
	switch {
	case !g.Enrolled:
		return "The agent of this site is not enrolled with a central yet: run pureboot-agent init."
	case errors.Is(err, node.ErrTooMany):
		return "Too many unknown machines ask at once. Boot this one again in a minute."
	case errors.Is(err, node.ErrUnknown):
		return "Central does not know this machine."
	case errors.Is(err, node.ErrUnavailable):
		return "Central cannot be reached, and this site has not seen this machine before."
	}
	if refusal, ok := errors.AsType[*wire.Refusal](err); ok {
		return "Central refused to register this machine: " + refusal.Error()
	}
	return "The agent could not find out what this machine is to boot."
}

// maxFact bounds what a machine says of itself, in bytes a fact.
const maxFact = 200

// factsOf reads what the bootstrap script had the firmware say of its machine.
func factsOf(r *http.Request, mac string, q url.Values) wire.Registration {
	fact := func(name string) string {
		s := strings.Map(func(c rune) rune {
			if unicode.IsControl(c) {
				return -1
			}
			return c
		}, q.Get(name))
		return strings.TrimSpace(strings.ToValidUTF8(s[:min(len(s), maxFact)], ""))
	}
	reg := wire.Registration{
		MACAddress:   mac,
		Vendor:       fact("manufacturer"),
		Model:        fact("product"),
		SerialNumber: fact("serial"),
		BootMode:     map[string]string{"pcbios": "bios", "efi": "uefi"}[q.Get("platform")],
		// A BIOS says i386 on every processor, so that says nothing.
		Arch: map[string]string{"x86_64": "x86_64", "arm64": "arm64"}[q.Get("arch")],
	}
	if q.Has("platform") {
		reg.IPAddress = clientIP(r)
	}
	// Machines whose maker set none have a UUID of zeros or of ones.
	if id := strings.ToLower(fact("uuid")); isUUID(id) && strings.Trim(id, "0-") != "" && strings.Trim(id, "f-") != "" {
		reg.SystemUUID = id
	}
	return reg
}

func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i, c := range []byte(s) {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		if dash != (c == '-') || !dash && !strings.ContainsRune("0123456789abcdef", rune(c)) {
			return false
		}
	}
	return true
}

// sendScript sends a text that is made for this request. Its length is exact, as GRUB wants it.
func sendScript(w http.ResponseWriter, r *http.Request, text []byte) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = w.Write(text) // a machine that has gone is not told
	}
}
