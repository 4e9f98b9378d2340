package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pureboot/pureboot/central/lifecycle"
	"github.com/pureboot/pureboot/ent"
	"github.com/pureboot/pureboot/ent/auditentry"
	"github.com/pureboot/pureboot/ent/counter"
)

// A backup that is made while others write is one moment's: each write below adds a node and counts it.
func TestABackupIsOneMoments(t *testing.T) {
	f, ctx := fixed(t, Options{Dir: t.TempDir(), Log: quiet()}), t.Context()
	o := Options{DSN: filepath.Join(filepath.Dir(f.file()), "pureboot.db"), Log: quiet()}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			spec := NodeSpec{MACAddress: fmt.Sprintf("52:54:00:%02x:%02x:%02x", i>>16, i>>8&255, i&255)}
			if _, err := f.CreateNode(ctx, root, spec, lifecycle.Discovered); err != nil {
				t.Error(err)
				return
			}
		}
	})
	dir := t.TempDir()
	for i := range 5 {
		file := filepath.Join(dir, fmt.Sprint(i))
		if err := Backup(ctx, o, file, false); err != nil {
			t.Error(err)
			continue
		}
		info, err := os.Stat(file)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the file is %v, %v", info, err)
		}
		copied := open(t, Options{DSN: file, Log: quiet()})
		nodes, logged := copied.Read().Node.Query().CountX(ctx), copied.Read().NodeStateLog.Query().CountX(ctx)
		if e, err := copied.Epoch(ctx, NodeCounter); err != nil || int64(nodes) != e.N || nodes != logged {
			t.Errorf("the copy has %d nodes, %d lines of log and the counter at %v, %v", nodes, logged, e, err)
		}
	}
	close(stop)
	wg.Wait()
}

// file is where the database is.
func (f *fixture) file() string {
	f.t.Helper()
	var seq int
	var name, file string
	if err := f.write.QueryRow("PRAGMA database_list").Scan(&seq, &name, &file); err != nil {
		f.t.Fatal(err)
	}
	return file
}

