package content

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// guard keeps the garbage collection from blobs that are about to be named. Without it: an upload finds the bytes of
// its digest in place, the collection finds that no row names them and deletes them, the upload's row appears.
//
// Whoever publishes a blob and names it shares the guard from before the one until after the other; whoever deletes
// has it alone. Shared or not it is held for a rename and a transaction, never while bytes move. Within the process it
// is a lock that lets those who wait for it alone go first; a lock on a file does the same between processes, should
// two centrals have the folder.
type guard struct{ r *Repository }

// share waits until nobody deletes. The caller calls release.
func (g guard) share(ctx context.Context) (release func(), err error) {
	g.r.mu.RLock()
	f, err := g.flock(ctx, syscall.LOCK_SH)
	if err != nil {
		g.r.mu.RUnlock()
		return nil, err
	}
	return func() {
		f.Close() // which unlocks it
		g.r.mu.RUnlock()
	}, nil
}

// alone waits until nobody else is within. The caller calls release.
func (g guard) alone(ctx context.Context) (release func(), err error) {
	g.r.mu.Lock()
	f, err := g.flock(ctx, syscall.LOCK_EX)
	if err != nil {
		g.r.mu.Unlock()
		return nil, err
	}
	return func() {
		f.Close()
		g.r.mu.Unlock()
	}, nil
}

const lockName = ".lock"

// flockTime bounds how long another process is waited for.
const flockTime = 30 * time.Second

func (g guard) flock(ctx context.Context, how int) (*os.File, error) {
	f, err := g.r.root.OpenFile(lockName, os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, fmt.Errorf("lock the content folder: %w", noSpace(err))
	}
	ctx, cancel := context.WithTimeoutCause(ctx, flockTime, errors.New("another process holds the content folder"))
	defer cancel()
	for wait := time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		err := flock(f, how)
		if err == nil {
			return f, nil
		}
		if errors.Is(err, errLocked) {
			select {
			case <-time.After(wait):
				continue
			case <-ctx.Done():
				err = context.Cause(ctx)
			}
		}
		f.Close()
		return nil, fmt.Errorf("lock the content folder: %w", err)
	}
}

// errLocked says that another has a file locked.
var errLocked = errors.New("locked by another")

// flock locks an open file without waiting. The lock belongs to the open file: a second opening of the same file is
// another, in the same process too.
func flock(f *os.File, how int) error {
	for {
		switch err := syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB); {
		case err == nil:
			return nil
		case errors.Is(err, syscall.EWOULDBLOCK):
			return errLocked
		case !errors.Is(err, syscall.EINTR):
			return err
		}
	}
}
