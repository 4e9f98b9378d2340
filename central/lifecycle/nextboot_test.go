package lifecycle

import (
	"slices"
	"testing"
	"time"
)

const tool = NextBoot("6f1c1a52-6c1e-4b86-9d2b-0d9d6a0a3c11")

// ordered is what an order makes of the next boot, by the node's state. What is not listed here the state decides, and
// nobody may order it.
var ordered = map[State]map[NextBoot]order{
	Discovered:     {NextLocal: {serve: ServeLocal}, NextInstaller: {ServeInstaller, "pending installing"}, tool: {serve: ServeOnce}},
	Pending:        {NextLocal: {serve: ServeLocal}, tool: {serve: ServeOnce}},
	Installing:     {NextLocal: {serve: ServeLocal}, NextInstaller: {ServeInstaller, "install_failed pending installing"}, tool: {serve: ServeOnce}},
	InstallFailed:  {NextLocal: {serve: ServeLocal}, NextInstaller: {ServeInstaller, "pending installing"}, tool: {serve: ServeOnce}},
	Installed:      {NextLocal: {serve: ServeLocal}, NextInstaller: {ServeInstaller, "reprovision pending installing"}, tool: {serve: ServeOnce}},
	Active:         {NextLocal: {serve: ServeLocal}, NextInstaller: {ServeInstaller, "reprovision pending installing"}, tool: {serve: ServeOnce}},
	Reprovision:    {NextLocal: {serve: ServeLocal}, NextInstaller: {ServeInstaller, "pending installing"}, tool: {serve: ServeOnce}},
	Deprovisioning: {NextLocal: {serve: ServeLocal}, tool: {serve: ServeOnce}},
	Migrating:      {NextLocal: {serve: ServeLocal}, tool: {serve: ServeOnce}},
}

type order struct {
	serve Script
	path  string // of the states, when it is carried out
}

func TestEveryOrderInEveryState(t *testing.T) {
	soon := noon.Add(time.Minute)
	for _, state := range States {
		for _, next := range []NextBoot{NextLocal, NextInstaller, tool} {
			in := Install{State: state, Seq: 4, Attempts: 2, LastError: "no disk", StartedAt: noon, Next: next}
			byState := in
			byState.Next = ""
			want, valid := ordered[state][next]
			pendingAnyway := state == Pending && next == NextInstaller
			if next.Allowed(state) != (valid || pendingAnyway) {
				t.Errorf("%s, %s: allowed %v", state, next, next.Allowed(state))
			}
			script, says := in.Serve(true, soon)
			got, steps := in.On(Event{Type: BootStarted, Order: next}, soon)
			if !valid {
				if like, word := byState.Serve(true, soon); script != like || says != word {
					t.Errorf("%s, %s: served %s (%s), the state says %s", state, next, script, says, like)
				}
				if got != in || steps != nil || in.Order(true) != "" || in.TokenSeq() != 4 {
					t.Errorf("%s, %s: carried out: %+v by %v", state, next, got, steps)
				}
				continue
			}
			if script != want.serve || in.Order(true) != next {
				t.Errorf("%s, %s: served %s (%s), order %q", state, next, script, says, in.Order(true))
			}
			if path(steps) != want.path || got.Next != "" {
				t.Errorf("%s, %s: passed %q, want %q; left %q", state, next, path(steps), want.path, got.Next)
			}
			if next != NextInstaller && got != byState {
				t.Errorf("%s, %s: became %+v", state, next, got)
			}
			if next == NextInstaller && got != (Install{State: Installing, Seq: 5, Attempts: 1, StartedAt: soon}) {
				t.Errorf("%s, %s: became %+v", state, next, got)
			}
			if got.Seq != in.TokenSeq() {
				t.Errorf("%s, %s: installation %d has a token of %d", state, next, got.Seq, in.TokenSeq())
			}
			for _, s := range steps {
				if !allowed(s.From, s.To) {
					t.Errorf("%s, %s: took %v, which nobody may", state, next, s)
				}
			}
			if again, steps := got.On(Event{Type: BootStarted, Order: next}, soon); again != got || steps != nil {
				t.Errorf("%s, %s: carried out twice: %+v by %v", state, next, again, steps)
			}
		}
	}
}

func TestAnotherOrderIsNotCarriedOut(t *testing.T) {
	for _, given := range []NextBoot{"", NextLocal, NextInstaller, tool} {
		for _, told := range []NextBoot{NextLocal, NextInstaller, tool, "x"} {
			in := Install{State: Active, Seq: 1, Next: given}
			if got, steps := in.On(Event{Type: BootStarted, Order: told}, noon); (got != in || steps != nil) != (given == told) {
				t.Errorf("ordered %q, told %q: %+v by %v", given, told, got, steps)
			}
		}
	}
}

func TestAnOrderToInstallNeedsAWorkflow(t *testing.T) {
	for _, state := range States {
		in, bare := Install{State: state, Next: NextInstaller, StartedAt: noon}, Install{State: state, StartedAt: noon}
		got, _ := in.Serve(false, noon)
		if want, _ := bare.Serve(false, noon); got != want || in.Order(false) != "" {
			t.Errorf("%s: served %s, want %s", state, got, want)
		}
	}
}

// TestAnOrderToInstallEndsWithAnInstallation: one that was given before an installation ended would else wipe what it
// has just made.
func TestAnOrderToInstallEndsWithAnInstallation(t *testing.T) {
	for _, next := range []NextBoot{NextLocal, NextInstaller, tool} {
		pending := Install{State: Pending, Next: next}
		begun, _ := pending.On(Event{Type: BootStarted}, noon)
		installing := Install{State: Installing, Next: next, StartedAt: noon}
		done, _ := installing.On(Event{Type: InstallComplete}, noon)
		forced, _ := Install{State: Active, Next: next}.To(Installing, true, noon)
		for _, in := range []Install{begun, done, forced} {
			if stays := next != NextInstaller; (in.Next == next) != stays {
				t.Errorf("%s: left %q when %s", next, in.Next, in.State)
			}
		}
		if gone, _ := (Install{State: Active, Next: next}).To(Retired, false, noon); gone.Next != "" {
			t.Errorf("%s: a retired node is still ordered %q", next, gone.Next)
		}
	}
	if slices.ContainsFunc(States, func(s State) bool { return !NextBoot("").Allowed(s) }) {
		t.Error("an order cannot be taken back")
	}
}
