package node

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pureboot/pureboot/central/lifecycle"
)

func openLogged(t *testing.T, dir string, c Central) (*Store, *journal) {
	t.Helper()
	log := new(journal)
	return open(t, Options{Dir: dir, Central: c, Patience: time.Minute, Log: log.log()}), log
}

func TestGarbageDatabaseIsSetAside(t *testing.T) {
	dir, m := t.TempDir(), machine(1).Node
	garbage := make([]byte, 64<<10)
	for try := range 3 { // also in place of one that was set aside earlier
		rand.Read(garbage)
		if err := os.WriteFile(filepath.Join(dir, databaseFile), garbage, 0o600); err != nil {
			t.Fatal(err)
		}
		s, log := openLogged(t, dir, newCentral(machine(1)))
		if !log.has("level=ERROR") || !log.has("reports_saved=0") {
			t.Error("the loss is not in the log")
		}
		kept, err := os.ReadFile(filepath.Join(dir, damagedFile))
		if err != nil || !bytes.Equal(kept, garbage) {
			t.Errorf("try %d: what was there is not kept: %v", try, err)
		}
		s.mustFind(t, m.MACAddress)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s, log = openLogged(t, dir, deadCentral{})
		if rec := s.mustFind(t, m.MACAddress); rec.Source != Fresh || log.has("level=ERROR") {
			t.Errorf("the new database does not last: %q", rec.Source)
		}
		s.Close()
	}
}

// TestDamagedPage: one page of the copies is gone; the reports that wait are on others.
func TestDamagedPage(t *testing.T) {
	dir, central := t.TempDir(), newCentral()
	const machines = 50
	for i := range machines {
		b := machine(i)
		b.Node.Hostname = fmt.Sprintf("host-%d-%s", i, strings.Repeat("x", 300))
		central.nodes[b.Node.ID] = b
	}
	way := &line{to: central}
	s, _ := openLogged(t, dir, way)
	for i := range machines {
		s.mustFind(t, machine(i).Node.MACAddress)
	}
	way.plug(deadCentral{})
	for i := range machines {
		s.mustReport(t, machine(i).Node.ID, lifecycle.InstallComplete)
	}
	s.Close()

	file := filepath.Join(dir, databaseFile)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	const page = 4096
	at := bytes.Index(text, []byte("host-7-")) / page * page
	rand.Read(text[at : at+page])
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}

	s, log := openLogged(t, dir, way)
	if !log.has("level=ERROR") || !log.has(fmt.Sprintf("reports_saved=%d", machines)) {
		t.Errorf("log: %s", log.text.String())
	}
	s.mustWait(t, machines)
	way.plug(central)
	for i := range machines {
		if rec := s.mustFind(t, machine(i).Node.MACAddress); rec.Node.State != string(lifecycle.Installed) {
			t.Fatalf("machine %d would be installed again: it is %s", i, rec.Node.State)
		}
	}
	if err := s.Deliver(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(central.took()); n != machines {
		t.Errorf("central took %d reports", n)
	}
}

// TestUnusableFolder: what is no damage is not mended by throwing the database away.
func TestUnusableFolder(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, databaseFile), 0o700); err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), Options{Dir: dir, Log: testLog(t)})
	if err == nil {
		s.Close()
		t.Fatal("opened a folder as a database")
	}
	if _, err := os.Stat(filepath.Join(dir, damagedFile)); err == nil {
		t.Error("set aside what is not damaged")
	}
}

// TestNoRoomForSharedMemory: on a full disk the file that the connections meet in cannot be made. The machines have to
// boot all the same, and by what they reported. A link in the place of that file is as good as a full disk: SQLite does not
// follow it.
func TestNoRoomForSharedMemory(t *testing.T) {
	dir, m := t.TempDir(), machine(1).Node
	s := at(t, dir, newCentral(machine(1)))
	s.mustFind(t, m.MACAddress)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/full", filepath.Join(dir, databaseFile+"-shm")); err != nil {
		t.Fatal(err)
	}

	s, log := openLogged(t, dir, deadCentral{})
	if rec := s.mustFind(t, m.MACAddress); rec.Node.ID != m.ID {
		t.Errorf("the machine is %+v", rec.Node)
	}
	s.mustReport(t, m.ID, lifecycle.InstallComplete)
	if rec := s.mustFind(t, m.MACAddress); rec.Node.State != string(lifecycle.Installed) {
		t.Errorf("it would be installed again: it is %s", rec.Node.State)
	}
	if !log.has("no room beside the node store") {
		t.Error("the log does not say so")
	}
	s.Close()

	if err := os.Remove(filepath.Join(dir, databaseFile+"-shm")); err != nil {
		t.Fatal(err)
	}
	central := newCentral(machine(1))
	s, log = openLogged(t, dir, central)
	s.mustWait(t, 1)
	if err := s.Deliver(t.Context()); err != nil || len(central.took()) == 0 {
		t.Errorf("central took %v: %v", central.took(), err)
	}
	if log.has("no room") {
		t.Error("it still works alone")
	}
}

// TestFolderWithAnyName: the file's name goes through a URI.
func TestFolderWithAnyName(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a b?c=d#e%41&f")
	s := at(t, dir, newCentral(machine(1)))
	s.mustFind(t, machine(1).Node.MACAddress)
	if _, err := os.Stat(filepath.Join(dir, databaseFile)); err != nil {
		t.Error(err)
	}
}
