package store

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/pureboot/pureboot/durable"
)

// lockFile takes a lock that lasts until the file is closed or the process ends, however it does; ErrInUse if
// another holds it. The file stays: deleting it would let two processes hold a lock of the same name.
func lockFile(name string) (*os.File, error) {
	if err := durable.Touch(name, 0o640); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		return f, nil
	}
	f.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, fmt.Errorf("%w (%s is locked)", ErrInUse, name)
	}
	return nil, fmt.Errorf("lock %s: %w", name, err)
}
