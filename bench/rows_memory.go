package main

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// memoryRows: how much memory a herd on a large cold object takes.
func memoryRows(huge bool) []*row {
	size, name := int64(512<<20), "512 MiB"
	if huge {
		size, name = 4<<30, "4 GiB"
	}
	return []*row{{
		name: "memory", title: fmt.Sprintf("200 clients on a cold object of %s: 6 read as fast as they can, the others 2 MB/s", name),
		link: link{rate: 100e6}, size: size, reps: 1, limit: 10 * time.Minute,
		run: (*trial).runMemory,
		promises: []promise{
			allRight(served),
			noneWrong("of the slow ones"),
			atMost("resident memory, at most", 256e6, bytesOf),
			atMost(upstream, 1.0049, times),
		},
	}}
}

func (t *trial) runMemory(ctx context.Context) error {
	obj := t.object(spec{})
	before := t.server.memory()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	slow, leave := context.WithCancel(ctx)
	defer leave()
	var most int64
	var all sync.WaitGroup
	all.Go(func() {
		for sleep(slow, 100*time.Millisecond) == nil {
			most = max(most, t.server.memory())
		}
	})
	crawling := make([]reply, 194)
	for i := range crawling {
		all.Go(func() { crawling[i] = t.ask(slow, request{obj: obj, pace: 2e6}) })
	}
	patient, giveUp := context.WithTimeout(ctx, time.Minute+4*t.row.link.ideal(obj.size))
	replies := t.herd(patient, 6, request{obj: obj})
	giveUp()
	leave()
	all.Wait()
	err := t.settle(ctx, obj)
	t.tally(served, replies...)
	slowly := tallyOf(crawling...)
	slowly.right, slowly.cut = slowly.right+slowly.cut, 0 // they left, which is no fault
	slowly.why = nil
	t.figures = append(t.figures, figure{label: "of the slow ones", unit: outcome, tally: slowly})
	t.took(inTime, last(replies))
	t.set("resident memory before", bytesOf, float64(before))
	t.set("resident memory, at most", bytesOf, float64(most))
	t.set(upstream, times, obj.ratio())
	return err
}
