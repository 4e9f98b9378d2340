package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestGuardCleansUp: the program is gone, what it started is not.
func TestGuardCleansUp(t *testing.T) {
	dir := t.TempDir()
	made := filepath.Join(dir, "made")
	if err := os.Mkdir(made, 0o755); err != nil {
		t.Fatal(err)
	}
	// As nginx's, this parent starts anew the child that ends.
	p, err := launch(command{args: []string{"sh", "-c", "while :; do sleep 100; done"}, log: filepath.Join(dir, "log")})
	if err != nil {
		t.Fatal(err)
	}
	defer p.kill()
	in, pipe := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- watch(in, made) }()
	stat, err := readStat(p.cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(pipe, p.cmd.Process.Pid, stat.began)
	for began := time.Now(); len(p.pids()) < 2; time.Sleep(5 * time.Millisecond) {
		if time.Since(began) > 20*time.Second {
			t.Fatal("no child")
		}
	}
	all := p.pids()
	pipe.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	<-p.done
	for _, s := range all {
		for began := time.Now(); s.same(); time.Sleep(5 * time.Millisecond) {
			if time.Since(began) > 20*time.Second {
				t.Fatalf("%d is still there", s.pid)
			}
		}
	}
	if _, err := os.Stat(made); err == nil {
		t.Error("the folder is still there")
	}
}
