package admin

import (
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/pureboot/pureboot/central/wire"
)

// PathSync is where syncs are asked for and watched.
const PathSync = Root + "/sync"

// Sync is what is known of syncs.
type Sync struct {
	Running  bool               `json:"running"` // or about to
	Progress *wire.SyncProgress `json:"progress"`
	Last     *wire.SyncResult   `json:"last"` // null: there was none
	Policy   string             `json:"policy"`
	Patterns []string           `json:"patterns"`
	Schedule string             `json:"schedule"` // empty: none
	NextAt   *time.Time         `json:"next_at"`  // by the schedule

	PendingItems  int    `json:"pending_sync_items"`       // files that the next one would fetch
	ManifestError string `json:"manifest_error,omitempty"` // why central's last manifest was not believed
}

// Syncer syncs. Its methods do not wait.
type Syncer interface {
	Start(force bool, categories []string)
	State() Sync
}

func (a *API) getSync(w http.ResponseWriter, _ *http.Request) {
	if a.enrolled(w) {
		answer(w, http.StatusOK, a.Sync.State())
	}
}

// postSync is POST sync?force=&category=, whose category may be repeated. A sync begins at once, or when the one that
// runs is over.
func (a *API) postSync(w http.ResponseWriter, r *http.Request) {
	if !a.enrolled(w) {
		return
	}
	q := r.URL.Query()
	var faults invalid
	force, err := strconv.ParseBool(q.Get("force"))
	if err != nil && q.Get("force") != "" {
		faults.add("query.force", "want true or false")
	}
	force = force || q.Has("force") && q.Get("force") == ""
	for _, category := range q["category"] {
		if !slices.Contains(wire.Categories, category) {
			faults.add("query.category", "%.80q is none of central's categories", category)
		}
	}
	if faults.refuse(w) {
		return
	}
	a.Sync.Start(force, q["category"])
	answer(w, http.StatusAccepted, a.Sync.State())
}

// enrolled answers why there are no syncs, if that is so.
func (a *API) enrolled(w http.ResponseWriter) bool {
	if a.Sync == nil {
		problem(w, http.StatusConflict, "The agent is not enrolled, so there is no central to sync with.")
	}
	return a.Sync != nil
}
