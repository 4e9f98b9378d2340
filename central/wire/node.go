package wire

import (
	"encoding/json"
	"time"
)

// Node is one machine.
type Node struct {
	ID               string            `json:"id" doc:"UUID"`
	MACAddress       string            `json:"mac_address" doc:"Primary MAC address, lower case with colons"`
	Interfaces       []Interface       `json:"interfaces" doc:"Every network card, the primary one first"`
	Hostname         string            `json:"hostname,omitempty"`
	IPAddress        string            `json:"ip_address,omitempty"`
	State            string            `json:"state"`
	WorkflowID       string            `json:"workflow_id,omitempty"`
	GroupID          string            `json:"group_id,omitempty"`
	HomeSiteID       string            `json:"home_site_id,omitempty" doc:"The site where it physically boots"`
	Arch             string            `json:"arch,omitempty" enum:"x86_64,arm64"`
	BootMode         string            `json:"boot_mode,omitempty" enum:"bios,uefi"`
	Vendor           string            `json:"vendor,omitempty"`
	Model            string            `json:"model,omitempty"`
	SerialNumber     string            `json:"serial_number,omitempty"`
	SystemUUID       string            `json:"system_uuid,omitempty"`
	Params           map[string]string `json:"params"`
	ExtraCmdline     string            `json:"extra_cmdline,omitempty"`
	NextBoot         string            `json:"next_boot,omitempty" doc:"For one boot: local, installer or the id of a workflow"`
	Tags             []string          `json:"tags"`
	InstallSeq       int64             `json:"install_seq" doc:"Grows each time the node becomes pending"`
	InstallAttempts  int               `json:"install_attempts"`
	InstallStartedAt *time.Time        `json:"install_started_at,omitempty" doc:"Begin of the latest attempt"`
	LastInstallError string            `json:"last_install_error,omitempty"`
	StateChangedAt   time.Time         `json:"state_changed_at"`
	LastSeenAt       *time.Time        `json:"last_seen_at,omitempty"`
	CreatedAt        time.Time         `json:"created_at"`
	UpdatedAt        time.Time         `json:"updated_at"`
	Version          int64             `json:"version" doc:"Grows with each write"`
}

// Interface is one network card of a node.
type Interface struct {
	Name       string `json:"name,omitempty"`
	MACAddress string `json:"mac_address"`
}

// Workflow says how a machine is installed.
type Workflow struct {
	ID            string            `json:"id" doc:"UUID"`
	Name          string            `json:"name"`
	Arch          string            `json:"arch,omitempty" enum:"x86_64,arm64"`
	BootMode      string            `json:"boot_mode,omitempty" enum:"bios,uefi"`
	InstallMethod string            `json:"install_method" enum:"kernel,sanboot,chain"`
	Kernel        string            `json:"kernel,omitempty" doc:"Content path, as images/debian-12/linux"`
	Initrd        []string          `json:"initrd"`
	Cmdline       string            `json:"cmdline,omitempty"`
	BootURL       string            `json:"boot_url,omitempty" doc:"What sanboot or chain is given"`
	Template      string            `json:"template,omitempty" doc:"Content path of the node's kickstart, preseed or cloud-init"`
	Params        map[string]string `json:"params"`
	Revision      int64             `json:"revision" doc:"Grows with each write"`
	CreatedAt     time.Time         `json:"created_at"`
	UpdatedAt     time.Time         `json:"updated_at"`
}

// Boot is all an agent needs to boot a node with no further question: the node, the workflow in effect for it, and
// the parameters of its groups, workflow and itself, merged in that order.
type Boot struct {
	Node     Node              `json:"node"`
	Workflow *Workflow         `json:"workflow,omitempty"`
	Params   map[string]string `json:"params"`

	// The workflow that next_boot names, and the parameters with it in the place of the other.
	NextWorkflow *Workflow         `json:"next_workflow,omitempty"`
	NextParams   map[string]string `json:"next_params,omitempty"`
}

// Registration announces a machine that asked to boot, or says more of a known one. Central finds it by any of its
// MAC addresses, else by its system UUID; facts that are already known are not overwritten with nothing.
type Registration struct {
	MACAddress   string `json:"mac_address"`
	Hostname     string `json:"hostname,omitempty"`
	IPAddress    string `json:"ip_address,omitempty"`
	Arch         string `json:"arch,omitempty"`
	BootMode     string `json:"boot_mode,omitempty"`
	Vendor       string `json:"vendor,omitempty"`
	Model        string `json:"model,omitempty"`
	SerialNumber string `json:"serial_number,omitempty"`
	SystemUUID   string `json:"system_uuid,omitempty"`
}

// StateChange asks for a transition.
type StateChange struct {
	State   string `json:"state"`
	Comment string `json:"comment,omitempty"`
	Force   bool   `json:"force,omitempty"` // admins only
}

// Event is one report of a machine about itself.
type Event struct {
	EventID   string `json:"event_id,omitempty"` // makes a repeated report harmless
	EventType string `json:"event_type"`
	// InstallSeq is the installation that the report is of: one that arrives when a newer has begun moves nothing.
	// 0 means the current one.
	InstallSeq int64  `json:"install_seq,omitempty"`
	Status     string `json:"status,omitempty"` // success, failed or in_progress; empty means success
	Progress   int    `json:"progress,omitempty"`
	Message    string `json:"message,omitempty"`
	// NextBoot is the order that a boot_started carries out. It is refused if the order does not stand any more.
	NextBoot string          `json:"next_boot,omitempty"`
	Metadata json.RawMessage `json:"metadata,omitempty"`
}
