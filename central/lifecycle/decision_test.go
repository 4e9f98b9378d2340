package lifecycle

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestADecisionIsTakenOnce(t *testing.T) {
	all := []Decision{Undecided, Approved, Rejected, Expired}
	for _, from := range all {
		for _, to := range all {
			err := from.To(to)
			if may := from == Undecided && to != Undecided; may != (err == nil) {
				t.Errorf("from %s to %s: %v", from, to, err)
			}
			if e, is := errors.AsType[*StepError](err); err != nil && (!is || e.From != string(from) || (from != Undecided) != strings.Contains(e.Error(), "final")) {
				t.Errorf("from %s to %s: %v", from, to, err)
			}
		}
	}
}

func TestACommandOnlyGoesForward(t *testing.T) {
	order := []CommandState{CommandQueued, CommandSent, CommandAccepted, CommandRunning, CommandSucceeded}
	final := []CommandState{CommandSucceeded, CommandFailed, CommandRejected, CommandExpired, CommandCanceled, CommandSuperseded}
	for i, from := range order {
		for j, to := range order {
			// A sent command may skip states whose reports were lost; one in the queue is sent first.
			may := j > i && (i > 0 || j == 1)
			if err := from.To(to); may != (err == nil) {
				t.Errorf("from %s to %s: %v", from, to, err)
			}
		}
		if from.Final() != slices.Contains(final, from) {
			t.Errorf("%s is final: %v", from, from.Final())
		}
	}
	for _, from := range final {
		if len(from.Next()) > 0 {
			t.Errorf("%s is followed by %v", from, from.Next())
		}
	}
	for from, may := range map[CommandState]bool{CommandQueued: true, CommandSent: true, CommandAccepted: true, CommandRunning: false} {
		if err := from.To(CommandCanceled); may != (err == nil) {
			t.Errorf("canceling what is %s: %v", from, err)
		}
	}
	if err := CommandState("lost").To(CommandSent); err == nil {
		t.Error("an unknown state is followed by something")
	}
}
