package lifecycle

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"
)

// EventType is what a machine reports of itself.
type EventType string

// The events.
const (
	BootStarted     EventType = "boot_started"     // the installer's script is about to boot the kernel
	InstallStarted  EventType = "install_started"  // the installer itself runs
	InstallProgress EventType = "install_progress" // how far it is
	InstallComplete EventType = "install_complete" // the system is on the disk
	InstallFailure  EventType = "install_failed"   // this attempt is over
	FirstBoot       EventType = "first_boot"       // the installed system has booted
	Heartbeat       EventType = "heartbeat"        // the machine is alive
)

// EventTypes lists every event.
var EventTypes = []EventType{
	BootStarted, InstallStarted, InstallProgress, InstallComplete, InstallFailure, FirstBoot, Heartbeat,
}

// ErrEvent says that a text names no event.
var ErrEvent = errors.New("not an event type")

// ParseEventType reads the name of an event.
func ParseEventType(s string) (EventType, error) {
	if !slices.Contains(EventTypes, EventType(s)) {
		return "", fmt.Errorf("%q: %w", clip(s), ErrEvent)
	}
	return EventType(s), nil
}

// EventStatus is how a reported step went.
type EventStatus string

// The outcomes of a reported step.
const (
	Success    EventStatus = "success"
	Failed     EventStatus = "failed"
	InProgress EventStatus = "in_progress"
)

// EventStatuses lists every outcome.
var EventStatuses = []EventStatus{Success, Failed, InProgress}

// Event is the part of a machine's report that can move it.
type Event struct {
	Type    EventType
	Status  EventStatus // install_complete that failed is install_failed
	Message string      // the error of a failed attempt
	Order   NextBoot    // that a BootStarted carries out; empty for what the state says
}

// On returns what an event makes of the node, and the steps its state took to get there, for the log. An event that
// means nothing in the node's state changes nothing: reports arrive twice, late and out of order, and a report is
// never a reason to install a machine again.
//
// A lost report does not strand the node: install_complete from a node still pending passes through installing, and
// first_boot from one still installing passes through installed.
func (in Install) On(e Event, now time.Time) (Install, []Step) {
	if e.Order != "" {
		return in.carryOut(e.Order, now)
	}
	var steps []Step
	step := func(to State) {
		steps = append(steps, Step{From: in.State, To: to})
		in = in.enter(to, false)
	}
	attempt := func() {
		if in.State == Pending {
			step(Installing)
		} else if !in.RetryDue(now) || in.Attempts >= MaxAttempts {
			return
		}
		in.Attempts, in.LastError, in.StartedAt = in.Attempts+1, "", now
	}

	kind := e.Type
	if kind == InstallComplete && e.Status == Failed {
		kind = InstallFailure
	}
	switch kind {
	case BootStarted, InstallStarted:
		attempt()
	case InstallComplete, FirstBoot:
		if in.State == Pending {
			attempt()
		}
		if in.State == Installing {
			in.LastError = ""
			step(Installed)
		}
		if in.State == Installed && kind == FirstBoot {
			step(Active)
		}
	case InstallFailure:
		if in.State == Pending {
			attempt()
		}
		if in.State == Installing && in.LastError == "" {
			in.LastError = cmp.Or(e.Message, "the installer reported a failure without a message")
			if in.Attempts >= MaxAttempts {
				step(InstallFailed)
			}
		}
	}
	return in, steps
}
