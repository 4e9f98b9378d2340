package lifecycle

import (
	"errors"
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
