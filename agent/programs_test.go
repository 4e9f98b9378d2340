package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// buildPrograms builds both programs as they are shipped, in a folder.
func buildPrograms(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	cmd := exec.CommandContext(t.Context(), "go", "build", "-ldflags=-s -w", "-o", dir, "../central/cmd/pureboot-central", "./cmd/pureboot-agent")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return dir
}

// program is one of the two, serving.
type program struct {
	cmd   *exec.Cmd
	at    map[string]string // its addresses
	ended sync.Once
}

// serve starts a program, whose log is shown if the test fails.
func serve(t *testing.T, name string, args ...string) *program {
	t.Helper()
	ready, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer ready.Close()
	var log bytes.Buffer
	p := &program{cmd: exec.Command(name, append(args, "--ready-fd", "3")...)}
	p.cmd.Stderr, p.cmd.ExtraFiles = &log, []*os.File{write}
	err = p.cmd.Start()
	write.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if p.kill(); t.Failed() {
			lines := slices.DeleteFunc(strings.SplitAfter(log.String(), "\n"), func(line string) bool {
				return strings.Contains(line, "who=admin:") && strings.Contains(line, "method=GET")
			})
			t.Logf("%s has logged:\n%s", filepath.Base(name), strings.Join(lines[max(0, len(lines)-50):], ""))
		}
	})
	if err := ready.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if err := json.NewDecoder(ready).Decode(&p.at); err != nil {
		t.Fatalf("%s does not serve: %v", filepath.Base(name), err)
	}
	return p
}

// kill leaves it no time for anything. What has ended before is left alone.
func (p *program) kill() {
	p.ended.Do(func() {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	})
}

// stop ends it as the service manager does, in order and in time.
func (p *program) stop(t *testing.T) {
	t.Helper()
	p.ended.Do(func() {
		err := p.cmd.Process.Signal(syscall.SIGTERM)
		late := time.AfterFunc(patience, func() { _ = p.cmd.Process.Kill() })
		if err = errors.Join(err, p.cmd.Wait()); err != nil {
			t.Errorf("%s ended: %v", filepath.Base(p.cmd.Path), err)
		}
		late.Stop()
	})
}

// held is what a process has in use.
type held struct{ goroutines, files int }

// above says whether it is more than what was in use before. A connection that is given up may be there for a while.
func (u held) above(before held) bool {
	return u.goroutines > before.goroutines+4 || u.files > before.files+2
}

// uses counts the goroutines, of which the program's metrics tell, and the files but those of databases: of them a pool
// keeps some.
func (p *program) uses(t *testing.T, metrics []byte) (u held) {
	t.Helper()
	for line := range strings.Lines(string(metrics)) {
		if n, ok := strings.CutPrefix(line, "go_goroutines "); ok {
			var err error
			if u.goroutines, err = strconv.Atoi(strings.TrimSpace(n)); err != nil {
				t.Fatal(err)
			}
		}
	}
	dir := fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid)
	files, err := os.ReadDir(dir)
	if err != nil || u.goroutines == 0 {
		t.Fatalf("nobody knows what is in use: %d goroutines, %v", u.goroutines, err)
	}
	for _, f := range files {
		if of, err := os.Readlink(filepath.Join(dir, f.Name())); err == nil && !strings.Contains(of, ".db") {
			u.files++
		}
	}
	return u
}
