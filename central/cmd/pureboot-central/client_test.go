package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"
)

// process is a central that serves.
type process struct {
	cmd     *exec.Cmd
	address string
	end     sync.Once
}

// startProcess serves from a folder that init has prepared, on an address of 127.0.0.1.
func startProcess(dir, listen string) (*process, error) {
	ready, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer ready.Close()
	defer write.Close()
	log, err := os.OpenFile(filepath.Join(dir, "log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p := &process{cmd: exec.Command("pureboot-central", "serve", "--config", filepath.Join(dir, "central.yaml"), "--listen", listen, "--ready-fd", "3")}
	p.cmd.ExtraFiles, p.cmd.Stderr = []*os.File{write}, log
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	write.Close()
	var at map[string]string
	if err = ready.SetReadDeadline(time.Now().Add(time.Minute)); err == nil {
		err = json.NewDecoder(bufio.NewReader(ready)).Decode(&at)
	}
	if err != nil {
		p.stop(os.Kill)
		return nil, err
	}
	p.address = at["https"]
	return p, nil
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

// prepare writes the configuration of a central in a folder.
func prepare(dir string) (config, token string, err error) {
	config, token = filepath.Join(dir, "central.yaml"), filepath.Join(dir, "token")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", "", err
	}
	return config, token, os.WriteFile(config, []byte("data_dir: "+filepath.Join(dir, "data")+"\n"), 0o600)
}

// startCentral is the script command: serve DIR prepares a central in a folder and serves until the script ends, with
// the environment of its REST clients set.
func startCentral(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: serve DIR")
	}
	dir := ts.MkAbs(args[0])
	config, token, err := prepare(dir)
	ts.Check(err)
	ts.Check(ts.Exec("pureboot-central", "init", "--config", config, "--token-file", token))
	p, err := startProcess(dir, "127.0.0.1:0")
	if err != nil {
		ts.Fatalf("central does not serve: %v: see %s/log", err, args[0])
	}
	ts.Defer(func() { p.stop(syscall.SIGTERM) })
	ts.Setenv("PUREBOOT_URL", "https://"+p.address)
	ts.Setenv("PUREBOOT_CA", filepath.Join(dir, "data", "ca.crt"))
	ts.Setenv("PUREBOOT_TOKEN_FILE", token)
}

// callAPI is the script command: api METHOD PATH [JSON] asks the central of the script.
func callAPI(ts *testscript.TestScript, neg bool, args []string) {
	c, err := dial(&cobra.Command{}, ts.Getenv("PUREBOOT_URL"), ts.Getenv("PUREBOOT_CA"), ts.Getenv("PUREBOOT_TOKEN_FILE"))
	ts.Check(err)
	defer c.http.CloseIdleConnections()
	header := http.Header{"Content-Type": {"application/json"}}
	res, err := c.do(context.Background(), args[0], args[1], bytes.NewReader([]byte(args[2])), header)
	if err == nil {
		res.Body.Close()
	}
	if (err != nil) != neg {
		ts.Fatalf("%s %s: %v", args[0], args[1], err)
	}
}
