package node

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/pureboot/pureboot/central/lifecycle"
	"github.com/pureboot/pureboot/central/wire"
)

// crashDir names, in the environment of a child, where its store is.
const crashDir = "PUREBOOT_TEST_CRASH_DIR"

const crashMachines = 40

// reportUntilKilled is the child: every machine reports the end of its installation, again and again, and each report
// that was taken is printed.
func reportUntilKilled(dir string) {
	s, err := Open(context.Background(), Options{Dir: dir, Central: deadCentral{}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	for i := 0; ; i++ {
		_, _, err := s.Event(context.Background(), machine(i%crashMachines).Node.ID, wire.Event{
			EventID: strconv.Itoa(i), EventType: string(lifecycle.InstallComplete),
		})
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(i)
	}
}

func TestKilledAgentLosesNoReport(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, kill := range []int{1, 7, 60} {
		t.Run(fmt.Sprint(kill, " reports"), func(t *testing.T) {
			dir, central := t.TempDir(), newCentral()
			for i := range crashMachines {
				b := machine(i)
				central.nodes[b.Node.ID] = b
			}
			first := at(t, dir, central)
			for i := range crashMachines {
				first.mustFind(t, machine(i).Node.MACAddress)
			}
			first.Close()

			taken := killAfter(t, self, dir, kill)

			way := &line{to: deadCentral{}}
			s := at(t, dir, way)
			for i := range min(taken, crashMachines) {
				if rec := s.mustFind(t, machine(i).Node.MACAddress); rec.Node.State != string(lifecycle.Installed) {
					t.Fatalf("machine %d would be installed again: it is %s", i, rec.Node.State)
				}
			}
			way.plug(central)
			if err := s.Deliver(t.Context()); err != nil {
				t.Fatal(err)
			}
			order := central.took()
			if len(order) < taken || len(order) > taken+1 { // one may have been written and not printed
				t.Fatalf("central took %d reports, the machines made %d", len(order), taken)
			}
			for i, got := range order {
				if want := machine(i%crashMachines).Node.MACAddress + " install_complete"; got != want {
					t.Errorf("report %d was %q, want %q", i, got, want)
				}
			}
		})
	}
}

// killAfter runs the child until it has printed so many reports, kills it, and returns how many it printed in all.
func killAfter(t *testing.T, self, dir string, reports int) int {
	t.Helper()
	child := exec.CommandContext(t.Context(), self)
	child.Env = append(os.Environ(), crashDir+"="+dir)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	taken := 0
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if lines.Text() != strconv.Itoa(taken) {
			t.Errorf("child: %s", lines.Text())
			break
		}
		if taken++; taken == reports {
			child.Process.Kill()
		}
	}
	io.Copy(io.Discard, out)
	child.Wait()
	if taken < reports {
		t.Fatalf("child ended after %d reports", taken)
	}
	return taken
}
