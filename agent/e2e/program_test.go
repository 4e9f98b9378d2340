package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// startTime and stopTime bound the start and the end of a program.
const (
	startTime = 30 * time.Second
	stopTime  = 30 * time.Second
)

// program is a running central, agent or dnsmasq.
type program struct {
	name string
	cmd  *exec.Cmd
	done chan error // its end
}

// run starts a program whose log is shown if the test fails, and ends it with the test.
func run(t *testing.T, extra []*os.File, name string, args ...string) *program {
	t.Helper()
	log, err := os.CreateTemp(t.TempDir(), filepath.Base(name))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	p := &program{name: filepath.Base(name), cmd: exec.Command(name, args...), done: make(chan error, 1)}
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.ExtraFiles = log, log, extra
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.done <- p.cmd.Wait() }()
	t.Cleanup(func() {
		p.stop(t)
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("log of %s:\n%s", p.name, text[max(0, len(text)-20_000):])
		}
	})
	return p
}

// serve starts one of our two programs and returns it with the addresses it serves at.
func serve(t *testing.T, name string, args ...string) (*program, map[string]string) {
	t.Helper()
	ready, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer ready.Close()
	p := run(t, []*os.File{write}, name, append(args, "--ready-fd", "3")...)
	write.Close()
	if err := ready.SetReadDeadline(time.Now().Add(startTime)); err != nil {
		t.Fatal(err)
	}
	var addresses map[string]string
	line, err := bufio.NewReader(ready).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &addresses)
	}
	if err != nil {
		t.Fatalf("%s does not serve: %v", p.name, err)
	}
	return p, addresses
}

// stop ends a program as systemd would, and fails the test if it does not end in time and in order. A program that was
// stopped before is left alone.
func (p *program) stop(t *testing.T) {
	t.Helper()
	if p.cmd == nil {
		return
	}
	cmd := p.cmd
	p.cmd = nil
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("stop %s: %v", p.name, err)
	}
	select {
	case err := <-p.done:
		if err != nil {
			t.Errorf("%s ended: %v", p.name, err)
		}
	case <-time.After(stopTime):
		cmd.Process.Kill()
		<-p.done
		t.Errorf("%s did not end within %s", p.name, stopTime)
	}
}

// once runs one of our programs to its end.
func once(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v: %s", filepath.Base(name), args[0], err, bytes.TrimSpace(out))
	}
}
