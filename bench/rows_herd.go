package main

import (
	"context"
	"errors"
	"fmt"
)

// herdRows: clients that ask for a cold object at once cost one transfer, and none waits for the end of it.
func herdRows(size int64) []*row {
	var rows []*row
	for _, n := range []int{30, 200} {
		rows = append(rows, &row{
			name: fmt.Sprintf("herd-%d", n), title: fmt.Sprintf("Cold herd of %d", n),
			link: wan, size: size, quick: true,
			run: func(t *trial, ctx context.Context) error { return t.runHerd(ctx, n) },
			promises: []promise{
				allRight(served),
				atMost(firstByte, 0.010, seconds).timed().of("agent-upstream"),
				atMost(firstByte, 0.060, seconds).timed().of("agent-central"), // the first chunk takes 33 ms
				atMost(ofIdeal, 1.10, times).timed(),
				atMost(gets, 1, number),
				atMost(upstream, 1.0049, times),
			},
		})
	}
	return rows
}

func (t *trial) runHerd(ctx context.Context, n int) error {
	obj := t.object(spec{})
	profiled := t.profile(ctx, t.row.link.ideal(t.row.size))
	used := t.server.cpu()
	replies := t.herd(ctx, n, request{obj: obj})
	err := errors.Join(t.settle(ctx, obj), profiled())
	t.tally(served, replies...)
	t.took(firstByte, median(firsts(replies)))
	t.took(inTime, last(replies))
	t.overIdeal(ofIdeal, last(replies))
	t.took("processor time of the server", t.server.cpu()-used)
	t.set(gets, number, float64(obj.gets.Load()))
	t.set(upstream, times, obj.ratio())
	return err
}
