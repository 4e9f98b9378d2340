package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestTheTableOfDescriptorsIsLargeAtOnce asks the kernel how large it is.
func TestTheTableOfDescriptorsIsLargeAtOnce(t *testing.T) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	before := openFiles(t)
	if err := growDescriptors(); err != nil {
		t.Fatal(err)
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	size := uint64(0)
	for line := range strings.Lines(string(status)) {
		if _, err := fmt.Sscanf(line, "FDSize: %d", &size); err == nil {
			break
		}
	}
	if want := min(limit.Cur, descriptors); size < want {
		t.Errorf("it has %d places, want %d", size, want)
	}
	if after := openFiles(t); after > before {
		t.Errorf("%d files are open, and %d were before", after, before)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(open)
}
