package lifecycle

import (
	"fmt"
	"time"
)

// Script is the kind of answer a machine's firmware gets when it asks what to boot.
type Script string

// The kinds of script.
const (
	ServeInstaller Script = "installer" // the node's workflow
	ServeLocal     Script = "local"     // the local disk, with a message on the console
	ServeWait      Script = "wait"      // ask again soon: there is nothing to install yet
	ServeOnce      Script = "once"      // the workflow that an administrator ordered for this boot
)

// Serve decides which script the node gets now, and what the console says about it. It only looks: asking for a
// script moves nothing, since people and scanners ask too.
func (in Install) Serve(hasWorkflow bool, now time.Time) (Script, string) {
	switch order := in.Order(hasWorkflow); order {
	case "":
		return in.serve(hasWorkflow, now)
	case NextLocal:
		return ServeLocal, "An administrator ordered the local disk for this boot."
	case NextInstaller:
		return ServeInstaller, fmt.Sprintf("An administrator ordered its installation. Installing, attempt 1 of %d.", MaxAttempts)
	}
	return ServeOnce, "An administrator ordered this for one boot."
}

// serve is Serve by the state alone.
func (in Install) serve(hasWorkflow bool, now time.Time) (Script, string) {
	switch in.State {
	case Discovered:
		return ServeLocal, "This machine is known but not set up: an administrator has to choose what it runs."
	case Pending:
		if !hasWorkflow {
			return ServeWait, "This machine is to be installed, but it has no workflow yet. Asking again."
		}
		return ServeInstaller, fmt.Sprintf("Installing, attempt %d of %d.", in.Attempts+1, MaxAttempts)
	case Installing:
		switch {
		case !in.RetryDue(now):
			return ServeLocal, "Its installation is under way."
		case in.Attempts >= MaxAttempts:
			return ServeLocal, fmt.Sprintf("Its installation failed %d times: an administrator has to look.", in.Attempts)
		case !hasWorkflow:
			return ServeWait, "Its installation failed, and it has no workflow any more. Asking again."
		}
		return ServeInstaller, fmt.Sprintf("Installing, attempt %d of %d.", in.Attempts+1, MaxAttempts)
	case InstallFailed:
		return ServeLocal, "Its installation failed: an administrator has to look."
	}
	return ServeLocal, fmt.Sprintf("This machine is %s.", in.State)
}

// TokenValid says whether a node token of installation seq still opens anything: until the installed system has
// booted, a newer installation begins or the node is retired.
func (in Install) TokenValid(seq int64) bool {
	if seq != in.Seq || seq == 0 {
		return false
	}
	switch in.State {
	case Pending, Installing, InstallFailed, Installed:
		return true
	}
	return false
}

// Renders says whether the node's templates, which may hold secrets of its installation, are handed out now.
func (in Install) Renders() bool { return in.State == Pending || in.State == Installing }
