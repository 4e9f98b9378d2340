package main

import (
	"context"
	"math"
	"sync"
	"time"
)

// faultRows: an origin that cuts and an origin that is wrong.
func faultRows(size int64) []*row {
	cutAt := func(places ...int64) func(*trial, context.Context) error {
		return func(t *trial, ctx context.Context) error {
			s := spec{}
			for _, p := range places {
				s.cuts = append(s.cuts, t.row.size*p/100)
			}
			return t.runCut(ctx, s)
		}
	}
	whole := []promise{allRight(served), atMost(upstream, 1.02, times)}
	faults := &row{
		name: "faults", title: "An origin that is wrong; 5 clients each", link: wan, size: 2 << 20, quick: true, reps: 1,
		run: (*trial).runFaults,
	}
	for _, f := range originFaults {
		faults.promises = append(faults.promises, noneWrong(f.label))
		if f.curable {
			faults.promises = append(faults.promises, allRight(f.label))
		}
	}
	return []*row{
		{
			name: "cut", title: "The origin cuts at 50 %; ten clients", link: wan, size: size, quick: true,
			run: cutAt(50), promises: whole,
		},
		{
			name: "cuts", title: "The origin cuts five times; ten clients", link: wan, size: size, quick: true,
			run: cutAt(10, 25, 50, 70, 90), promises: whole,
		},
		faults,
	}
}

func (t *trial) runCut(ctx context.Context, s spec) error {
	obj := t.object(s)
	replies := t.herd(ctx, 10, request{obj: obj})
	err := t.settle(ctx, obj)
	t.tally(served, replies...)
	t.took(inTime, last(replies))
	t.set(gets, number, float64(obj.gets.Load()))
	t.set(upstream, times, obj.ratio())
	return err
}

// originFaults are what an origin may do wrong. An answer may then be visibly cut, and never look whole.
var originFaults = []struct {
	label   string
	curable bool // every byte can be had all the same
	plain   bool // means something at a plain origin alone
	spec    func(size int64) spec
}{
	{"a cut, then a new version", false, false, func(n int64) spec { return spec{cuts: []int64{n / 2}, changes: true} }},
	{"a cut, and ranges ignored", false, false, func(n int64) spec { return spec{cuts: []int64{n / 2}, ignoreRange: true} }},
	{"a cut, and another range than asked", false, false, func(n int64) spec { return spec{cuts: []int64{n / 2}, wrongRange: true} }},
	{"a cut, and no validator", false, true, func(n int64) spec { return spec{cuts: []int64{n / 2}, noValidator: true} }},
	{"no length", true, false, func(int64) spec { return spec{noLength: true} }},
	{"no length, and a cut", false, false, func(n int64) spec { return spec{noLength: true, cuts: []int64{n / 2}} }},
	{"a length that is never sent", false, false, func(int64) spec { return spec{extra: 100_000} }},
	{"a byte flipped for good", false, false, func(n int64) spec { return spec{flipAt: n / 2, flips: math.MaxInt64} }},
	{"a byte flipped once", true, false, func(n int64) spec { return spec{flipAt: n / 2, flips: 1} }},
}

// runFaults has all faults at once, each with an object of its own: most of the time goes by in pauses before a retry.
func (t *trial) runFaults(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var all sync.WaitGroup
	replies := make([][]reply, len(originFaults))
	for i, f := range originFaults {
		central := t.server.peer.central
		s := f.spec(t.row.size)
		if f.plain && central || s.flips > 0 && !central {
			continue // only central says what the bytes should be
		}
		obj := t.object(s)
		all.Go(func() { replies[i] = t.herd(ctx, 5, request{obj: obj}) })
	}
	all.Wait()
	for i, f := range originFaults {
		if len(replies[i]) > 0 {
			t.tally(f.label, replies[i]...)
		}
	}
	return nil
}
