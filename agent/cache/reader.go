package cache

import (
	"errors"
	"os"
)

// Tier says where a Reader's bytes come from, for Cache-Status.
type Tier string

// The tiers.
const (
	TierHot    Tier = "hot"    // memory
	TierDisk   Tier = "disk"   // a published file
	TierFill   Tier = "fill"   // a fill that this reader's Fetch started: a miss
	TierJoined Tier = "joined" // a fill that was running: a collapsed miss
	TierPass   Tier = "pass"   // the source itself: the object cannot be stored
)

// Reader reads one version of an object, an io.ReadSeekCloser for one goroutine at a time. Read
// blocks until verified bytes are there, or until the context given to Fetch ends.
type Reader struct{}

// Object is the identity of what is read.
func (r *Reader) Object() Object { return Object{} }

// Size in bytes.
func (r *Reader) Size() int64 { return 0 }

// Tier is where the reader began; TierPass once it had to leave a failing disk.
func (r *Reader) Tier() Tier { return "" }

// Ready blocks until the byte at the current offset can be read, or says why it never will. A caller
// that asks before it answers can still turn a failed transfer into a status, or into another version.
func (r *Reader) Ready() error { return errors.ErrUnsupported }

// File returns the reader's own descriptor if the object is whole in a file, so that the kernel
// can send it. Its offset is the caller's to use: the Reader's does not depend on it.
// Close closes it.
func (r *Reader) File() (*os.File, bool) { return nil, false }

// Read implements io.Reader.
func (r *Reader) Read(p []byte) (int, error) { return 0, errors.ErrUnsupported }

// Seek implements io.Seeker. It never blocks.
func (r *Reader) Seek(offset int64, whence int) (int64, error) { return 0, errors.ErrUnsupported }

// Close releases the descriptor. A fill goes on without the reader.
func (r *Reader) Close() error { return nil }
