package lifecycle

import (
	"strings"
	"testing"
)

// The table of a command's life, written out: a row for each state, a column for what it may become.
func TestTheLifeOfACommand(t *testing.T) {
	rows := map[CommandState]string{ // in the order of CommandStates
		CommandQueued:     "-S-----ECU",
		CommandSent:       "--ARsfrECU",
		CommandAccepted:   "---RsfrECU",
		CommandRunning:    "----sfr---",
		CommandSucceeded:  "----------",
		CommandFailed:     "----------",
		CommandRejected:   "----------",
		CommandExpired:    "----------",
		CommandCanceled:   "----------",
		CommandSuperseded: "----------",
	}
	if len(rows) != len(CommandStates) {
		t.Fatalf("%d rows for %d states", len(rows), len(CommandStates))
	}
	for from, row := range rows {
		for i, to := range CommandStates {
			err := from.To(to)
			if may := row[i] != '-'; may != (err == nil) {
				t.Errorf("%s -> %s: %v", from, to, err)
			}
		}
		if final := !strings.ContainsFunc(row, func(r rune) bool { return r != '-' }); from.Final() != final {
			t.Errorf("%s is final: %v", from, from.Final())
		}
	}
	if err := CommandState("lost").To(CommandSent); err == nil {
		t.Error("a state that is none was left")
	}
}
