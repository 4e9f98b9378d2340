package main

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// process is a central that runs beside a script.
type process struct {
	cmd *exec.Cmd
	end sync.Once
}

// startCentral is the script command: serve DIR [KEY=VALUE...] prepares a central in a folder and serves until the
// script ends, with the environment of its REST clients set. More of its environment may be given.
func startCentral(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: serve DIR [KEY=VALUE...]")
	}
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o755))
	config, token := filepath.Join(dir, "central.yaml"), filepath.Join(dir, "token")
	ts.Check(os.WriteFile(config, []byte("data_dir: "+filepath.Join(dir, "data")+"\nlisten: 127.0.0.1:0\n"), 0o600))
	ts.Check(ts.Exec("pureboot-central", "init", "--config", config, "--token-file", token))
	ready, write, err := os.Pipe()
	ts.Check(err)
	defer ready.Close()
	log, err := os.OpenFile(filepath.Join(dir, "log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	ts.Check(err)
	p := &process{cmd: exec.Command("pureboot-central", "serve", "--config", config, "--ready-fd", "3")}
	p.cmd.ExtraFiles, p.cmd.Stderr, p.cmd.Env = []*os.File{write}, log, append(os.Environ(), args[1:]...)
	err = p.cmd.Start()
	write.Close()
	log.Close()
	ts.Check(err)
	ts.Defer(func() { p.stop(syscall.SIGTERM) })
	ts.Check(ready.SetReadDeadline(time.Now().Add(time.Minute)))
	line, err := bufio.NewReader(ready).ReadBytes('\n')
	if err != nil {
		ts.Fatalf("central does not serve: %v: see %s/log", err, args[0])
	}
	var at map[string]string
	ts.Check(json.Unmarshal(line, &at))
	ts.Setenv("PUREBOOT_URL", "https://"+at["https"])
	ts.Setenv("PUREBOOT_CA", filepath.Join(dir, "data", "ca.crt"))
	ts.Setenv("PUREBOOT_TOKEN_FILE", token)
}

// stop ends the process and waits for it; after 30 seconds it is killed.
func (p *process) stop(sig os.Signal) {
	p.end.Do(func() {
		_ = p.cmd.Process.Signal(sig)
		late := time.AfterFunc(30*time.Second, func() { _ = p.cmd.Process.Kill() })
		_ = p.cmd.Wait() // its log says how it ended
		late.Stop()
	})
}
