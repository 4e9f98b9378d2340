package main

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestQuickstartTwice is `make run` on a machine that has never seen PureBoot, and once more: both times the pair
// serves a script and ends cleanly when it is told to, and the second time it finds what the first one made.
func TestQuickstartTwice(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and runs the real programs")
	}
	bin, dir := t.TempDir(), t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", bin+"/",
		"../../agent/cmd/pureboot-agent", "../../central/cmd/pureboot-central", ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	at := []string{"-dir", dir, "-central", freePort(t), "-http", freePort(t), "-tftp", freePort(t)}
	first := quickstart(t, bin, at)
	second := quickstart(t, bin, at)
	if !strings.Contains(first, "enrolled as site demo") {
		t.Errorf("the first run enrolled nothing:\n%s", first)
	}
	if strings.Contains(second, "enrolled as site") {
		t.Errorf("the second run enrolled anew:\n%s", second)
	}
	if record := line(first, "/api/v1/nodes/"); record == "" || record != line(second, "/api/v1/nodes/") {
		t.Errorf("the second run has another machine: %q, then %q", record, line(second, "/api/v1/nodes/"))
	}
}

// quickstart runs the program until the agent serves, asks for a script, stops it, and returns what it printed.
func quickstart(t *testing.T, bin string, args []string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "quickstart"), args...)
	out, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = write, write
	err = cmd.Start()
	write.Close()
	if err != nil {
		t.Fatal(err)
	}
	var printed strings.Builder
	lines := bufio.NewScanner(out)
	stopped := false
	for lines.Scan() {
		printed.WriteString(lines.Text() + "\n")
		if url, ok := strings.CutPrefix(strings.TrimSpace(lines.Text()), "curl http://"); ok {
			if script := get(t, "http://"+url); !strings.HasPrefix(script, "#!ipxe\n") || !strings.Contains(script, "Installing") {
				t.Errorf("the pending machine is given:\n%s", script)
			}
		}
		if strings.Contains(lines.Text(), "status --config") {
			stopped = true
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err != nil || !stopped {
		t.Fatalf("quickstart: %v\n%s", err, printed.String())
	}
	return printed.String()
}

func get(t *testing.T, url string) string {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Error(err)
		return ""
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Error(err)
	}
	return string(body)
}

// line returns the first line of a text that holds a word.
func line(text, word string) string {
	for l := range strings.Lines(text) {
		if strings.Contains(l, word) {
			return l
		}
	}
	return ""
}

// freePort returns an address that nothing listens on right now, neither by TCP nor by UDP.
func freePort(t *testing.T) string {
	t.Helper()
	for range 20 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr := l.Addr().String()
		u, err := net.ListenPacket("udp", addr)
		l.Close()
		if err == nil {
			u.Close()
			return addr
		}
	}
	t.Fatal("no free port")
	return ""
}
