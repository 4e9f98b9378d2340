package lifecycle

import (
	"strings"
	"testing"
	"time"
)

func TestWhichScriptIsServed(t *testing.T) {
	soon, late := noon.Add(time.Minute), noon.Add(InstallTimeout)
	running := Install{State: Installing, Attempts: 1, StartedAt: noon}
	failed := Install{State: Installing, Attempts: 1, StartedAt: noon, LastError: "no disk"}
	spent := Install{State: Installing, Attempts: MaxAttempts, StartedAt: noon}
	for _, c := range []struct {
		name     string
		in       Install
		workflow bool
		now      time.Time
		want     Script
		says     string
	}{
		{"discovered", Install{State: Discovered}, true, soon, ServeLocal, "administrator"},
		{"pending", Install{State: Pending}, true, soon, ServeInstaller, "attempt 1 of 3"},
		{"pending without a workflow", Install{State: Pending}, false, soon, ServeWait, "no workflow"},
		{"installing", running, true, soon, ServeLocal, "under way"},
		{"installing without a workflow", running, false, soon, ServeLocal, "under way"},
		{"installing too long", running, true, late, ServeInstaller, "attempt 2 of 3"},
		{"installing too long without a workflow", running, false, late, ServeWait, "no workflow"},
		{"an attempt failed", failed, true, soon, ServeInstaller, "attempt 2 of 3"},
		{"the last attempt runs", spent, true, soon, ServeLocal, "under way"},
		{"the last attempt timed out", spent, true, late, ServeLocal, "failed 3 times"},
		{"install_failed", Install{State: InstallFailed}, true, late, ServeLocal, "failed"},
		{"installed", Install{State: Installed}, true, late, ServeLocal, "installed"},
		{"active", Install{State: Active}, true, late, ServeLocal, "active"},
		{"reprovision", Install{State: Reprovision}, true, late, ServeLocal, "reprovision"},
		{"deprovisioning", Install{State: Deprovisioning}, true, late, ServeLocal, "deprovisioning"},
		{"migrating", Install{State: Migrating}, true, late, ServeLocal, "migrating"},
		{"retired", Install{State: Retired}, true, late, ServeLocal, "retired"},
	} {
		got, message := c.in.Serve(c.workflow, c.now)
		if got != c.want || !strings.Contains(message, c.says) {
			t.Errorf("%s: %s, %q; want %s and a word of %q", c.name, got, message, c.want, c.says)
		}
	}
}

func TestDiscovery(t *testing.T) {
	for _, auto := range []bool{false, true} {
		for _, workflow := range []bool{false, true} {
			want := Install{State: Discovered}
			if auto && workflow {
				want = Install{State: Pending, Seq: 1}
			}
			if got := Discover(auto, workflow); got != want {
				t.Errorf("auto %v, workflow %v: %+v", auto, workflow, got)
			}
		}
	}
}

func TestANodeTokenEndsWithItsInstallation(t *testing.T) {
	valid := map[State]bool{Pending: true, Installing: true, InstallFailed: true, Installed: true}
	renders := map[State]bool{Pending: true, Installing: true}
	for _, s := range States {
		in := Install{State: s, Seq: 2}
		if in.TokenValid(2) != valid[s] {
			t.Errorf("%s: token valid %v", s, in.TokenValid(2))
		}
		if in.TokenValid(1) || in.TokenValid(3) || (Install{State: s}).TokenValid(0) {
			t.Errorf("%s: a token of another installation is valid", s)
		}
		if in.Renders() != renders[s] {
			t.Errorf("%s: renders %v", s, in.Renders())
		}
	}
}
