package main

import (
	"context"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// rangeRows: ranges while a fill runs, of a cold object, and HEADs.
func rangeRows(size int64) []*row {
	return []*row{
		{
			name: "range", title: "Ranges of 64 KiB while the fill runs, from 30 % on", link: wan, size: size, quick: true,
			run: (*trial).runRangeDuringFill,
			promises: []promise{
				allRight(served),
				atMost("inside the filled part", 0.005, seconds).timed(),
				atMost("near the end", 0.200, seconds).timed(),
				atMost(excess, 0, bytesOf),
			},
		},
		{
			name: "mix", title: "3 full readers and 12 random ranges at once", link: wan, size: size, quick: true,
			run: (*trial).runMix,
			promises: []promise{
				allRight(served),
				atMost(excess, 0, bytesOf),
			},
		},
		{
			name: "ranges-cold", title: "20 equal cold ranges of 1 MiB", link: wan, size: size, quick: true,
			run: (*trial).runColdRanges,
			promises: []promise{
				allRight(served),
				atMost(ofRange, 1.25, times), // what is under way when a fill makes room comes on top
				atMost(excess, 0, bytesOf),
			},
		},
		{
			name: "parts", title: "Several ranges in one request, during the fill and after it", link: wan, size: size, quick: true, reps: 1,
			run: (*trial).runParts,
			promises: []promise{
				allRight("during the fill"),
				allRight("after it"),
				atMost(excess, 0, bytesOf),
			},
		},
		{
			name: "heads-cold", title: "20 cold HEADs", link: wan, size: size, quick: true,
			run: (*trial).runColdHeads,
			promises: []promise{
				allRight(served),
				atMost(gets, 0, number),
				atMost(others, 1, number),
			},
		},
	}
}

// until returns a function for request.reached, and a channel that is closed when so many bytes have come.
func until(bytes int64) (reached func(int64), there <-chan struct{}) {
	var once sync.Once
	c := make(chan struct{})
	return func(n int64) {
		if n >= bytes {
			once.Do(func() { close(c) })
		}
	}, c
}

func (t *trial) runRangeDuringFill(ctx context.Context) error {
	obj := t.object(spec{})
	const length = 64 << 10
	reached, third := until(obj.size * 3 / 10)
	full := t.begin(ctx, request{obj: obj, reached: reached})
	select {
	case <-third:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	end := request{obj: obj, from: obj.size - length, to: obj.size}
	last := t.begin(ctx, end) // at the same time: some make the one inside wait for the end of the fill
	inside := t.ask(ctx, request{obj: obj, from: obj.size / 20, to: obj.size/20 + length})
	tail := <-last
	again := t.ask(ctx, end)
	whole := <-full
	err := t.settle(ctx, obj)
	t.tally(served, inside, tail, again, whole)
	t.took("inside the filled part", inside.total)
	t.took("near the end", tail.total)
	t.took("near the end, again", again.total)
	t.set(gets, number, float64(obj.gets.Load()))
	t.set(upstream, times, obj.ratio())
	t.set(excess, bytesOf, beyond(obj, 1))
	return err
}

func (t *trial) runMix(ctx context.Context) error {
	obj := t.object(spec{})
	const full, ranges = 3, 12
	replies := make([]reply, full+ranges)
	var all sync.WaitGroup
	dice := rand.New(rand.NewPCG(uint64(t.rep), 1)) // the same for each peer
	for i := range replies {
		q := request{obj: obj}
		if i >= full {
			q.from = dice.Int64N(obj.size - 1)
			q.to = min(obj.size, q.from+1+dice.Int64N(1<<20))
		}
		pause := time.Duration(dice.Int64N(int64(t.row.link.ideal(obj.size) / 2)))
		all.Go(func() {
			_ = sleep(ctx, pause) // after the end of ctx the answer is its error
			replies[i] = t.ask(ctx, q)
		})
	}
	all.Wait()
	err := t.settle(ctx, obj)
	t.tally(served, replies...)
	t.set(gets, number, float64(obj.gets.Load()))
	t.set(upstream, times, obj.ratio())
	t.set(excess, bytesOf, beyond(obj, ranges))
	return err
}

func (t *trial) runColdRanges(ctx context.Context) error {
	from := t.row.size / 2
	obj := t.object(spec{watched: span{from, from + 1<<20}})
	replies := t.herd(ctx, 20, request{obj: obj, from: from, to: from + 1<<20})
	err := t.settle(ctx, obj)
	t.tally(served, replies...)
	t.took(inTime, last(replies))
	t.set(ofRange, times, float64(obj.sentOf.Load())/(1<<20))
	t.set(gets, number, float64(obj.gets.Load()))
	t.set("upstream bytes", bytesOf, float64(obj.sent.Load()))
	t.set(excess, bytesOf, beyond(obj, 1))
	return err
}

func (t *trial) runParts(ctx context.Context) error {
	obj := t.object(spec{})
	n := obj.size
	spans := []span{{0, 1000}, {n / 3, n/3 + 100_000}, {n - 5000, n}}
	reached, third := until(n * 3 / 10)
	full := t.begin(ctx, request{obj: obj, reached: reached})
	select {
	case <-third:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	during := askParts(ctx, t.server.url(obj), obj, spans)
	<-full
	after := askParts(ctx, t.server.url(obj), obj, spans)
	err := t.settle(ctx, obj)
	t.tally("during the fill", during)
	t.tally("after it", after)
	t.set("bytes of the answer", bytesOf, float64(after.bytes))
	t.set(excess, bytesOf, beyond(obj, len(spans)))
	return err
}

func (t *trial) runColdHeads(ctx context.Context) error {
	obj := t.object(spec{})
	replies := t.herd(ctx, 20, request{obj: obj, method: http.MethodHead})
	err := t.settle(ctx, obj)
	t.tally(served, replies...)
	t.took(inTime, last(replies))
	t.set(gets, number, float64(obj.gets.Load()))
	t.set(others, number, float64(obj.heads.Load()+obj.questions.Load()))
	t.set("upstream bytes", bytesOf, float64(obj.sent.Load()))
	return err
}
