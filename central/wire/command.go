package wire

import "time"

// The commands of central to an agent.
const (
	CommandSync         = "sync"          // bring the content up to date
	CommandInvalidate   = "invalidate"    // forget what is cached
	CommandUpdateConfig = "update_config" // apply the settings of the site again
)

// Command is something that a site's agent is told to do. The numbers of a site's commands are dense, and an agent
// may see one twice.
type Command struct {
	Seq       int64         `json:"seq"`
	ID        string        `json:"id" doc:"UUID"`
	Command   string        `json:"command" enum:"sync,invalidate,update_config"`
	Params    CommandParams `json:"params"`
	ExpiresAt time.Time     `json:"expires_at" doc:"Not begun by then, it is not to be begun"`
}

// CommandParams says more of a command. Each parameter belongs to one.
type CommandParams struct {
	// Of sync.
	Force      bool     `json:"force,omitempty" doc:"sync: ignore the epoch and verify all files again"`
	Categories []string `json:"categories,omitempty" maxItems:"4" enum:"bootloaders,scripts,templates,images" doc:"sync: these alone; left out: all"`
	Epoch      string   `json:"epoch,omitempty" maxLength:"100" doc:"sync: the content epoch when it was queued, set by central"`

	// Of invalidate.
	Scope string `json:"scope,omitempty" enum:"content,nodes,all" doc:"invalidate: what to forget"`
	Glob  string `json:"glob,omitempty" maxLength:"512" doc:"invalidate: of the content, CATEGORY/PATH; left out: all of it"`
	MAC   string `json:"mac,omitempty" maxLength:"17" doc:"invalidate: of the nodes, the one with this MAC address; left out: all of them"`

	// Of update_config.
	Generation string `json:"generation,omitempty" maxLength:"64" pattern:"^[A-Za-z0-9._:-]*$" doc:"update_config: of the settings; left out: the current one"`
}
