package main

import (
	"context"
	"fmt"
	"time"
)

// wanRows: a long way costs one round trip, not one for each piece.
func wanRows() []*row {
	return []*row{{
		name: "rtt", title: "64 MiB at a round trip of 100 ms, 16 MB/s", link: link{rate: 16e6, rtt: 100 * time.Millisecond}, size: 64 << 20,
		run: (*trial).runRoundTrip,
		promises: []promise{
			allRight(served),
			atMost("longer than one plain stream", 0.100, seconds).timed(),
			atMost(upstream, 1.0049, times),
		},
	}}
}

func (t *trial) runRoundTrip(ctx context.Context) error {
	direct := t.origin.add(spec{name: t.row.name + "-direct", size: t.row.size})
	plain := ask(ctx, "http://"+t.origin.http.addr+originPrefix+direct.name, request{obj: direct})
	if plain.err != nil {
		return fmt.Errorf("straight from the origin: %w", plain.err)
	}
	obj := t.object(spec{})
	got := t.ask(ctx, request{obj: obj})
	err := t.settle(ctx, obj)
	t.tally(served, got)
	t.took("one plain stream", plain.total)
	t.took("through the cache", got.total)
	t.took("longer than one plain stream", got.total-plain.total)
	t.set(gets, number, float64(obj.gets.Load()))
	t.set(upstream, times, obj.ratio())
	return err
}
