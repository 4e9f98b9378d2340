package node

import (
	"fmt"
	"testing"

	"github.com/pureboot/pureboot/central/wire"
)

func lines(pairs ...string) (all []Line) {
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, Line{ID: pairs[i], Text: []byte(pairs[i+1])})
	}
	return all
}

func (s *Store) wantJournal(t *testing.T, at wire.Epoch, want ...string) {
	t.Helper()
	epoch, got, err := s.Journal(t.Context())
	if err != nil || epoch != at || fmt.Sprintf("%s", got) != fmt.Sprintf("%s", lines(want...)) {
		t.Errorf("the journal is at %v, %s, %v; want %v, %v", epoch, got, err, at, want)
	}
}

func TestTheJournalKeepsItsOrder(t *testing.T) {
	dir := t.TempDir()
	s := at(t, dir, nil)
	s.wantJournal(t, wire.Epoch{})
	one, two := wire.Epoch{Stream: "s", N: 1}, wire.Epoch{Stream: "s", N: 2}
	if err := s.WriteJournal(t.Context(), one, lines("b", "1", "a", "2", "c", "3"), nil); err != nil {
		t.Fatal(err)
	}
	s.wantJournal(t, one, "b", "1", "a", "2", "c", "3")
	if err := s.WriteJournal(t.Context(), two, lines("b", "changed", "d", "4"), []string{"a", "unknown"}); err != nil {
		t.Fatal(err)
	}
	if err := s.SetEpoch(t.Context(), wire.Epoch{Stream: "nodes", N: 9}); err != nil { // which is another one
		t.Fatal(err)
	}
	s.Close()
	s = at(t, dir, nil)
	s.wantJournal(t, two, "b", "changed", "c", "3", "d", "4")
	if err := s.WriteJournal(t.Context(), two, lines("b", "last"), []string{"b"}); err != nil {
		t.Fatal(err)
	}
	s.wantJournal(t, two, "c", "3", "d", "4", "b", "last")
	if err := s.WriteJournal(t.Context(), wire.Epoch{}, nil, []string{"b", "c", "d"}); err != nil {
		t.Fatal(err)
	}
	s.wantJournal(t, wire.Epoch{})
}

func TestAJournalThatCannotBeWrittenIsAsBefore(t *testing.T) {
	s := at(t, t.TempDir(), nil)
	before := wire.Epoch{Stream: "s", N: 1}
	if err := s.WriteJournal(t.Context(), before, lines("a", "1"), nil); err != nil {
		t.Fatal(err)
	}
	// The last of its statements fails.
	if _, err := s.write.Exec("CREATE TRIGGER no BEFORE UPDATE ON cursors BEGIN SELECT RAISE(ABORT, 'no'); END"); err != nil {
		t.Fatal(err)
	}
	if err := s.WriteJournal(t.Context(), wire.Epoch{Stream: "s", N: 2}, lines("a", "2", "b", "3"), nil); err == nil {
		t.Error("no error")
	}
	s.wantJournal(t, before, "a", "1")
}

func TestOneMachinesCopyIsMarked(t *testing.T) {
	s := at(t, t.TempDir(), nil)
	if known, err := s.ExpireMAC(t.Context(), "52:54:00:00:00:01"); known || err != nil {
		t.Errorf("of no machine: %v, %v", known, err)
	}
	for i, mac := range []string{"52:54:00:00:00:01", "52:54:00:00:00:02"} {
		boot := wire.Boot{Node: wire.Node{ID: fmt.Sprint("n", i), MACAddress: mac, Version: 1}}
		if _, err := s.put(t.Context(), boot, moment{marks: s.marks.Load()}); err != nil {
			t.Fatal(err)
		}
	}
	if known, err := s.ExpireMAC(t.Context(), "52:54:00:00:00:01"); !known || err != nil {
		t.Errorf("%v, %v", known, err)
	}
	for mac, want := range map[string]bool{"52:54:00:00:00:01": true, "52:54:00:00:00:02": false} {
		if _, expired, err := copyOf(t.Context(), s.read, byMAC, mac); err != nil || expired != want {
			t.Errorf("%s is marked: %v, %v", mac, expired, err)
		}
	}
}
