package gateway

import (
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/pureboot/pureboot/agent/node"
	"github.com/pureboot/pureboot/central/lifecycle"
	"github.com/pureboot/pureboot/central/wire"
)

// token returns what a machine shows for itself: Authorization: Bearer, or ?t= where firmware cannot set a header.
func token(r *http.Request) string {
	scheme, text, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(text)
	}
	return r.URL.Query().Get("t")
}

// errNoToken is node.ErrToken of somebody who showed none.
var errNoToken = errors.New("no node token")

// authorize checks the request's node token.
func (g *Gateway) authorize(r *http.Request, n *wire.Node) error {
	t := token(r)
	if t == "" {
		return errNoToken
	}
	return g.Key.Check(n, t)
}

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
	setCacheStatus(w, "")
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
	setCacheStatus(w, "")
	if id, ok := nodeID(w, r); ok {
		g.sendNode(w, r, func() (node.Record, error) { return g.Nodes.ByID(r.Context(), id) })
	}
}

func (g *Gateway) sendNode(w http.ResponseWriter, r *http.Request, find func() (node.Record, error)) {
	rec, err := find()
	if err != nil {
		errorStatus(w, err)
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
	setCacheStatus(w, "")
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
	switch {
	case errors.Is(err, node.ErrTooMany):
		w.Header().Set("Retry-After", "30")
		problem(w, http.StatusTooManyRequests, "Too many unknown machines at once.")
	case err != nil:
		errorStatus(w, err)
	default:
		g.Nodes.Sight(&rec.Node, reg)
		answer(w, status, view(rec.Node))
	}
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
	if _, err := netip.ParseAddr(reg.IPAddress); reg.IPAddress != "" && err != nil {
		fault("ip_address", "want an IP address")
	}
	for field, text := range map[string]string{
		"hostname": reg.Hostname, "vendor": reg.Vendor, "model": reg.Model, "serial_number": reg.SerialNumber,
	} {
		if len(text) > 200 || strings.ContainsFunc(text, func(c rune) bool { return c < ' ' || c == 0x7f }) {
			fault(field, "want up to 200 bytes without control characters")
		}
	}
	return faults
}

// authorized returns the node in the path if the request carries its token, or answers why not.
func (g *Gateway) authorized(w http.ResponseWriter, r *http.Request) (node.Record, bool) {
	id, ok := nodeID(w, r)
	if !ok {
		return node.Record{}, false
	}
	rec, err := g.Nodes.ByID(r.Context(), id)
	if err == nil {
		err = g.authorize(r, &rec.Node)
	}
	if err != nil {
		errorStatus(w, err)
		return rec, false
	}
	return rec, true
}

// changeState is PATCH /api/v1/nodes/{id}/state. A machine may take the steps of its own installation, no others.
func (g *Gateway) changeState(w http.ResponseWriter, r *http.Request) {
	if !allow(w, r, http.MethodPatch) {
		return
	}
	setCacheStatus(w, "")
	var change wire.StateChange
	if !decode(w, r, &change) {
		return
	}
	to, err := lifecycle.ParseState(change.State)
	if err != nil {
		problem(w, http.StatusUnprocessableEntity, "This is no state.", wire.ProblemField{Location: "body.state", Message: err.Error()})
		return
	}
	rec, ok := g.authorized(w, r)
	if !ok {
		return
	}
	step := lifecycle.Step{From: lifecycle.State(rec.Node.State), To: to}
	_, err = rec.Install().To(to, false, time.Now())
	switch {
	case change.Force:
		problem(w, http.StatusForbidden, "Only an administrator may force a transition.")
		return
	case err != nil:
		problem(w, http.StatusConflict, err.Error())
		return
	case !step.Reportable():
		problem(w, http.StatusForbidden, "Only an administrator may take this step.")
		return
	}
	n, err := g.Nodes.ChangeState(r.Context(), rec.Node.ID, change)
	if err != nil {
		errorStatus(w, err)
		return
	}
	answer(w, http.StatusOK, view(n))
}

// accepted answers a report: 200 when central has it, 202 when it took effect at this site and waits for central.
type accepted struct {
	State       string `json:"state"`
	Provisional bool   `json:"provisional"`
}

// event is POST /api/v1/nodes/{id}/event.
func (g *Gateway) event(w http.ResponseWriter, r *http.Request) {
	if !allow(w, r, http.MethodPost) {
		return
	}
	setCacheStatus(w, "")
	var e wire.Event
	if !decode(w, r, &e) {
		return
	}
	if faults := checkEvent(e); len(faults) > 0 {
		problem(w, http.StatusUnprocessableEntity, "The event is not valid.", faults...)
		return
	}
	if e.EventType == string(lifecycle.Heartbeat) && token(r) == "" {
		g.sighting(w, r)
		return
	}
	rec, ok := g.authorized(w, r)
	if !ok {
		return
	}
	n, provisional, err := g.Nodes.Event(r.Context(), rec.Node.ID, e)
	switch {
	case errors.Is(err, node.ErrFull):
		w.Header().Set("Retry-After", "60")
		problem(w, http.StatusServiceUnavailable, "Too many reports wait for central.")
	case err != nil:
		errorStatus(w, err)
	case provisional:
		answer(w, http.StatusAccepted, accepted{State: n.State, Provisional: true})
	default:
		answer(w, http.StatusOK, accepted{State: n.State})
	}
}

// sighting answers a heartbeat that proves nothing: it only says that something with this id is there.
func (g *Gateway) sighting(w http.ResponseWriter, r *http.Request) {
	id, ok := nodeID(w, r)
	if !ok {
		return
	}
	rec, err := g.Nodes.ByID(r.Context(), id)
	if err != nil {
		errorStatus(w, err)
		return
	}
	g.Nodes.Saw(rec.Node.MACAddress)
	answer(w, http.StatusAccepted, accepted{State: rec.Node.State})
}

func checkEvent(e wire.Event) (faults []wire.ProblemField) {
	fault := func(field, message string) {
		faults = append(faults, wire.ProblemField{Location: "body." + field, Message: message})
	}
	if _, err := lifecycle.ParseEventType(e.EventType); err != nil {
		fault("event_type", err.Error())
	}
	switch lifecycle.EventStatus(e.Status) {
	case "", lifecycle.Success, lifecycle.Failed, lifecycle.InProgress:
	default:
		fault("status", "want success, failed or in_progress")
	}
	if e.Progress < 0 || e.Progress > 100 {
		fault("progress", "want 0 to 100")
	}
	if len(e.EventID) > 100 {
		fault("event_id", "want up to 100 bytes")
	}
	if len(e.Message) > 1000 {
		fault("message", "want up to 1000 bytes")
	}
	if len(e.Metadata) > 64<<10 {
		fault("metadata", "want up to 64 KiB")
	}
	return faults
}
