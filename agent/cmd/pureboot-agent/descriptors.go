package main

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// descriptors is how many the kernel has room for without growing the process's table of them: two for each of some
// thousand machines at once. It takes 8 bytes of the kernel's for each.
const descriptors = 16 << 10

// growDescriptors has the kernel make the table of descriptors large at once. It doubles it else whenever it is full,
// and has all threads that open a file wait meanwhile for an RCU grace period: 15 ms in which no machine of a rack that
// powers on got its first byte. The table never shrinks.
func growDescriptors() (err error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("read the limit of open files: %w", err)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, null.Close()) }()
	n := int(min(limit.Cur, descriptors))
	last, err := unix.FcntlInt(null.Fd(), unix.F_DUPFD_CLOEXEC, n-1)
	if err != nil {
		return fmt.Errorf("make room for %d open files: %w", n, err)
	}
	return unix.Close(last)
}
