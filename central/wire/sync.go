package wire

import "time"

// The policies say what a sync brings to a site. Each brings what the one before it does, and more.
const (
	PolicyMinimal  = "minimal"  // the bootloaders, and what the workflows of the site's nodes name
	PolicyAssigned = "assigned" // what is assigned to the site, too
	PolicyPattern  = "pattern"  // what the site's patterns select, too
	PolicyMirror   = "mirror"   // everything
)

// Policies lists every policy.
var Policies = []string{PolicyMinimal, PolicyAssigned, PolicyPattern, PolicyMirror}

// What has a sync begin.
const (
	TriggerSchedule = "schedule"
	TriggerCommand  = "command" // of central
	TriggerManual   = "manual"
	TriggerResume   = "resume" // the one before was cut short
	TriggerNodes    = "nodes"  // the workflows of the site's nodes name other files, which alone are brought
)

// What a sync came to.
const (
	SyncSuccess = "success"
	SyncPartial = "partial" // some files could not be had
	SyncFailed  = "failed"  // the manifest could not be had, or none of the files
)

// SyncProgress is how far a sync is. What is there already and is not to be verified is no part of it.
type SyncProgress struct {
	Trigger          string    `json:"trigger" enum:"schedule,command,manual,resume,nodes"`
	StartedAt        time.Time `json:"started_at"`
	FilesTotal       int       `json:"files_total" doc:"That were missing or outdated, and with force those that were verified"`
	FilesSynced      int       `json:"files_synced" doc:"Of those, that are whole by now"`
	BytesTotal       int64     `json:"bytes_total" doc:"Size of the files in files_total"`
	BytesDone        int64     `json:"bytes_done" doc:"Of those, that are there"`
	BytesTransferred int64     `json:"bytes_transferred" doc:"Received over the network"`
	ETASeconds       int64     `json:"eta_seconds,omitempty" doc:"Until it ends, at the pace so far; left out: not known"`
}

// SyncResult is how a sync went.
type SyncResult struct {
	SyncProgress
	Force           bool        `json:"force,omitempty"`
	Categories      []string    `json:"categories,omitempty" doc:"Left out: all"`
	Status          string      `json:"status" enum:"success,partial,failed"`
	FinishedAt      time.Time   `json:"finished_at"`
	DurationSeconds float64     `json:"duration_seconds"`
	FilesRemoved    int         `json:"files_removed" doc:"That central has no more"`
	Errors          []SyncError `json:"errors" nullable:"false" doc:"The first hundred"`
	ErrorCount      int         `json:"error_count"`
}

// SyncError is why a file is not there.
type SyncError struct {
	File  string `json:"file" doc:"CATEGORY/PATH; empty if it is about no single file"`
	Error string `json:"error"`
}

// NeededNone is the tag that an agent sends which has no list yet.
const NeededNone = "none"

// ManifestQuery says which page of a manifest an agent wants.
type ManifestQuery struct {
	Since  Epoch  // zero: all there is
	Cursor string // Next of the page before; empty: the first
	Needed string // tag of the list that the agent has, or NeededNone; empty: it wants none
}

// Needed is what the workflows of a site's nodes, and the one that is its default, name.
type Needed struct {
	Tag   string   `json:"tag" doc:"Of this list: who sends it back gets the list only if it has changed"`
	Names []string `json:"names" nullable:"false" doc:"CATEGORY/PATH"`
	Globs []string `json:"globs,omitempty" doc:"Where a part of the name depends on the machine"`
}
