package uplink

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/pureboot/pureboot/durable"
)

// Identity is what an enrolment leaves in state/identity.json, readable by the agent alone.
type Identity struct {
	CentralURL string `json:"central_url"`
	CA         string `json:"ca"` // PEM
	SiteID     string `json:"site_id"`
	SiteName   string `json:"site_name"`
	Secret     string `json:"secret"`

	// Of rotations: central may know the agent by either secret.
	OtherSecret string `json:"other_secret,omitempty"`
	Rotation    string `json:"rotation,omitempty"` // that OtherSecret was made for, until it is in use
}

const (
	identityFile = "identity.json"
	pendingFile  = "identity.pending.json"
)

// ErrNotEnrolled says that the agent belongs to no central yet.
var ErrNotEnrolled = errors.New("not enrolled: run pureboot-agent init")

// LoadIdentity reads what Enroll left in the state folder. Errors: ErrNotEnrolled; any other means that it is damaged
// or cannot be read.
func LoadIdentity(state string) (Identity, error) {
	var id Identity
	text, err := os.ReadFile(filepath.Join(state, identityFile))
	if errors.Is(err, fs.ErrNotExist) {
		return id, ErrNotEnrolled
	}
	if err != nil {
		return id, fmt.Errorf("read the enrolment: %w", err)
	}
	err = json.Unmarshal(text, &id)
	if err == nil && (id.CentralURL == "" || id.CA == "" || id.SiteID == "" || id.Secret == "") {
		err = errors.New("a field is missing")
	}
	if err != nil {
		return Identity{}, fmt.Errorf("the enrolment in %s is damaged: %w", filepath.Join(state, identityFile), err)
	}
	return id, nil
}

// writeJSON replaces a file that only the agent may read; a crash leaves the old one or the new one, whole.
func writeJSON(path string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return durable.Replace(path, append(text, '\n'), 0o600)
}
