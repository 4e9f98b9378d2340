package gateway

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

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

// byMAC returns the node in the path if the request carries its token, or answers why not.
func (g *Gateway) byMAC(w http.ResponseWriter, r *http.Request) (node.Record, bool) {
	mac, ok := macIn(w, r)
	if !ok {
		return node.Record{}, false
	}
	rec, err := g.Nodes.ByMAC(r.Context(), mac, "")
	return g.authorized(w, r, rec, err)
}

func macIn(w http.ResponseWriter, r *http.Request) (string, bool) {
	mac, err := lifecycle.ParseMAC(r.PathValue("mac"))
	if err != nil {
		problem(w, http.StatusBadRequest, "This is no MAC address.", wire.ProblemField{Location: "path.mac", Message: err.Error()})
	}
	return mac, err == nil
}

// byID is byMAC for the routes that name the node by its id.
func (g *Gateway) byID(w http.ResponseWriter, r *http.Request) (node.Record, bool) {
	id, ok := nodeID(w, r)
	if !ok {
		return node.Record{}, false
	}
	rec, err := g.Nodes.ByID(r.Context(), id)
	return g.authorized(w, r, rec, err)
}

func (g *Gateway) authorized(w http.ResponseWriter, r *http.Request, rec node.Record, err error) (node.Record, bool) {
	if err == nil {
		err = g.authorize(r, &rec.Node)
	}
	if err != nil {
		g.fail(w, r, err)
	}
	return rec, err == nil
}

// started is GET /boot/{mac}/started?t=: the installer's script says that it boots the kernel now. This, and not the
// handing out of the script, begins the installation and counts the attempt.
func (g *Gateway) started(w http.ResponseWriter, r *http.Request) {
	if !allow(w, r, http.MethodGet) {
		return
	}
	mac, ok := macIn(w, r)
	if !ok {
		return
	}
	rec, err := g.Nodes.ByMAC(r.Context(), mac, "")
	if err == nil && g.Key.CheckOrder(&rec.Node, token(r)) == nil {
		g.carryOut(w, r, &rec)
		return
	}
	if rec, ok = g.authorized(w, r, rec, err); !ok {
		return
	}
	now, begin := rec.Install(), lifecycle.Event{Type: lifecycle.BootStarted, Status: lifecycle.Success}
	// What begins no attempt is not reported: it would use up the name of the next one. Named by the attempt, a
	// request that is sent again counts once.
	if next, _ := now.On(begin, time.Now()); next.Attempts > now.Attempts {
		_, _, err := g.Nodes.Event(r.Context(), rec.Node.ID, wire.Event{
			EventID:   "started-" + strconv.FormatInt(next.Seq, 10) + "-" + strconv.Itoa(next.Attempts),
			EventType: string(begin.Type), Status: string(begin.Status), InstallSeq: next.Seq,
		})
		if err != nil {
			g.fail(w, r, err)
			return
		}
	}
	sendScript(w, r, []byte("ok\n"))
}

// carryOut answers a machine that is about to carry out the order for its next boot. It goes on only if this is a
// success: an order that central has taken back, or somebody else carried out, is a refusal.
func (g *Gateway) carryOut(w http.ResponseWriter, r *http.Request, rec *node.Record) {
	order := string(rec.Install().Next)
	_, _, err := g.Nodes.Event(r.Context(), rec.Node.ID, wire.Event{
		EventType: string(lifecycle.BootStarted), Status: string(lifecycle.Success), InstallSeq: rec.Node.InstallSeq,
		NextBoot: order, Message: "next_boot: " + order,
	})
	if err != nil {
		g.fail(w, r, err)
		return
	}
	sendScript(w, r, []byte("ok\n"))
}

// changeState is PATCH /api/v1/nodes/{id}/state. A machine may take the steps of its own installation, no others.
func (g *Gateway) changeState(w http.ResponseWriter, r *http.Request) {
	if !allow(w, r, http.MethodPatch) {
		return
	}
	var change wire.StateChange
	if !decode(w, r, &change) {
		return
	}
	to, err := lifecycle.ParseState(change.State)
	if err != nil {
		problem(w, http.StatusUnprocessableEntity, "This is no state.", wire.ProblemField{Location: "body.state", Message: err.Error()})
		return
	}
	rec, ok := g.byID(w, r)
	if !ok {
		return
	}
	now := rec.Install()
	_, err = now.To(to, false, time.Now())
	switch {
	case change.Force:
		problem(w, http.StatusForbidden, "Only an administrator may force a transition.")
	case err != nil:
		problem(w, http.StatusConflict, err.Error())
	case !lifecycle.Step{From: now.State, To: to}.Reportable():
		problem(w, http.StatusForbidden, "Only an administrator may take this step.")
	default:
		n, err := g.Nodes.ChangeState(r.Context(), rec.Node.ID, change)
		if err != nil {
			g.fail(w, r, err)
			return
		}
		answer(w, http.StatusOK, view(n))
	}
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
	rec, ok := g.byID(w, r)
	if !ok {
		return
	}
	e.InstallSeq = rec.Node.InstallSeq // as the token has proven
	n, provisional, err := g.Nodes.Event(r.Context(), rec.Node.ID, e)
	switch {
	case err != nil:
		g.fail(w, r, err)
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
		g.fail(w, r, err)
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
