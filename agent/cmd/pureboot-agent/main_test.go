package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/pureboot/pureboot/agent/admin"
	"github.com/pureboot/pureboot/central/wire"
)

func TestMain(m *testing.M) {
	os.Setenv("GORACE", "atexit_sleep_ms=10") // else each program that a test starts sleeps for a second before it exits
	testscript.Main(m, map[string]func(){"pureboot-agent": main})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"central": central, "takeport": takePort, "await": await, "mode": mode, "origin": origin, "get": get,
		},
	})
}

// central starts a central that takes one agent, and puts its address into URL, a token for it into the file token,
// and one whose CA is another into the file foreign.
func central(ts *testscript.TestScript, _ bool, _ []string) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if library(w, r) {
			return
		}
		var asked wire.Register
		if r.URL.Path != wire.PathRegister || json.NewDecoder(r.Body).Decode(&asked) != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		if strings.HasSuffix(asked.JoinToken, "used") {
			w.Header().Set("Content-Type", wire.MediaTypeProblem)
			w.WriteHeader(http.StatusConflict)
			json.NewEncoder(w).Encode(wire.Problem{Status: http.StatusConflict, Detail: "The join token was used."})
			return
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(wire.Registered{SiteID: "6ba7b810-9dad-11d1-80b4-00c04fd430c8", SiteName: "Oslo"})
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // of agents that hang up on a wrong CA
	server.StartTLS()
	ts.Defer(server.Close)
	ts.Setenv("URL", server.URL)
	pin := sha256.Sum256(server.Certificate().RawSubjectPublicKeyInfo)
	const rest = ".0123456789abcdef.0123456789abcdef0123456789abcdef0123456789a"
	for name, text := range map[string]string{
		"token": "pbj1." + hex.EncodeToString(pin[:]) + rest, "used": "pbj1." + hex.EncodeToString(pin[:]) + rest + "used",
		"foreign": "pbj1." + strings.Repeat("0", 64) + rest,
	} {
		ts.Check(os.WriteFile(ts.MkAbs(name), []byte(text+"\n"), 0o600))
	}
}

// library answers for central's content: one bootloader that is there, and one that is only listed.
func library(w http.ResponseWriter, r *http.Request) bool {
	const text = "MZ: a loader\n"
	switch {
	case r.URL.Path == wire.PathManifest:
		sum := sha256.Sum256([]byte(text))
		m := wire.Manifest{Epoch: wire.Epoch{Stream: "s", N: 1}, Full: true}
		for _, name := range []string{"lost.efi", "snponly.efi"} {
			m.Items = append(m.Items, wire.ManifestItem{File: wire.File{Category: wire.Bootloaders, Path: name, Size: int64(len(text)), SHA256: hex.EncodeToString(sum[:])}})
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(m)
	case strings.HasSuffix(r.URL.Path, "/snponly.efi"):
		io.WriteString(w, text)
	case strings.HasSuffix(r.URL.Path, "/lost.efi"):
		w.Header().Set("Content-Type", wire.MediaTypeProblem)
		w.WriteHeader(http.StatusPreconditionFailed)
		json.NewEncoder(w).Encode(wire.Problem{Status: http.StatusPreconditionFailed, Detail: "It is another one."})
	default:
		return false
	}
	return true
}

// origin FILE starts an origin on the web that has something at every path but those with none in them, and writes its
// URL into the file in place of ORIGIN, and into ORIGIN.
func origin(ts *testscript.TestScript, _ bool, args []string) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "none") {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Cache-Control", "max-age=1000")
		w.Header().Set("Cache-Tag", strings.Trim(r.URL.Path, "/"))
		w.Header().Set("Repr-Digest", digestOf("body of "+r.URL.Path))
		io.WriteString(w, "body of "+r.URL.Path)
	}))
	ts.Defer(server.Close)
	ts.Setenv("ORIGIN", server.URL)
	text := strings.ReplaceAll(ts.ReadFile(args[0]), "ORIGIN", server.URL)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
}

func digestOf(body string) string {
	sum := sha256.Sum256([]byte(body))
	return "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
}

