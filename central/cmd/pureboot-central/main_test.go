package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	os.Setenv("GORACE", "atexit_sleep_ms=10") // else each program that a test starts sleeps for a second before it exits
	testscript.Main(m, map[string]func(){"pureboot-central": main})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"mode": mode, "takeport": takePort, "sqlite": sqlite, "serve": startCentral, "id": tokenID, "api": callAPI, "damage": damage,
		},
	})
}

// mode FILE MODE checks the permissions of a file, in octal digits.
func mode(ts *testscript.TestScript, neg bool, args []string) {
	info, err := os.Stat(ts.MkAbs(args[0]))
	ts.Check(err)
	if got := info.Mode().Perm().String(); (got == args[1]) == neg {
		ts.Fatalf("%s has mode %s", args[0], got)
	}
}

// id FILE puts the id of the token in a file in ID.
func tokenID(ts *testscript.TestScript, _ bool, args []string) {
	parts := strings.SplitN(ts.ReadFile(args[0]), "_", 3)
	if len(parts) != 3 {
		ts.Fatalf("%s holds no token", args[0])
	}
	ts.Setenv("ID", parts[1])
}

// takeport listens on a port for as long as the script runs, and puts its address in ADDR.
func takePort(ts *testscript.TestScript, _ bool, _ []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { l.Close() })
	ts.Setenv("ADDR", l.Addr().String())
}

// damage DIR changes the first byte of all files below a directory.
func damage(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(filepath.WalkDir(ts.MkAbs(args[0]), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = f.WriteAt([]byte{0}, 0)
		return errors.Join(err, f.Close())
	}))
}

// sqlite FILE STATEMENT changes a database.
func sqlite(ts *testscript.TestScript, _ bool, args []string) {
	db, err := sql.Open("sqlite", ts.MkAbs(args[0]))
	ts.Check(err)
	_, err = db.Exec(args[1])
	ts.Check(errors.Join(err, db.Close()))
}

// The program itself, from its start to SIGTERM, with the pipe of --ready-fd.
func TestServeUntilTerminated(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "central.yaml")
	text := "data_dir: " + dir + "\nlisten: 127.0.0.1:0\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ready, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer ready.Close()
	var log strings.Builder
	cmd := exec.Command("pureboot-central", "serve", "--config", config, "--ready-fd", "3")
	cmd.ExtraFiles, cmd.Stderr = []*os.File{write}, &log
	err = cmd.Start()
	write.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	if err := ready.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(ready)
	line, err := lines.ReadString('\n')
	if err != nil {
		t.Fatalf("no address: %v\n%s", err, log.String())
	}
	var at map[string]string
	if err := json.Unmarshal([]byte(line), &at); err != nil {
		t.Fatal(err)
	}
	if more, err := lines.ReadString('\n'); err != io.EOF {
		t.Errorf("after the line came %q, %v", more, err)
	}
	ca, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: time.Minute}
	res, err := client.Get("https://" + at["https"] + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	if res.Body.Close(); res.StatusCode != http.StatusOK {
		t.Errorf("it says %s", res.Status)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v:\n%s", err, log.String())
	}
}
