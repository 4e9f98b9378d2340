package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"
)

// unit says what a figure's value counts.
type unit int

const (
	number  unit = iota
	seconds      // printed in the unit that suits
	times
	bytesOf
	perSecond
	bytesPerSecond
	outcome // a tally instead of a value
)

// figure is one thing that a trial found out.
type figure struct {
	label string
	unit  unit
	value float64
	tally tally
}

// tally counts answers by what they were worth.
type tally struct {
	right, cut, wrong int
	why               error // of one that was not right, a wrong one first
}

func tallyOf(replies ...reply) (t tally) {
	for _, r := range replies {
		switch r.verdict {
		case right:
			t.right++
		case cut:
			t.cut++
			t.why = cmp.Or(t.why, r.err)
		case wrong:
			t.wrong++
			if t.wrong == 1 {
				t.why = r.err
			}
		}
	}
	return t
}

func (t tally) all() int { return t.right + t.cut + t.wrong }

func (t tally) String() string {
	s := fmt.Sprintf("%d of %d", t.right, t.all())
	if t.wrong > 0 {
		s += fmt.Sprintf(", %d WRONG", t.wrong)
	}
	return s
}

func (f figure) String() string {
	v := f.value
	switch f.unit {
	case outcome:
		return f.tally.String()
	case seconds:
		d := time.Duration(v * float64(time.Second))
		switch {
		case d < 100*time.Microsecond && d > -100*time.Microsecond:
			return fmt.Sprintf("%.1f µs", v*1e6)
		case d < 10*time.Millisecond && d > -10*time.Millisecond:
			return fmt.Sprintf("%.1f ms", v*1e3)
		case d < time.Second && d > -time.Second:
			return fmt.Sprintf("%.0f ms", v*1e3)
		}
		return fmt.Sprintf("%.2f s", v)
	case times:
		return fmt.Sprintf("%.2fx", v)
	case bytesOf:
		return size(v)
	case bytesPerSecond:
		return size(v) + "/s"
	case perSecond:
		return fmt.Sprintf("%.0f/s", v)
	}
	if v == math.Trunc(v) {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.4g", v)
}

func size(v float64) string {
	switch {
	case v >= 1e9:
		return fmt.Sprintf("%.2f GB", v/1e9)
	case v >= 1e5:
		return fmt.Sprintf("%.1f MB", v/1e6)
	case v >= 1e3:
		return fmt.Sprintf("%.1f kB", v/1e3)
	}
	return fmt.Sprintf("%.0f B", v)
}

// overall is what several repetitions say together: the median of values, the sum of tallies.
func overall(reps []figure) figure {
	all := reps[0]
	if all.unit == outcome {
		for _, f := range reps[1:] {
			all.tally.right += f.tally.right
			all.tally.cut += f.tally.cut
			all.tally.wrong += f.tally.wrong
			all.tally.why = cmp.Or(all.tally.why, f.tally.why)
		}
		return all
	}
	var values []float64
	for _, f := range reps {
		values = append(values, f.value)
	}
	all.value = median(values)
	return all
}

// median returns 0 of nothing.
func median[T ~float64 | ~int64](values []T) T {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// promise is what our agent has to keep.
type promise struct {
	figure string
	says   string
	kept   func(figure) bool
	timing bool   // of times, which CI does not check
	peer   string // of this one of our faces; empty: of both
}

func (p promise) binds(who *peer) bool { return who.ours && (p.peer == "" || p.peer == who.name) }

func atMost(label string, bound float64, u unit) promise {
	return promise{
		figure: label, says: "≤ " + figure{unit: u, value: bound}.String(),
		kept: func(f figure) bool { return f.value <= bound },
	}
}

func atLeast(label string, bound float64, u unit) promise {
	return promise{
		figure: label, says: "≥ " + figure{unit: u, value: bound}.String(),
		kept: func(f figure) bool { return f.value >= bound },
	}
}

func allRight(label string) promise {
	return promise{figure: label, says: "all", kept: func(f figure) bool { return f.tally.right == f.tally.all() }}
}

func noneWrong(label string) promise {
	return promise{figure: label, says: "none wrong", kept: func(f figure) bool { return f.tally.wrong == 0 }}
}

// timed makes a promise one of times.
func (p promise) timed() promise { p.timing = true; return p }

// of makes it that of one face.
func (p promise) of(peer string) promise { p.peer = peer; return p }