// get SOCKET PATH has a machine ask the agent there, and waits until the answer is in the cache.
func get(ts *testscript.TestScript, _ bool, args []string) {
	status, err := admin.ReadStatus(context.Background(), ts.MkAbs(args[0]))
	ts.Check(err)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get("http://" + status.Addresses["http"] + args[1])
	ts.Check(err)
	_, err = io.Copy(io.Discard, res.Body)
	ts.Check(err)
	res.Body.Close()
	for began := time.Now(); time.Since(began) < 20*time.Second; time.Sleep(10 * time.Millisecond) {
		if status, err = admin.ReadStatus(context.Background(), ts.MkAbs(args[0])); err == nil && status.Cache.Filling == 0 {
			return
		}
	}
	ts.Fatalf("it is never stored: %v", err)
}

// takeport listens on a port for as long as the script runs, and puts its address in ADDR.
func takePort(ts *testscript.TestScript, _ bool, _ []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { l.Close() })
	ts.Setenv("ADDR", l.Addr().String())
}

// await SOCKET waits until the agent there answers.
func await(ts *testscript.TestScript, _ bool, args []string) {
	var err error
	for began := time.Now(); time.Since(began) < 20*time.Second; time.Sleep(10 * time.Millisecond) {
		if _, err = admin.ReadStatus(context.Background(), ts.MkAbs(args[0])); err == nil {
			return
		}
	}
	ts.Fatalf("no agent answers: %v", err)
}

// mode FILE MODE checks the permissions of a file.
func mode(ts *testscript.TestScript, neg bool, args []string) {
	info, err := os.Stat(ts.MkAbs(args[0]))
	ts.Check(err)
	if got := info.Mode().Perm().String(); (got == args[1]) == neg {
		ts.Fatalf("%s has mode %s", args[0], got)
	}
}

// process is the built program, serving.
type process struct {
	*exec.Cmd
	at    map[string]string // its addresses
	began time.Time
}

// startBuilt runs the program with ports that are free until the test ends.
func startBuilt(t *testing.T, program, dir string) *process {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	p := &process{Cmd: exec.CommandContext(t.Context(), program, "start", "--ready-fd", "3", "--config", "/dev/null")}
	p.Env = append(os.Environ(), "PUREBOOT_AGENT_DATA_DIR="+dir, "PUREBOOT_AGENT_LISTEN_HTTP=127.0.0.1:0",
		"PUREBOOT_AGENT_LISTEN_TFTP=127.0.0.1:0", "PUREBOOT_AGENT_LISTEN_ADMIN=", "PUREBOOT_AGENT_LISTEN_METRICS=")
	p.ExtraFiles = []*os.File{write}
	p.began = time.Now()
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	write.Close()
	line, err := bufio.NewReader(read).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &p.at)
	}
	if err != nil {
		t.Fatalf("--ready-fd told %q, %v", line, err)
	}
	return p
}

// end asks the program to stop, which it must do without an error.
func (p *process) end(t *testing.T) {
	t.Helper()
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(); err != nil {
		t.Errorf("the agent ended: %v", err)
	}
}

// TestTheFirstRequestIsAnsweredSoon takes the best of some starts: what else the machine does is no part of it.
func TestTheFirstRequestIsAnsweredSoon(t *testing.T) {
	program := filepath.Join(t.TempDir(), "pureboot-agent")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	dir, best := t.TempDir(), time.Hour
	for range 5 {
		p := startBuilt(t, program, filepath.Join(dir, "data"))
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		res, err := client.Get("http://" + p.at["http"] + "/boot/52:54:00:12:34:56")
		if err != nil {
			t.Fatal(err)
		}
		script, err := io.ReadAll(res.Body)
		took := time.Since(p.began)
		res.Body.Close()
		if err != nil || !strings.HasPrefix(string(script), "#!ipxe\n") {
			t.Errorf("answered %d, %v: %s", res.StatusCode, err, script)
		}
		t.Logf("the first request was answered %v after the start of the process", took)
		best = min(best, took)
		p.end(t)
	}
	if best > 300*time.Millisecond {
		t.Errorf("the first request was answered after %v at best, want 300 ms", best)
	}
}
