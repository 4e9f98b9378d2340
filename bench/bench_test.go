package main

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestFigures(t *testing.T) {
	for _, c := range []struct {
		figure
		want string
	}{
		{figure{unit: seconds, value: 0.0000123}, "12.3 µs"},
		{figure{unit: seconds, value: 0.00512}, "5.1 ms"},
		{figure{unit: seconds, value: 0.5}, "500 ms"},
		{figure{unit: seconds, value: 4.25}, "4.25 s"},
		{figure{unit: times, value: 1.004}, "1.00x"},
		{figure{unit: bytesOf, value: 0}, "0 B"},
		{figure{unit: bytesOf, value: 4.2e6}, "4.2 MB"},
		{figure{value: 100_000}, "100000"},
		{figure{value: 1.5}, "1.5"},
		{figure{unit: outcome, tally: tally{right: 3, cut: 1}}, "3 of 4"},
		{figure{unit: outcome, tally: tally{right: 3, wrong: 1}}, "3 of 4, 1 WRONG"},
	} {
		if got := c.String(); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

func TestMedian(t *testing.T) {
	for want, values := range map[float64][]float64{0: nil, 2: {9, 1, 2}, 2.5: {9, 1, 3, 2}} {
		if got := median(values); got != want {
			t.Errorf("median of %v: %v", values, got)
		}
	}
}

// TestPromises: of times the median has to do, of bytes and counts each repetition.
func TestPromises(t *testing.T) {
	ours, other := &peer{name: "agent-central", ours: true}, &peer{name: "nginx"}
	values := func(all ...float64) (reps []figure) {
		for _, v := range all {
			reps = append(reps, figure{value: v})
		}
		return reps
	}
	for name, c := range map[string]struct {
		promise
		who  *peer
		reps []figure
		want bool
	}{
		"count kept":             {atMost("", 1, number), ours, values(1, 1, 1), false},
		"count once not kept":    {atMost("", 1, number), ours, values(1, 2, 1), true},
		"time once not kept":     {atMost("", 1, seconds).timed(), ours, values(1, 2, 1), false},
		"time mostly not kept":   {atMost("", 1, seconds).timed(), ours, values(2, 2, 1), true},
		"not ours":               {atMost("", 1, number), other, values(2), false},
		"of the other face":      {atMost("", 1, number).of("agent-upstream"), ours, values(2), false},
		"not measured":           {atMost("", 1, number), ours, nil, false},
		"one was cut":            {allRight(""), ours, []figure{{tally: tally{right: 9, cut: 1}}}, true},
		"cut is not wrong":       {noneWrong(""), ours, []figure{{tally: tally{cut: 10}}}, false},
		"one was wrong":          {noneWrong(""), ours, []figure{{tally: tally{right: 9, wrong: 1}}}, true},
		"a ratio that is enough": {atLeast("", 0.95, times).timed(), ours, values(0.96), false},
	} {
		if got := c.broken(c.who, c.reps); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestQuickFails has a row against a peer of this program's own that serves it wrongly once.
func TestQuickFails(t *testing.T) {
	b := &bench{dir: t.TempDir(), quick: true, reps: 2, out: io.Discard}
	ours := &peer{name: "agent-central", ours: true}
	res := &result{
		row:   &row{name: "row", title: "A row", promises: []promise{atMost(gets, 1, number), atMost(inTime, 1, seconds).timed()}},
		cells: map[string]map[string][]figure{}, failed: map[string]string{},
	}
	b.peers, b.results = []*peer{ours}, []*result{res}
	for _, v := range []float64{1, 2} {
		res.add(ours.name, figure{label: gets, value: v})
		res.add(ours.name, figure{label: inTime, unit: seconds, value: 5})
	}
	if err := b.check(); err == nil || !strings.Contains(err.Error(), gets) || strings.Contains(err.Error(), inTime) {
		t.Errorf("error %v", err)
	}
	var out strings.Builder
	if err := b.report(&out, "bench", nil); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"## A row", "| upstream GETs | ≤ 1 | 1.5 ✗ |", "| all served | ≤ 1.00 s | 5.00 s ✗ |", "- row, agent-central: upstream GETs"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, out.String())
		}
	}
}

func TestComparisonsAreMadeInTheSameRepetition(t *testing.T) {
	res := &result{
		row:   &row{compare: []comparison{{"rate ÷ base", "rate", "base"}}},
		cells: map[string]map[string][]figure{},
	}
	for rep, v := range []float64{100, 10, 1} { // the machine gets busier
		res.add("base", figure{label: "rate", value: v})
		res.add("agent", figure{label: "rate", value: 2 * v})
		res.comparePeers(rep)
	}
	if got := overall(res.cells["rate ÷ base"]["agent"]); got.value != 2 || len(res.cells["rate ÷ base"]["agent"]) != 3 {
		t.Errorf("%+v", got)
	}
}

// TestFailuresAreReported: a peer that cannot be measured is said to be so, and ours is a promise not kept.
func TestFailuresAreReported(t *testing.T) {
	b := &bench{dir: t.TempDir(), quick: true, reps: 1, out: io.Discard}
	b.peers = []*peer{{name: "agent-central", ours: true, start: func(context.Context, place) (*process, string, error) {
		return nil, "", errors.New("it does not start")
	}}}
	if err := b.run(t.Context(), []*row{{name: "row", title: "A row"}}); err != nil {
		t.Fatal(err)
	}
	if err := b.check(); err == nil || !strings.Contains(err.Error(), "it does not start") {
		t.Errorf("error %v", err)
	}
}
