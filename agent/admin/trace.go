package admin

import (
	"net/http"

	"github.com/pureboot/pureboot/agent/node"
	"github.com/pureboot/pureboot/central/lifecycle"
)

// TracePath is where the trace of a machine is read.
func TracePath(mac string) string { return PathNodes + "/" + mac + "/trace" }

// Trace is what a machine has asked for in its last boots, the oldest first. It is kept in memory, since the start.
type Trace struct {
	MACAddress string      `json:"mac_address"`
	Items      []node.Step `json:"items"`
}

// getTrace is GET nodes/{mac}/trace. A machine that has asked for nothing has an empty trace, whoever knows it.
func (a *API) getTrace(w http.ResponseWriter, r *http.Request) {
	mac, err := lifecycle.ParseMAC(r.PathValue("mac"))
	if err != nil {
		var faults invalid
		faults.add("path.mac", "%v", err)
		faults.refuse(w)
		return
	}
	steps := a.Traces.ByMAC(mac, node.Neighbours())
	if steps == nil {
		steps = []node.Step{}
	}
	answer(w, http.StatusOK, Trace{mac, steps})
}
