package main

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == loadArg {
		if err := run(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// Every row runs on a small world, checks what it gets, and is reported.
func TestEveryRowRuns(t *testing.T) {
	if testing.Short() {
		t.Skip("makes some hundred sites")
	}
	s := settings{rows: regexp.MustCompile(`settings|sites-first|move|rename|mac|heartbeats|seen$|none`), sites: 300, perSite: 1, agents: 300, seconds: 1, dir: t.TempDir()}
	figures, err := measureOn(t.Context(), s, "sqlite")
	if err != nil {
		t.Fatal(err)
	}
	r := report{command: "test", settings: s}
	r.add("sqlite", figures)
	for _, want := range []string{"| `settings` |", "| `move` |", "| `heartbeats` |", "of a core", "300 sites, 1 nodes each", "## SQLite"} {
		if !strings.Contains(r.text(), want) {
			t.Errorf("the report lacks %q:\n%s", want, r.text())
		}
	}
}

func TestAPromiseThatIsNotKeptIsMarked(t *testing.T) {
	r := report{}
	r.add("sqlite", []figure{
		{row: row{name: "kept", promise: 2 * time.Millisecond}, p50: time.Millisecond, p99: time.Second},
		{row: row{name: "broken", promise: 2 * time.Millisecond}, p50: 2 * time.Millisecond},
		{row: row{name: "none"}, p50: time.Hour},
	})
	for line := range strings.Lines(r.text()) {
		if broken := strings.HasPrefix(line, "| `broken`"); strings.HasPrefix(line, "| `") && broken != strings.Contains(line, "✗") && !strings.HasPrefix(line, "| `row`") {
			t.Errorf("marked wrongly: %s", line)
		}
	}
}
