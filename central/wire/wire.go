// Package wire is what central and the agents say to each other: plain structs in JSON, and nothing that does work.
// Both sides are upgraded at their own time, so a field is only ever added, an unknown one is ignored, and what a
// peer cannot do it does not list among its capabilities.
package wire

import (
	"fmt"
	"strconv"
	"strings"
)

// ProtocolVersion is the version of the agent protocol that this build speaks.
const ProtocolVersion = 1

// MediaTypeProblem is the type of every error body (RFC 9457, section 3).
const MediaTypeProblem = "application/problem+json"

// Paths of central that an agent uses, below the URL of central.
const (
	PathRegister  = "/api/v1/agents/register"  // POST Register -> Registered
	PathHeartbeat = "/api/v1/agents/heartbeat" // POST Heartbeat -> HeartbeatAnswer
	PathManifest  = "/api/v1/agents/manifest"  // GET ?since=&cursor=&needed= -> Manifest
	PathBoot      = "/api/v1/agents/boot"      // GET ?mac=&uuid= or ?id= -> Boot
	PathNodes     = "/api/v1/nodes"            // POST /register, PATCH /{id}/state, POST /{id}/event -> Node
	PathContent   = "/api/v1/content"          // GET /{category}/{path}, with ?chunks -> Chunks
)

// HeaderEpoch names the content epoch, as Epoch.String, in central's answers about content.
const HeaderEpoch = "PureBoot-Epoch"

// Epoch is a point in the history of central's content. Points of one stream are ordered and dense; a central that
// was restored from a backup begins a new stream, and nothing known of the old one can be compared with it.
type Epoch struct {
	Stream string `json:"stream"`
	N      int64  `json:"n"`
}

// String returns the epoch as STREAM:N, the form of headers and query parameters.
func (e Epoch) String() string { return e.Stream + ":" + strconv.FormatInt(e.N, 10) }

// ParseEpoch reads what String wrote.
func ParseEpoch(s string) (Epoch, error) {
	stream, n, ok := strings.Cut(s, ":")
	v, err := strconv.ParseInt(n, 10, 64)
	if !ok || err != nil || v < 0 || stream == "" || len(stream) > 64 {
		return Epoch{}, fmt.Errorf("epoch %.80q: want STREAM:NUMBER", s)
	}
	return Epoch{Stream: stream, N: v}, nil
}

// Covers says whether whoever has seen e has seen all of other.
func (e Epoch) Covers(other Epoch) bool { return e.Stream == other.Stream && e.N >= other.N }

// Problem is an error body (RFC 9457). Errors names every field at fault.
type Problem struct {
	Type   string         `json:"type,omitempty"`
	Title  string         `json:"title,omitempty"`
	Status int            `json:"status,omitempty"`
	Detail string         `json:"detail,omitempty"`
	Errors []ProblemField `json:"errors,omitempty"`
}

// ProblemField is one thing that is wrong with a request.
type ProblemField struct {
	Message  string `json:"message,omitempty"`
	Location string `json:"location,omitempty"` // as body.mac_address
	Value    any    `json:"value,omitempty"`
}
