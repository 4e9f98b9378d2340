package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestProgressLine(t *testing.T) {
	for _, c := range []struct {
		done, total int64
		took        time.Duration
		want        string
	}{
		{0, 1000, 0, "[                              ]   0 % of 1.0 kB          "},
		{250e6, 1e9, 10 * time.Second, "[====               ]  25 % of 1.0 GB, 25.0 MB/s, 30s left"},
		{1e9, 1e9, 10 * time.Second, "[===================] 100 % of 1.0 GB, 100 MB/s, 0s left  "},
		{2e9, 1e9, 10 * time.Second, "100 % of 1.0 GB, 200 MB/s, 0s left"},
		{0, 0, 0, "100 % of 0 B"},
		{-5, 10, time.Minute, "  0 % of 10 B"},
	} {
		got := line(c.done, c.total, c.took, 58)
		if len(got) != 58 || !strings.Contains(strings.Join(strings.Fields(got), " "), strings.Join(strings.Fields(strings.TrimLeft(c.want, "[= ")), " ")) {
			t.Errorf("%d of %d: %q", c.done, c.total, got)
		}
	}
	if got := line(1, 2, time.Hour, 5); len(got) != 5 {
		t.Errorf("on a narrow terminal: %q", got)
	}
}

// terminal is a pseudo-terminal of so many columns, and what it is given comes out at the other end.
func terminal(t *testing.T, columns uint16) (tty, screen *os.File) {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("a terminal is needed: %v", err)
	}
	t.Cleanup(func() { screen.Close() })
	n, err := unix.IoctlGetInt(int(screen.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(screen.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(int(screen.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 25, Col: columns})
	}
	if err == nil {
		tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR, 0)
	}
	if err != nil {
		t.Skipf("a terminal is needed: %v", err)
	}
	t.Cleanup(func() { tty.Close() })
	return tty, screen
}

func TestProgressIsForTerminals(t *testing.T) {
	var pipe bytes.Buffer
	p := newProgress(&pipe, 100)
	p.add(50)
	p.end()
	if pipe.Len() != 0 {
		t.Errorf("a pipe was given %q", pipe.String())
	}

	tty, screen := terminal(t, 60)
	p = newProgress(tty, 100)
	p.add(50)
	p.end()
	// All of it is written, but comes in pieces; the last thing is an empty line.
	got, piece := "", make([]byte, 4096)
	for clear := "\r" + strings.Repeat(" ", 59) + "\r"; !strings.HasSuffix(got, clear); {
		n, err := screen.Read(piece)
		if err != nil {
			t.Fatalf("%v after %q", err, got)
		}
		got += string(piece[:n])
	}
	if !strings.HasPrefix(got, "\r[") || !strings.Contains(got, "% of 100 B") {
		t.Errorf("the terminal shows %q", got)
	}
}
