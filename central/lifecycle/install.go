package lifecycle

import (
	"slices"
	"time"
)

// MaxAttempts is how often a machine's installer is started before an admin has to look.
const MaxAttempts = 3

// InstallTimeout is how long an attempt may take before the installer is served again.
const InstallTimeout = 60 * time.Minute

// Install is what a node's boots are decided by: its state, and how far its current installation has come.
type Install struct {
	State     State
	Seq       int64     // grows each time the node becomes pending; a node token is good for one Seq
	Attempts  int       // installers started in this Seq
	LastError string    // of the latest attempt; empty while it runs
	StartedAt time.Time // of the latest attempt; zero before the first
	Next      NextBoot  // order for one boot, over what the state says
}

// Discover returns how the life of an unknown machine begins at a site: pending at once when the site provisions
// automatically and has a workflow to do it with.
func Discover(autoProvision, hasWorkflow bool) Install {
	if autoProvision && hasWorkflow {
		return Install{State: Pending, Seq: 1}
	}
	return Install{State: Discovered}
}

// To moves the node to another state, as an admin asks. A transition the rules do not allow is a *TransitionError,
// unless force is set; force also forgets the attempts. Whoever says that a node is installing says that an attempt
// has begun: without its time the installer would be served again at once.
func (in Install) To(to State, force bool, now time.Time) (Install, error) {
	if !force && !allowed(in.State, to) {
		return in, &TransitionError{From: in.State, To: to, Valid: in.State.Next()}
	}
	in = in.enter(to, force)
	if to == Installing {
		in.Attempts, in.LastError, in.StartedAt = in.Attempts+1, "", now
	}
	return in, nil
}

// enter takes the step without asking whether it is allowed.
func (in Install) enter(to State, forget bool) Install {
	if to == Pending && in.State != Pending {
		in.Seq++
		forget = true
	}
	if to == Retired || in.Next == NextInstaller && (to == Installing || to == Installed) {
		in.Next = "" // an installation that began or ended is the one that was ordered
	}
	if forget {
		in.Attempts, in.LastError, in.StartedAt = 0, "", time.Time{}
	}
	in.State = to
	return in
}

func allowed(from, to State) bool { return slices.Contains(from.Next(), to) }

// RetryDue says whether the attempt that was under way is over without success, so that another may begin.
func (in Install) RetryDue(now time.Time) bool {
	return in.State == Installing && (in.LastError != "" || now.Sub(in.StartedAt) >= InstallTimeout)
}
