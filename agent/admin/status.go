package admin

import (
	"net/http"

	"github.com/pureboot/pureboot/agent/cache"
	"github.com/pureboot/pureboot/agent/httpcache"
	"github.com/pureboot/pureboot/central/wire"
)

// PathStatus is where the status is read.
const PathStatus = Root + "/status"

// Status is how the agent is doing.
type Status struct {
	Version    string            `json:"version"`
	CentralURL string            `json:"central_url,omitempty"`
	SiteID     string            `json:"site_id,omitempty"`
	SiteName   string            `json:"site_name,omitempty"`
	Enrolled   bool              `json:"enrolled"`
	Online     bool              `json:"online"` // central answers
	Addresses  map[string]string `json:"addresses"`
	Waiting    int               `json:"waiting_reports"` // of machines, for central
	wire.Heartbeat

	Cache     cache.Stats                `json:"cache"`               // counted since the start
	Upstreams map[string]httpcache.Stats `json:"upstreams,omitempty"` // by prefix, likewise
}

func (a *API) getStatus(w http.ResponseWriter, r *http.Request) {
	answer(w, http.StatusOK, a.Status(r.Context()))
}
