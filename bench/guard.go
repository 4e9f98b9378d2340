package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// guard is a second process of this program that cleans up after it, even if it is killed: when the pipe between them
// ends, it ends what was started and removes the folder of it all. A nil guard guards nothing.
type guard struct {
	cmd  *exec.Cmd
	pipe io.WriteCloser
}

func newGuard(dir string) (*guard, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	g := &guard{cmd: exec.Command(self, "child", "guard", dir)}
	g.cmd.Stderr = os.Stderr
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a signal to all of the program's group is not for it
	if g.pipe, err = g.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	return g, g.cmd.Start()
}

// add puts a process in the guard's care.
func (g *guard) add(pid int) {
	if g == nil {
		return
	}
	if stat, err := readStat(pid); err == nil {
		fmt.Fprintln(g.pipe, pid, stat.began) // without its guard the program still ends what it started
	}
}

// close has the guard do its work, and waits for it.
func (g *guard) close() error {
	if err := g.pipe.Close(); err != nil {
		return err
	}
	return g.cmd.Wait()
}

// watch is what the guard does. It looks at the families while they run, because the children of a process that has
// ended cannot be told any more.
func watch(in io.Reader, dir string) error {
	lines := make(chan string)
	go func() {
		defer close(lines)
		for scan := bufio.NewScanner(in); scan.Scan(); {
			lines <- scan.Text()
		}
	}()
	var known []started // parents before their children
	look := func() {
		known = slices.DeleteFunc(known, func(s started) bool { return !s.same() })
		for _, s := range slices.Clone(known) {
			for _, member := range family(s.pid) {
				if !slices.Contains(known, member) {
					known = append(known, member)
				}
			}
		}
	}
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case line, more := <-lines:
			var s started
			if !more {
				look()
				for _, s := range known { // in this order, so that no parent starts them anew
					if s.same() {
						_ = syscall.Kill(s.pid, syscall.SIGKILL)
					}
				}
				return os.RemoveAll(dir)
			}
			if _, err := fmt.Sscan(line, &s.pid, &s.began); err != nil {
				return fmt.Errorf("%s: %w", strconv.Quote(line), err)
			}
			known = append(known, s)
		case <-tick.C:
			look()
		}
	}
}
