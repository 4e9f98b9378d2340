package lifecycle

import (
	"fmt"
	"slices"
	"strings"
)

// Decision is how far a question to the administrators has come: a claim to a node, or any other approval.
type Decision string

// The decisions. All but Undecided are final.
const (
	Undecided Decision = "pending"
	Approved  Decision = "approved"
	Rejected  Decision = "rejected"
	Expired   Decision = "expired" // nobody decided in time
)

// Next returns the decisions that may follow d; none follows a final one.
func (d Decision) Next() []Decision {
	if d == Undecided {
		return []Decision{Approved, Rejected, Expired}
	}
	return nil
}

// To says by a *StepError why d cannot become another decision; nil if it can.
func (d Decision) To(to Decision) error { return step(d, to, d.Next()) }

// StepError is a step that the rules do not allow.
type StepError struct {
	From, To string
	Valid    []string // what may follow From
}

func (e *StepError) Error() string {
	if len(e.Valid) == 0 {
		return fmt.Sprintf("it is %s, which is final", e.From)
	}
	return fmt.Sprintf("%s cannot become %s: valid are %s", e.From, e.To, strings.Join(e.Valid, ", "))
}

func step[S ~string](from, to S, next []S) error {
	if slices.Contains(next, to) {
		return nil
	}
	e := &StepError{From: string(from), To: string(to)}
	for _, s := range next {
		e.Valid = append(e.Valid, string(s))
	}
	return e
}
