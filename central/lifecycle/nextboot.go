package lifecycle

import (
	"slices"
	"time"
)

// NextBoot is an administrator's order for one boot of a machine, over what its state says: NextLocal, NextInstaller,
// or the id of a workflow to run once. The empty one is none.
//
// An order is carried out by the machine, once: the script that it is served reports so by a BootStarted event that
// names the order, right before it goes on. A script that installs or runs a workflow goes on only if that report was
// taken, else it leaves the machine to its local disk: a report that gets lost can delay an order, never repeat it.
type NextBoot string

// The orders that name no workflow.
const (
	NextLocal     NextBoot = "local"     // the local disk, where the state says to install
	NextInstaller NextBoot = "installer" // the node's workflow, in whatever state it is
)

// Workflow returns the id of the workflow that is to run once, or nothing.
func (b NextBoot) Workflow() string {
	if b == NextLocal || b == NextInstaller {
		return ""
	}
	return string(b)
}

// roads are the steps that an order to install takes on the way to Pending: those that an administrator would take.
var roads = map[State][]State{
	Discovered:    {Pending},
	Pending:       {},
	Installing:    {InstallFailed, Pending},
	InstallFailed: {Pending},
	Installed:     {Reprovision, Pending},
	Active:        {Reprovision, Pending},
	Reprovision:   {Pending},
}

// Allowed says whether the order may be given to a node in a state. A retired node boots its disk alone; one that
// moves, or is on its way out, is not installed before an administrator has taken it back.
func (b NextBoot) Allowed(in State) bool {
	switch b {
	case "":
		return true
	case NextInstaller:
		_, ok := roads[in]
		return ok
	}
	return in != Retired
}

// Order returns the order that the next boot carries out; empty when the state decides. A pending node is installed
// by its state, and an order to install without a workflow waits until there is one.
func (in Install) Order(hasWorkflow bool) NextBoot {
	if !in.Next.Allowed(in.State) || in.Next == NextInstaller && (in.State == Pending || !hasWorkflow) {
		return ""
	}
	return in.Next
}

// TokenSeq returns the installation that a script served now is of: an order to install begins a new one.
func (in Install) TokenSeq() int64 {
	if in.Order(true) == NextInstaller {
		return in.Seq + 1
	}
	return in.Seq
}

// carryOut is On of an event that names an order. One that no longer stands changes nothing.
func (in Install) carryOut(order NextBoot, now time.Time) (Install, []Step) {
	if order != in.Order(true) {
		return in, nil
	}
	in.Next = ""
	if order != NextInstaller {
		return in, nil
	}
	var steps []Step
	for _, to := range append(slices.Clone(roads[in.State]), Installing) {
		steps = append(steps, Step{From: in.State, To: to})
		in = in.enter(to, false)
	}
	in.Attempts, in.LastError, in.StartedAt = in.Attempts+1, "", now
	return in, steps
}
