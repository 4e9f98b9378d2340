// Package content is the repository of boot files: bytes in a folder, each kept once under the SHA-256 of what it
// holds, and their names in the database. A blob is whole before a row names it and never changes afterwards, so
// whoever opened a file can take all the time he wants to read it.
//
// Each change of a name advances the content counter, and the row keeps the value: the manifest of what changed is
// the rows in the order of their epochs.
package content

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
)

var (
	// ErrNotFound says that no content has the name.
	ErrNotFound = errors.New("no such content")

	// ErrDigest says that the bytes received are not those that were announced. Nothing was stored.
	ErrDigest = errors.New("the content does not match its digest")

	// ErrCursor says that a cursor cannot be continued; begin again without one.
	ErrCursor = errors.New("not a valid cursor")

	// ErrNoSpace says that a disk is full. Nothing was stored.
	ErrNoSpace = store.ErrNoSpace
)

// Repository is the content of one central. Its methods may be called at once from many goroutines.
//
// On disk are blobs/ab/abcd…, named by their digests, tmp/, whose files belong to the uploads under way,
// uploads/, those of the sessions, and lost/, blobs that the database does not know.
type Repository struct {
	root *os.Root
	st   *store.Store
	log  *slog.Logger
	mu   sync.RWMutex  // see guard
	wake chan struct{} // a word to Run that there is something to collect

	free  func() (int64, error) // bytes that the disk has left
	turns turns                 // of upload sessions
	state collecting
}

// Open opens the repository in a folder, which is made if it is missing.
func Open(dir string, st *store.Store, log *slog.Logger) (*Repository, error) {
	for _, sub := range []string{"blobs", "tmp", "uploads", "lost"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o750); err != nil {
			return nil, fmt.Errorf("open the content repository: %w", err)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open the content repository: %w", err)
	}
	lock, err := root.OpenFile(lockName, os.O_RDWR|os.O_CREATE, 0o640) // while there is room for it
	if err = errors.Join(err, lock.Close()); err != nil {
		root.Close()
		return nil, fmt.Errorf("open the content repository: %w", err)
	}
	return &Repository{
		root: root, st: st, log: log.With("room", "content"), wake: make(chan struct{}, 1),
		free: func() (int64, error) { return freeBytes(root.Name()) },
	}, nil
}

// Close ends the use of the folder. Files that were opened stay readable.
func (r *Repository) Close() error { return r.root.Close() }

// Epoch returns the epoch of the latest change.
func (r *Repository) Epoch(ctx context.Context) (wire.Epoch, error) {
	return r.st.Epoch(ctx, store.ContentCounter)
}
