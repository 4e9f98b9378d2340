package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// startTime and stopTime bound the start and the end of a program.
const (
	startTime = 30 * time.Second
	stopTime  = 30 * time.Second
)

// listen holds the addresses of both programs.
type listen struct{ Central, HTTP, TFTP string }

// paths are the files of the folder, all absolute.
type paths struct {
	bin, dir                   string
	centralConfig, agentConfig string
	tokenFile, ca              string
	centralURL                 string
	identity                   string
}

// place makes the folder and writes the configurations.
func place(dir string, at listen) (*paths, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &paths{
		bin:           filepath.Dir(self),
		dir:           dir,
		centralConfig: filepath.Join(dir, "central.yaml"),
		agentConfig:   filepath.Join(dir, "agent.yaml"),
		tokenFile:     filepath.Join(dir, "admin.token"),
		ca:            filepath.Join(dir, "central", "ca.crt"),
		centralURL:    "https://" + at.Central,
		identity:      filepath.Join(dir, "agent", "state", "identity.json"),
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	central := fmt.Sprintf("data_dir: %q\nlisten: %q\npublic_url: %q\n", filepath.Join(dir, "central"), at.Central, p.centralURL)
	agent := fmt.Sprintf(`data_dir: %q
central_url: %q
listen:
  http: %q
  tftp: %q
  admin: %q
  metrics: ""
cache: {max_size_gb: 2, min_free_gb: 1, hot_mb: 32}
`, filepath.Join(dir, "agent"), p.centralURL, at.HTTP, at.TFTP, filepath.Join(dir, "agent.sock"))
	return p, errors.Join(
		os.WriteFile(p.centralConfig, []byte(central), 0o600),
		os.WriteFile(p.agentConfig, []byte(agent), 0o600),
	)
}

// once runs a program to its end, its output being ours.
func (p *paths) once(ctx context.Context, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(p.bin, name), args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s %s: %w", name, args[0], err)
	}
	return nil
}

// process is a program that runs until it is stopped.
type process struct {
	name      string
	cmd       *exec.Cmd
	done      chan struct{} // closed at its end
	addresses map[string]string
}

// start runs a program with its log in a file, and returns when it serves. If it ends by itself, fail is told.
func (p *paths) start(ctx context.Context, fail context.CancelCauseFunc, name, program string, args ...string) (*process, error) {
	logFile := filepath.Join(p.dir, name+".log")
	log, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	ready, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer ready.Close()
	proc := &process{name: name, done: make(chan struct{})}
	proc.cmd = exec.Command(filepath.Join(p.bin, program), append(args, "--ready-fd", "3")...)
	proc.cmd.Stdout, proc.cmd.Stderr, proc.cmd.ExtraFiles = log, log, []*os.File{write}
	// A group of its own: Ctrl-C reaches this program alone, which stops the agent before central. If this program
	// is killed, so are they.
	proc.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	err = proc.cmd.Start()
	write.Close()
	if err != nil {
		return nil, err
	}
	go func() {
		err := proc.cmd.Wait()
		close(proc.done)
		fail(fmt.Errorf("%s ended: %v; %s says why", name, err, logFile))
	}()
	if err := ready.SetReadDeadline(time.Now().Add(startTime)); err != nil {
		return nil, stopAll(err, proc)
	}
	defer context.AfterFunc(ctx, func() { ready.Close() })()
	line, err := bufio.NewReader(ready).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &proc.addresses)
	}
	if err != nil {
		tail(logFile)
		return nil, stopAll(fmt.Errorf("%s does not serve; %s says why", name, logFile), proc)
	}
	return proc, nil
}

// stopAll ends a program in order, and by force if it does not end in time.
func stopAll(err error, p *process) error {
	// It may have ended already; then there is nothing to tell.
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(stopTime):
		err = errors.Join(err, fmt.Errorf("%s had to be killed", p.name), p.cmd.Process.Kill())
		<-p.done
	}
	return err
}

// tail shows the last line of a log.
func tail(file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		return
	}
	lines := 0
	at := len(text)
	for at > 0 && lines < 4 {
		at--
		if text[at] == '\n' {
			lines++
		}
	}
	fmt.Fprintf(os.Stderr, "%s\n", text[at:])
}
