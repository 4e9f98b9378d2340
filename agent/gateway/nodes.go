package gateway

import (
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"unicode"

	"github.com/google/uuid"

	"github.com/pureboot/pureboot/agent/node"
	"github.com/pureboot/pureboot/central/lifecycle"
	"github.com/pureboot/pureboot/central/wire"
)

// view is what anybody at the site may read of a node. Parameters may hold an installation's secrets.
func view(n wire.Node) wire.Node {
	n.Params, n.ExtraCmdline, n.Tags = map[string]string{}, "", []string{}
	return n
}

// find is GET /api/v1/nodes?mac=.
func (g *Gateway) find(w http.ResponseWriter, r *http.Request) {
	if !allow(w, r, http.MethodGet, http.MethodHead) {
		return
	}
	mac, err := lifecycle.ParseMAC(r.URL.Query().Get("mac"))
	if err != nil {
		problem(w, http.StatusBadRequest, "Want ?mac= with the address of a network card.",
			wire.ProblemField{Location: "query.mac", Message: err.Error()})
		return
	}
	g.sendNode(w, r, func() (node.Record, error) { return g.Nodes.ByMAC(r.Context(), mac, "") })
}

// read is GET /api/v1/nodes/{id}.
func (g *Gateway) read(w http.ResponseWriter, r *http.Request) {
	if !allow(w, r, http.MethodGet, http.MethodHead) {
		return
	}
	if id, ok := nodeID(w, r); ok {
		g.sendNode(w, r, func() (node.Record, error) { return g.Nodes.ByID(r.Context(), id) })
	}
}

func (g *Gateway) sendNode(w http.ResponseWriter, r *http.Request, find func() (node.Record, error)) {
	rec, err := find()
	if err != nil {
		g.fail(w, r, err)
		return
	}
	setRecordStatus(w, rec)
	answer(w, http.StatusOK, view(rec.Node))
}

// nodeID returns the id in the path, in the form that central writes.
func nodeID(w http.ResponseWriter, r *http.Request) (string, bool) {
	id, err := uuid.Parse(r.PathValue("id"))
	if err != nil || len(r.PathValue("id")) != 36 {
		problem(w, http.StatusBadRequest, "This is no node id.", wire.ProblemField{Location: "path.id", Message: "want a UUID"})
		return "", false
	}
	return id.String(), true
}

// register is POST /api/v1/nodes/register: a machine, or a person for it, announces itself.
func (g *Gateway) register(w http.ResponseWriter, r *http.Request) {
	if !allow(w, r, http.MethodPost) {
		return
	}
	var reg wire.Registration
	if !decode(w, r, &reg) {
		return
	}
	if faults := check(&reg); len(faults) > 0 {
		problem(w, http.StatusUnprocessableEntity, "The registration is not valid.", faults...)
		return
	}
	rec, err := g.Nodes.ByMAC(r.Context(), reg.MACAddress, reg.SystemUUID)
	status := http.StatusOK
	if errors.Is(err, node.ErrUnknown) {
		rec, err = g.Nodes.Discover(r.Context(), reg)
		status = http.StatusCreated
	}
	if err != nil {
		g.fail(w, r, err)
		return
	}
	g.Nodes.Sight(&rec.Node, reg)
	answer(w, status, view(rec.Node))
}

// check normalises a registration and names every field at fault.
func check(reg *wire.Registration) (faults []wire.ProblemField) {
	fault := func(field, message string) {
		faults = append(faults, wire.ProblemField{Location: "body." + field, Message: message})
	}
	mac, err := lifecycle.ParseMAC(reg.MACAddress)
	if err != nil {
		fault("mac_address", err.Error())
	}
	reg.MACAddress = mac
	if reg.Arch != "" && reg.Arch != "x86_64" && reg.Arch != "arm64" {
		fault("arch", "want x86_64 or arm64")
	}
	if reg.BootMode != "" && reg.BootMode != "bios" && reg.BootMode != "uefi" {
		fault("boot_mode", "want bios or uefi")
	}
	if reg.SystemUUID = strings.ToLower(reg.SystemUUID); reg.SystemUUID != "" && !isUUID(reg.SystemUUID) {
		fault("system_uuid", "want a UUID")
	}
	if ip, err := netip.ParseAddr(reg.IPAddress); reg.IPAddress != "" && (err != nil || ip.Zone() != "") {
		fault("ip_address", "want an IP address")
	}
	for _, text := range []struct{ field, text string }{
		{"hostname", reg.Hostname}, {"vendor", reg.Vendor}, {"model", reg.Model}, {"serial_number", reg.SerialNumber},
	} {
		if len(text.text) > maxFact || strings.ContainsFunc(text.text, unicode.IsControl) {
			fault(text.field, "want up to 200 bytes without control characters")
		}
	}
	return faults
}
