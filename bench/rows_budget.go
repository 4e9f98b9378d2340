package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pureboot/pureboot/central/wire"
)

// budgetRows: the bound on the way to the origin holds, and what boots a machine does not wait behind what installs it.
func budgetRows(quick bool) []*row {
	rate, size, during := int64(8e6), int64(5e9), 10*time.Second
	if quick {
		rate, size, during = 2e6, 16<<20, time.Second
	}
	return []*row{{
		name: "budget", title: fmt.Sprintf("A transfer of %s fills a bound of %s; ten small files are missed meanwhile",
			figure{unit: bytesOf, value: float64(size)}, figure{unit: bytesPerSecond, value: float64(rate)}),
		// The way to the origin has more to give, so that it is the bound that holds.
		link: link{rate: 4 * rate}, size: size, quick: true, agent: fmt.Sprintf("sync: {max_mb_per_s: %d}\n", rate/1e6),
		skip: oursAlone, limit: 5 * time.Minute,
		run: func(t *trial, ctx context.Context) error { return t.runBudget(ctx, rate, during) },
		promises: []promise{
			allRight(served),
			atLeast("of them before the large one", smallFiles, number),
			atMost("upstream bytes per second ÷ bound", 1.05, times).timed(),
			atLeast("upstream bytes per second ÷ bound", 0.95, times).timed(),
			atMost("first byte of a small one, at most", 0.200, seconds).timed(),
		},
	}}
}

// oursAlone skips peers that cannot do what a row is about.
func oursAlone(p *peer) string {
	if !p.ours {
		return "has nothing like it"
	}
	return ""
}

// smallFiles is how many are missed, of the size of a bootloader.
const (
	smallFiles = 10
	smallSize  = 256 << 10
)

func (t *trial) runBudget(ctx context.Context, rate int64, during time.Duration) (err error) {
	large := t.object(spec{})
	// A transfer goes on without its client, and would be in the way of the next repetition.
	defer func() {
		t.server.stop()
		err = errors.Join(err, t.server.restart(ctx))
	}()
	reading, leave := context.WithCancel(ctx)
	defer leave()
	reached, full := until(2 * rate) // the buffers on the way are full by then
	whole := t.begin(reading, request{obj: large, reached: reached})
	select {
	case <-full:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	before, began := large.sent.Load(), time.Now()
	if err := sleep(ctx, during); err != nil {
		return err
	}
	perSecond := float64(large.sent.Load()-before) / time.Since(began).Seconds()

	var replies []reply
	early := 0
	for i := range smallFiles {
		small := t.object(spec{size: smallSize, category: []string{wire.Bootloaders, wire.Templates}[i%2]})
		replies = append(replies, t.ask(ctx, request{obj: small}))
		if large.sending.Load() > 0 {
			early++
		}
	}
	leave()
	<-whole
	t.tally(served, replies...)
	t.set("of them before the large one", number, float64(early))
	t.set("upstream bytes per second", bytesPerSecond, perSecond)
	t.set("upstream bytes per second ÷ bound", times, perSecond/float64(rate))
	waits := firsts(replies)
	t.took("first byte of a small one, p50", median(waits))
	if len(waits) > 0 {
		t.took("first byte of a small one, at most", slices.Max(waits))
	}
	return nil
}
