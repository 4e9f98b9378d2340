package wire

import "time"

// ChunkSize is the length in bytes of the pieces of a file that carry a digest of their own; the last may be shorter.
const ChunkSize = 256 << 10

// MaxFile is the most bytes of a file.
const MaxFile = 1 << 40

// Categories of content.
const (
	Bootloaders = "bootloaders"
	Scripts     = "scripts"
	Templates   = "templates"
	Images      = "images"
)

// Categories lists every category of content.
var Categories = []string{Bootloaders, Scripts, Templates, Images}

// File is one file of central's content.
type File struct {
	Category string    `json:"category" enum:"bootloaders,scripts,templates,images"`
	Path     string    `json:"path" doc:"Within the category, as debian-12/linux"`
	Size     int64     `json:"size" doc:"Bytes"`
	SHA256   string    `json:"sha256" doc:"Hexadecimal"`
	Modified time.Time `json:"modified"`
}

// Chunks is a file with the SHA-256 of each of its pieces of ChunkSize bytes, in hexadecimal.
type Chunks struct {
	File
	ChunkSize int64    `json:"chunk_size"`
	Chunks    []string `json:"chunks"`
	Epoch     Epoch    `json:"epoch"`
}

// Manifest is what changed in central's content since an epoch, one page of it. A page with a Next is followed by
// GET with that cursor; only after the last page has the reader seen Epoch.
type Manifest struct {
	Epoch Epoch          `json:"epoch"`
	Full  bool           `json:"full"` // all there is, not a difference: forget what is not listed
	Items []ManifestItem `json:"items"`
	Next  string         `json:"next,omitempty"`

	// Needed comes on the first page, if it is another one than the reader said that he knows.
	Needed *Needed `json:"needed,omitempty"`
}

// ManifestItem is one file as it is now.
type ManifestItem struct {
	File
	Removed  bool `json:"removed,omitempty"`
	Assigned bool `json:"assigned,omitempty"` // to the asking site
}
