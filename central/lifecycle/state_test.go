package lifecycle

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

// transitions is the whole table: row from, column to, in the order of States.
var transitions = map[State]string{
	//               disc pend inst fail inst'd act repr depr migr ret
	Discovered:     ". + . . . . . . . +",
	Pending:        ". . + . . . . . . +",
	Installing:     ". . . + + . . . . +",
	InstallFailed:  ". + . . . . . . . +",
	Installed:      ". . . . . + + . . +",
	Active:         ". . . . . . + + + +",
	Reprovision:    ". + . . . . . . . +",
	Deprovisioning: ". . . . . . . . . +",
	Migrating:      ". . . . . + . . . +",
	Retired:        ". . . . . . . . . .",
}

func TestEveryPairOfStates(t *testing.T) {
	for _, from := range States {
		row := strings.Fields(transitions[from])
		if len(row) != len(States) {
			t.Fatalf("%s: the table has %d columns, want %d", from, len(row), len(States))
		}
		for i, to := range States {
			want := row[i] == "+"
			in := Install{State: from, Seq: 4, Attempts: 2, LastError: "disk", StartedAt: noon}
			got, err := in.To(to, false, noon)
			if (err == nil) != want {
				t.Errorf("%s -> %s: error %v, want allowed: %v", from, to, err, want)
			}
			if err != nil {
				if got != in {
					t.Errorf("%s -> %s: refused, and yet the node became %+v", from, to, got)
				}
				var bad *TransitionError
				if !errors.As(err, &bad) || bad.From != from || bad.To != to || !slices.Equal(bad.Valid, from.Next()) {
					t.Errorf("%s -> %s: error %#v", from, to, err)
				}
			} else if got.State != to {
				t.Errorf("%s -> %s: ended in %s", from, to, got.State)
			}
			if slices.Contains(from.Next(), to) != want {
				t.Errorf("%s: Next says %v", from, from.Next())
			}

			forced, err := in.To(to, true, noon)
			attempts, started := 0, time.Time{}
			if to == Installing {
				attempts, started = 1, noon
			}
			if err != nil || forced.State != to || forced.Attempts != attempts || forced.LastError != "" || forced.StartedAt != started {
				t.Errorf("%s -> %s by force: %+v, %v", from, to, forced, err)
			}
		}
	}
}

func TestEachPendingIsANewInstallation(t *testing.T) {
	for _, from := range States {
		in := Install{State: from, Seq: 7, Attempts: 3, LastError: "disk", StartedAt: noon}
		got, _ := in.To(Pending, true, noon)
		want := int64(8)
		if from == Pending {
			want = 7
		}
		if got.Seq != want || got.Attempts != 0 {
			t.Errorf("from %s: seq %d with %d attempts, want seq %d and none", from, got.Seq, got.Attempts, want)
		}
	}
}

func TestANodeSetToInstallingIsNotServedItsInstallerAgain(t *testing.T) {
	for _, from := range States {
		in, err := Install{State: from, Seq: 1}.To(Installing, true, noon)
		if err != nil {
			t.Fatal(err)
		}
		if script, _ := in.Serve(true, noon.Add(time.Minute)); script != ServeLocal {
			t.Errorf("from %s: served %s", from, script)
		}
	}
}

func TestARefusalNamesWhatIsValid(t *testing.T) {
	_, err := Install{State: Installed}.To(Pending, false, noon)
	if want := "installed cannot become pending: valid are active, reprovision, retired"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	_, err = Install{State: Retired}.To(Active, false, noon)
	if want := "retired cannot become active: nothing follows retired"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestMachinesReportOnlyTheirInstallation(t *testing.T) {
	want := map[Step]bool{
		{Pending, Installing}: true, {Installing, Installed}: true, {Installing, InstallFailed}: true, {Installed, Active}: true,
	}
	for _, from := range States {
		for _, to := range States {
			if s := (Step{from, to}); s.Reportable() != want[s] {
				t.Errorf("%s -> %s: reportable %v", from, to, s.Reportable())
			}
		}
	}
}

func TestParseState(t *testing.T) {
	for _, s := range States {
		if got, err := ParseState(string(s)); got != s || err != nil {
			t.Errorf("%s: %q, %v", s, got, err)
		}
	}
	for _, bad := range []string{"", "Pending", "pending ", "gone", strings.Repeat("x", 5000)} {
		_, err := ParseState(bad)
		if !errors.Is(err, ErrState) {
			t.Errorf("%.20q: %v, want ErrState", bad, err)
		} else if len(err.Error()) > 200 {
			t.Errorf("%.20q: the message repeats %d bytes of it", bad, len(err.Error()))
		}
	}
}
