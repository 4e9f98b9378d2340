package lifecycle

import (
	"errors"
	"slices"
	"testing"
	"time"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// effects is what each report does, by the node's state. A pair that is not listed changes nothing. The node is in
// its first attempt when it installs, and in none while pending.
var effects = map[State]map[EventType]effect{
	Pending: {
		BootStarted:     {to: "installing", attempts: 1},
		InstallStarted:  {to: "installing", attempts: 1},
		InstallComplete: {to: "installing installed", attempts: 1},
		InstallFailure:  {to: "installing", attempts: 1, failed: true},
		FirstBoot:       {to: "installing installed active", attempts: 1},
	},
	Installing: {
		InstallComplete: {to: "installed", attempts: 1},
		InstallFailure:  {attempts: 1, failed: true},
		FirstBoot:       {to: "installed active", attempts: 1},
	},
	Installed: {
		FirstBoot: {to: "active"},
	},
}

type effect struct {
	to       string // the states it passes
	attempts int
	failed   bool
}

func TestEveryEventInEveryState(t *testing.T) {
	for _, state := range States {
		for _, kind := range EventTypes {
			for _, status := range append([]EventStatus{""}, EventStatuses...) {
				in := Install{State: state, Seq: 3}
				if state == Installing {
					in.Attempts, in.StartedAt = 1, noon
				}
				meant := kind
				if kind == InstallComplete && status == Failed {
					meant = InstallFailure
				}
				want, moves := effects[state][meant]

				got, steps := in.On(Event{Type: kind, Status: status, Message: "no disk"}, noon.Add(time.Minute))
				if !moves {
					if got != in || steps != nil {
						t.Errorf("%s, %s %s: %+v by %v, want no effect", state, kind, status, got, steps)
					}
					continue
				}
				if passed := path(steps); passed != want.to {
					t.Errorf("%s, %s %s: passed %q, want %q", state, kind, status, passed, want.to)
				}
				if got.Attempts != want.attempts || (got.LastError == "no disk") != want.failed || got.Seq != 3 {
					t.Errorf("%s, %s %s: %+v, want %+v", state, kind, status, got, want)
				}
				if len(steps) > 0 && (steps[0].From != state || steps[len(steps)-1].To != got.State) {
					t.Errorf("%s, %s %s: steps %v end in %s", state, kind, status, steps, got.State)
				}
				for _, s := range steps {
					if !s.Reportable() {
						t.Errorf("%s, %s %s: took %v, which is an admin's", state, kind, status, s)
					}
				}
			}
		}
	}
}

func path(steps []Step) string {
	var s string
	for _, step := range steps {
		if s != "" {
			s += " "
		}
		s += string(step.To)
	}
	return s
}

func TestThreeFailuresEndAnInstallation(t *testing.T) {
	in, now := Install{State: Pending, Seq: 1}, noon
	for n := 1; n <= MaxAttempts; n++ {
		in, _ = in.On(Event{Type: BootStarted}, now)
		if in.State != Installing || in.Attempts != n || in.LastError != "" || !in.StartedAt.Equal(now) {
			t.Fatalf("attempt %d: %+v", n, in)
		}
		again, _ := in.On(Event{Type: InstallStarted}, now.Add(time.Second))
		if again != in {
			t.Fatalf("attempt %d: the installer's own report counted it again: %+v", n, again)
		}
		in, _ = in.On(Event{Type: InstallFailure}, now.Add(time.Minute))
		if in.LastError == "" {
			t.Fatalf("attempt %d: a failure without a message left no error", n)
		}
		late, _ := in.On(Event{Type: InstallFailure, Message: "again"}, now.Add(time.Minute))
		if late != in {
			t.Fatalf("attempt %d: a second report of the failure changed it: %+v", n, late)
		}
		now = now.Add(2 * time.Minute)
	}
	if in.State != InstallFailed {
		t.Fatalf("after %d failures: %s", MaxAttempts, in.State)
	}
	if stay, steps := in.On(Event{Type: BootStarted}, now); stay != in || steps != nil {
		t.Errorf("a machine left install_failed by itself: %+v", stay)
	}
}

func TestATimedOutAttemptMakesRoomForTheNext(t *testing.T) {
	in := Install{State: Installing, Seq: 1, Attempts: 1, StartedAt: noon}
	if same, _ := in.On(Event{Type: BootStarted}, noon.Add(InstallTimeout-1)); same != in {
		t.Errorf("before the timeout: %+v", same)
	}
	next, steps := in.On(Event{Type: BootStarted}, noon.Add(InstallTimeout))
	if next.Attempts != 2 || steps != nil {
		t.Errorf("after the timeout: %+v by %v", next, steps)
	}
	in.Attempts = MaxAttempts
	if same, _ := in.On(Event{Type: BootStarted}, noon.Add(InstallTimeout)); same != in {
		t.Errorf("after the last attempt: %+v", same)
	}
}

func TestParseEventType(t *testing.T) {
	for _, e := range EventTypes {
		if got, err := ParseEventType(string(e)); got != e || err != nil {
			t.Errorf("%s: %q, %v", e, got, err)
		}
	}
	for _, bad := range []string{"", "install", "BOOT_STARTED"} {
		if _, err := ParseEventType(bad); !errors.Is(err, ErrEvent) {
			t.Errorf("%q: %v, want ErrEvent", bad, err)
		}
	}
	if !slices.Equal(EventStatuses, []EventStatus{"success", "failed", "in_progress"}) {
		t.Errorf("statuses: %v", EventStatuses)
	}
}
