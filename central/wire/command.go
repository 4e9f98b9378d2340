package wire

import "time"

// The commands of central to an agent.
const (
	CommandSync         = "sync"          // bring the content up to date
	CommandInvalidate   = "invalidate"    // doubt what is cached: verify it, or ask again
	CommandUpdateConfig = "update_config" // apply the settings of the site again
)

// AgentCommand is something that a site's agent is told to do. The numbers of a site's commands are dense, and an agent
// may see one twice.
type AgentCommand struct {
	Seq       int64         `json:"seq"`
	ID        string        `json:"id" doc:"UUID"`
	Command   string        `json:"command" enum:"sync,invalidate,update_config"`
	Params    CommandParams `json:"params"`
	Once      bool          `json:"once" doc:"Sent no second time, even if the first got lost, and begun no second time"`
	ExpiresAt time.Time     `json:"expires_at" doc:"Not begun by then, it is not to be begun"`
}

// CommandResult is an agent's word on a command of central: the state that it has reached, which central keeps once.
// It comes with each heartbeat until an answer acknowledges that state. That of a running one comes with each as long
// as it runs, with what is to be known of its progress.
type CommandResult struct {
	ID     string `json:"id"`
	State  string `json:"state"`            // as in lifecycle: accepted, running or a final one
	Result string `json:"result,omitempty"` // up to 4 KiB of text for people
}

// CommandAck says that central has kept a result, or has no use for it. It is not to be sent again.
type CommandAck struct {
	ID    string `json:"id"`
	State string `json:"state"`
}

// CommandRecall asks an agent to end a command in State without beginning it, and to report that; if it has been begun
// or is over, to report how far it is instead. One that the agent does not know it is not to begin any more, however
// late it may come.
type CommandRecall struct {
	Seq       int64     `json:"seq"`
	ID        string    `json:"id"`
	State     string    `json:"state"` // canceled, superseded, expired or failed
	Result    string    `json:"result,omitempty"`
	ExpiresAt time.Time `json:"expires_at"`
}

// CapabilityCommands is that of an agent which carries out commands and says what became of them.
const CapabilityCommands = "commands"

// CommandParams says more of a command. Each parameter belongs to one.
type CommandParams struct {
	// Of sync.
	Force      bool     `json:"force,omitempty" doc:"sync: ignore the epoch and verify all files again"`
	Categories []string `json:"categories,omitempty" maxItems:"4" enum:"bootloaders,scripts,templates,images" doc:"sync: these alone; left out: all"`
	Epoch      string   `json:"epoch,omitempty" maxLength:"100" doc:"sync: the content epoch when it was queued, set by central"`

	// Of invalidate.
	Scope string `json:"scope,omitempty" enum:"content,nodes,all" doc:"invalidate: what to doubt"`
	Glob  string `json:"glob,omitempty" maxLength:"512" doc:"invalidate: of the content, CATEGORY/PATH; left out: all of it"`
	MAC   string `json:"mac,omitempty" maxLength:"17" doc:"invalidate: of the nodes, the one with this MAC address; left out: all of them"`

	// Of update_config.
	Generation string `json:"generation,omitempty" maxLength:"64" pattern:"^[A-Za-z0-9._:-]*$" doc:"update_config: of the settings; left out: the current one"`
}