func TestABackupDoesNotOverwrite(t *testing.T) {
	f, ctx := fixed(t, Options{Dir: t.TempDir(), Log: quiet()}), t.Context()
	o, dir := Options{DSN: f.file(), Log: quiet()}, t.TempDir()
	file := filepath.Join(dir, "copy.db")
	if err := os.WriteFile(file, []byte("precious"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Backup(ctx, o, file, false); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over a file: %v", err)
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "precious" {
		t.Errorf("the file holds %q, %v", text, err)
	}
	if err := Backup(ctx, o, f.file(), true); err == nil || !strings.Contains(err.Error(), "itself") {
		t.Errorf("over the database: %v", err)
	}
	if err := Backup(ctx, o, filepath.Join(dir, "none", "copy.db"), false); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("into no folder: %v", err)
	}
	if err := Backup(ctx, Options{Dir: dir}, filepath.Join(dir, "x"), false); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of no database: %v", err)
	}
	for range 2 {
		if err := Backup(ctx, o, file, true); err != nil {
			t.Fatal(err)
		}
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 {
		t.Errorf("beside the copy there is %v, %v", left, err)
	}
	if n := open(t, Options{DSN: file, Log: quiet()}).Read().DeviceGroup.Query().CountX(ctx); n != 2 {
		t.Errorf("the copy has %d sites", n)
	}
	if err := Backup(ctx, Options{DSN: "postgres://u@127.0.0.1:1/x"}, file, true); !errors.Is(err, ErrNoBackup) {
		t.Errorf("of PostgreSQL: %v", err)
	}
}

// A restored database knows less than the agents do, under the same numbers: its streams are new, once.
func TestARestoredDatabaseBeginsNewStreams(t *testing.T) {
	f, ctx := fixed(t, Options{Dir: t.TempDir(), Log: quiet()}), t.Context()
	f.queue(CommandSpec{Command: "sync"})
	if err := f.SetJoinToken(ctx, root, f.berlin.ID, "0123456789abcdef", "hash", time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "copy.db")
	if err := Backup(ctx, Options{DSN: f.file(), Log: quiet()}, file, false); err != nil {
		t.Fatal(err)
	}
	streams := func(s *Store) map[string]string {
		all := map[string]string{}
		for _, c := range s.Read().Counter.Query().AllX(ctx) {
			all[c.ID] = c.Stream
		}
		return all
	}
	before := streams(f.Store)
	restart := func() map[string]string {
		s, err := Open(ctx, Options{DSN: file, Log: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if n := s.Read().AuditEntry.Query().Where(auditentry.Action("database.restored")).CountX(ctx); n != 1 {
			t.Errorf("%d audit entries", n)
		}
		if s.Read().DeviceGroup.GetX(ctx, f.berlin.ID).AgentTokenHash != nil {
			t.Error("a join token that may have been used opens again")
		}
		if c, err := s.Command(ctx, f.berlin.ID, 1); err != nil || c.State != "sent" || c.SentAt == nil {
			t.Errorf("a command that the agent may have begun after the backup is %+v, %v", c, err)
		}
		return streams(s)
	}
	first := restart()
	if len(first) != 3 || len(before) != 3 {
		t.Errorf("there are %v and %v", before, first)
	}
	for name, stream := range first {
		if stream == before[name] {
			t.Errorf("the stream of %s is that of before", name)
		}
	}
	if second := restart(); fmt.Sprint(second) != fmt.Sprint(first) {
		t.Errorf("started again it has %v, and had %v", second, first)
	}
	if after := streams(f.Store); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("the database itself has %v, and had %v", after, before)
	}
}

// PostgreSQL is restored by its own tools, into another database or with another history.
func TestPostgresTellsARestoredDatabase(t *testing.T) {
	o, ctx := Options{DSN: postgres(t, databases.Empty), Log: quiet()}, t.Context()
	stream := func() string {
		s, err := Open(ctx, o)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		e, err := s.Epoch(ctx, ContentCounter)
		if err != nil {
			t.Fatal(err)
		}
		return e.Stream
	}
	first := stream()
	if stream() != first {
		t.Error("a restart began a new stream")
	}
	s := open(t, o)
	// As in a dump that was made of another database.
	err := s.Write(ctx, func(tx *ent.Tx) error {
		return tx.Counter.Update().Where(counter.ID(ContentCounter)).SetOrigin("1:2:00000001").Exec(ctx)
	})
	if err != nil {
		t.Fatal(err)
	}
	second := stream()
	if second == first || stream() != second {
		t.Errorf("after a restore it is %s, and was %s", second, first)
	}
	if err := Restored(ctx, o); err != nil {
		t.Fatal(err)
	}
	if third := stream(); third == second {
		t.Error("what the administrator said changed nothing")
	}
}

func TestAnUpgradeOfSQLiteLeavesABackup(t *testing.T) {
	o := Options{Dir: t.TempDir(), Log: quiet()}
	db, p, steps := earlier(t, o)
	if _, err := p.UpTo(t.Context(), steps[0].Version); err != nil {
		t.Fatal(err)
	}
	fill(t, db, "sqlite3")
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for _, version := range []string{"1", "20260101000000", "20260102000000", "20260103000000", "note"} {
		if err := os.WriteFile(filepath.Join(o.Dir, "pureboot.db."+version+".bak"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, torn := range []string{"tmp", "tmp-journal"} { // of a process that was killed
		if err := os.WriteFile(filepath.Join(o.Dir, fmt.Sprintf("pureboot.db.%d.bak.12345.%s", steps[0].Version, torn)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	before := open(t, o)
	found, err := filepath.Glob(filepath.Join(o.Dir, "*.bak*"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, name := range found {
		names = append(names, strings.TrimPrefix(filepath.Base(name), "pureboot.db."))
	}
	backup := fmt.Sprintf("%d.bak", steps[0].Version)
	if want := []string{"20260102000000.bak", "20260103000000.bak", backup, "note.bak"}; !slices.Equal(names, want) {
		t.Errorf("there are %v, want %v", names, want)
	}
	// It is a whole database of the old version.
	file := filepath.Join(o.Dir, "pureboot.db."+backup)
	list, err := Migrations(t.Context(), Options{DSN: file})
	if err != nil || list[0].AppliedAt == nil || list[1].AppliedAt != nil {
		t.Errorf("the backup is at %+v, %v", list, err)
	}
	restored := open(t, Options{DSN: file, Log: quiet()})
	was, err1 := before.Epoch(t.Context(), NodeCounter)
	is, err2 := restored.Epoch(t.Context(), NodeCounter)
	if err := errors.Join(err1, err2); err != nil || was.Stream == is.Stream || was.N != is.N {
		t.Errorf("the backup begins at %v, and the database at %v, %v", is, was, err)
	}
	if n := restored.Read().DeviceGroup.Query().CountX(t.Context()); n != 2 {
		t.Errorf("the backup has %d groups", n)
	}
}
