package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestNothingOutlivesStop(t *testing.T) {
	for name, end := range map[string]func(*process){"stop": (*process).stop, "kill": (*process).kill} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			up := filepath.Join(dir, "up")
			p, err := launch(command{
				args: []string{"sh", "-c", `sh -c 'sleep 100 & touch "$0"; wait' "$0" & wait`, up},
				log:  filepath.Join(dir, "log"),
			})
			if err != nil {
				t.Fatal(err)
			}
			for began := time.Now(); ; time.Sleep(5 * time.Millisecond) {
				if _, err := os.Stat(up); err == nil && len(p.pids()) == 3 {
					break
				}
				if time.Since(began) > 20*time.Second {
					t.Fatal("it never started", p.tail())
				}
			}
			all := p.pids()
			end(p)
			for _, s := range all {
				if s.same() {
					t.Errorf("%d is still there", s.pid)
				}
			}
			if p.alive() {
				t.Error("alive")
			}
		})
	}
}

func TestProcessFigures(t *testing.T) {
	p, err := launch(command{args: []string{"sh", "-c", "while :; do :; done"}, log: filepath.Join(t.TempDir(), "log")})
	if err != nil {
		t.Fatal(err)
	}
	defer p.stop()
	for began := time.Now(); p.cpu() == 0 || p.memory() == 0; time.Sleep(5 * time.Millisecond) {
		if time.Since(began) > 20*time.Second {
			t.Fatalf("%v of processor time, %d bytes", p.cpu(), p.memory())
		}
	}
}
