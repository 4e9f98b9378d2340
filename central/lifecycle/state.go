package lifecycle

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// State is where a node is in its life.
type State string

// The states of a node, in the order a node usually passes them.
const (
	Discovered     State = "discovered"     // seen by a boot request, claimed by nobody
	Pending        State = "pending"        // to be installed at its next boot
	Installing     State = "installing"     // its installer has been started
	InstallFailed  State = "install_failed" // out of attempts; only an admin moves it on
	Installed      State = "installed"      // the installer said it is done
	Active         State = "active"         // its own system has booted
	Reprovision    State = "reprovision"    // chosen to be installed again, not released yet
	Deprovisioning State = "deprovisioning" // on its way out
	Migrating      State = "migrating"      // moving to another site
	Retired        State = "retired"        // kept for the record
)

// States lists every state, in the order of the constants.
var States = []State{
	Discovered, Pending, Installing, InstallFailed, Installed, Active, Reprovision, Deprovisioning, Migrating, Retired,
}

// next holds the transitions an admin may ask for; Retired is reachable from everywhere and added by Next.
var next = map[State][]State{
	Discovered:     {Pending},
	Pending:        {Installing},
	Installing:     {Installed, InstallFailed},
	InstallFailed:  {Pending},
	Installed:      {Active, Reprovision},
	Active:         {Reprovision, Deprovisioning, Migrating},
	Reprovision:    {Pending},
	Deprovisioning: {},
	Migrating:      {Active},
}

// ErrState says that a text names no state.
var ErrState = errors.New("not a node state")

// ParseState reads the name of a state.
func ParseState(s string) (State, error) {
	if !slices.Contains(States, State(s)) {
		return "", fmt.Errorf("%q: %w: want one of %s", clip(s), ErrState, names(States))
	}
	return State(s), nil
}

// Next returns the states that may follow s, Retired last. Nothing follows Retired.
func (s State) Next() []State {
	if s == Retired {
		return nil
	}
	return append(slices.Clone(next[s]), Retired)
}

// TransitionError is a transition that the rules do not allow.
type TransitionError struct {
	From, To State
	Valid    []State // what may follow From
}

func (e *TransitionError) Error() string {
	if len(e.Valid) == 0 {
		return fmt.Sprintf("%s cannot become %s: nothing follows %s", e.From, e.To, e.From)
	}
	return fmt.Sprintf("%s cannot become %s: valid are %s", e.From, e.To, names(e.Valid))
}

// Step is one change of state.
type Step struct{ From, To State }

// reports are the steps that a machine may report of itself. The others are an admin's.
var reports = []Step{
	{Pending, Installing},
	{Installing, Installed},
	{Installing, InstallFailed},
	{Installed, Active},
}

// Reportable says whether a machine may take the step on its own word, with its node token and no admin.
func (s Step) Reportable() bool { return slices.Contains(reports, s) }

func names(states []State) string {
	list := make([]string, len(states))
	for i, s := range states {
		list[i] = string(s)
	}
	return strings.Join(list, ", ")
}
