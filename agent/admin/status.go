package admin

import (
	"net/http"
	"time"

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
	Refused    *Refused          `json:"refused,omitempty"`
	Trouble    *Trouble          `json:"central_trouble,omitempty"`
	Addresses  map[string]string `json:"addresses"`
	Waiting    int               `json:"waiting_reports"` // of machines, for central
	wire.Heartbeat

	Settings  wire.SiteConfig            `json:"settings"`            // in use, central's but for what is pinned
	Cache     cache.Stats                `json:"cache"`               // counted since the start
	Upstreams map[string]httpcache.Stats `json:"upstreams,omitempty"` // by prefix, likewise
}

// Refused says that central answers, and refuses this agent.
type Refused struct {
	Why    string    `json:"why"` // revoked, fenced (another agent has the same credential) or unknown
	Detail string    `json:"detail"`
	Since  time.Time `json:"since"`
}

// Trouble says why the last heartbeat brought no answer, or what of the answer was not carried out.
type Trouble struct {
	Error string    `json:"error"`
	Since time.Time `json:"since"` // when it began, with this or another error
}

func (a *API) getStatus(w http.ResponseWriter, r *http.Request) {
	answer(w, http.StatusOK, a.Status(r.Context()))
}
