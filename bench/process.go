package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a server that this program started, with all that it started in turn.
type process struct {
	cmd   *exec.Cmd
	log   string // what it printed
	done  chan struct{}
	start time.Duration // until our agent said that it serves
}

// command says how to start a process.
type command struct {
	args  []string
	log   string   // file that takes what it prints
	extra *os.File // its descriptor 3, if not nil
	tmpfs *tmpfs   // mounted for it alone, if not nil
	guard *guard   // told of it, if not nil
}

// launch starts a process. Who launches it stops it.
func launch(c command) (*process, error) {
	out, err := os.OpenFile(c.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	attr := &syscall.SysProcAttr{Setpgid: true} // a person's Ctrl-C is for this program alone
	args := c.args
	if c.tmpfs != nil {
		if args, err = c.tmpfs.wrap(args); err != nil {
			return nil, err
		}
		attr.Unshareflags = syscall.CLONE_NEWNS
	}
	p := &process{cmd: exec.Command(args[0], args[1:]...), log: c.log, done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.SysProcAttr = out, out, attr
	if c.extra != nil {
		p.cmd.ExtraFiles = []*os.File{c.extra}
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	c.guard.add(p.cmd.Process.Pid)
	go func() {
		_ = p.cmd.Wait() // how it ended is told by alive and by its log
		close(p.done)
	}()
	return p, nil
}

func (p *process) alive() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// stop ends the process and its descendants, gently for a while.
func (p *process) stop() {
	all := p.pids()
	if p.alive() {
		_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
		select {
		case <-p.done:
		case <-time.After(5 * time.Second):
		}
	}
	p.killAll(all)
}

// kill ends the process and its descendants at once, as a power cut would.
func (p *process) kill() { p.killAll(p.pids()) }

func (p *process) killAll(pids []started) {
	if p.alive() {
		_ = p.cmd.Process.Kill() // first, so that it does not start others anew
	}
	for _, s := range pids {
		if s.pid != p.cmd.Process.Pid && s.same() {
			_ = syscall.Kill(s.pid, syscall.SIGKILL)
		}
	}
	<-p.done
	for _, s := range pids { // a port is free again only when its last owner is gone
		for range 500 {
			if !s.same() {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// tail returns the end of what the process printed.
func (p *process) tail() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(text[max(0, len(text)-1000):]))
}

// started is a process, told from a later one of the same id by when it began.
type started struct {
	pid   int
	began string
}

// same says whether it still runs.
func (s started) same() bool {
	stat, err := readStat(s.pid)
	return err == nil && stat.began == s.began && stat.state != "Z"
}

// pids returns the process and its descendants.
func (p *process) pids() []started {
	if !p.alive() {
		return nil
	}
	return family(p.cmd.Process.Pid)
}

// family returns a process and its descendants.
func family(root int) []started {
	children := map[int][]started{}
	names, _ := filepath.Glob("/proc/[0-9]*") // the pattern is right
	for _, name := range names {
		pid, _ := strconv.Atoi(filepath.Base(name))
		if stat, err := readStat(pid); err == nil {
			children[stat.parent] = append(children[stat.parent], started{pid, stat.began})
		}
	}
	var all []started
	if stat, err := readStat(root); err == nil {
		all = append(all, started{root, stat.began})
	}
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i].pid]...)
	}
	return all
}

// stat is what is wanted of /proc/PID/stat.
type stat struct {
	state  string
	parent int
	cpu    time.Duration
	began  string // in ticks since the boot
}

var errStat = errors.New("unreadable stat")

func readStat(pid int) (stat, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, err
	}
	_, rest, ok := strings.Cut(string(text), ") ") // the name before it may hold anything
	f := strings.Fields(rest)
	if !ok || len(f) < 20 {
		return stat{}, errStat
	}
	parent, err1 := strconv.Atoi(f[1])
	user, err2 := strconv.ParseInt(f[11], 10, 64)
	system, err3 := strconv.ParseInt(f[12], 10, 64)
	const tick = 10 * time.Millisecond // USER_HZ is 100 on every Linux that is not ancient
	return stat{f[0], parent, time.Duration(user+system) * tick, f[19]}, errors.Join(err1, err2, err3)
}

// cpu is what the process and its descendants have used.
func (p *process) cpu() (d time.Duration) {
	for _, s := range p.pids() {
		if stat, err := readStat(s.pid); err == nil {
			d += stat.cpu
		}
	}
	return d
}

// memory is what the process and its descendants hold resident, in bytes.
func (p *process) memory() (bytes int64) {
	for _, s := range p.pids() {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.pid)) // it may have gone
		for line := range strings.Lines(string(text)) {
			if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
				kb, _ := strconv.ParseInt(strings.Fields(rest + " 0")[0], 10, 64)
				bytes += kb << 10
			}
		}
	}
	return bytes
}

// tmpfs is a small disk that only one process sees and that goes with it.
type tmpfs struct {
	dir   string
	bytes int64
}

func (t *tmpfs) wrap(args []string) ([]string, error) {
	self, err := os.Executable()
	return slices.Concat([]string{self, "child", "tmpfs", t.dir, strconv.FormatInt(t.bytes, 10)}, args), err
}

// enter mounts the disk and becomes the command. It runs in a mount namespace of its own.
func (t *tmpfs) enter(args []string) error {
	if err := syscall.Mount("tmpfs", t.dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=777", t.bytes)); err != nil {
		return fmt.Errorf("mount a tmpfs: %w", err)
	}
	path, err := exec.LookPath(args[0])
	if err != nil {
		return err
	}
	return syscall.Exec(path, args, os.Environ())
}

// run runs a command to its end.
func run(ctx context.Context, stdin string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stdin = strings.NewReader(stdin)
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return string(out), err
}
