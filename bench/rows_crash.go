package main

import "context"

// crashRows: a kill -9 in the middle of a fill loses nothing that was there.
func crashRows(size int64) []*row {
	return []*row{
		{
			name: "restart", title: "A restart right after a cold range of 1 MiB", link: wan, size: size, quick: true,
			run: (*trial).runRestart,
			promises: []promise{
				allRight(served),
				atMost("bytes of the range fetched again", 0, bytesOf),
				atMost(excess, 0, bytesOf),
			},
		},
		killRow(32 << 20), // large, so that 5 % are more than what is not on disk yet at any moment
	}
}

func killRow(size int64) *row {
	return &row{
		name: "kill", title: "kill -9 in the middle of a fill, with eight finished objects", link: wan, size: size, quick: true,
		run: (*trial).runKill,
		promises: []promise{
			allRight(served),
			atLeast("finished objects kept", 8, number),
			atMost(upstream, 1.05, times),
		},
	}
}

// runRestart finds out whether a part of an object is kept.
func (t *trial) runRestart(ctx context.Context) error {
	from := t.row.size / 4
	obj := t.object(spec{watched: span{from, from + 1<<20}})
	part := request{obj: obj, from: from, to: from + 1<<20}
	replies := []reply{t.ask(ctx, part)}
	t.server.stop()
	if err := t.settle(ctx, obj); err != nil {
		return err
	}
	before := obj.sentOf.Load()
	if err := t.server.restart(ctx); err != nil {
		return err
	}
	replies = append(replies, t.ask(ctx, part))
	again := obj.sentOf.Load() - before
	replies = append(replies, t.ask(ctx, request{obj: obj}))
	err := t.settle(ctx, obj)
	t.tally(served, replies...)
	t.set("bytes of the range fetched again", bytesOf, float64(again))
	t.set(upstream, times, obj.ratio())
	t.set(excess, bytesOf, beyond(obj, 1))
	return err
}

func (t *trial) runKill(ctx context.Context) error {
	var finished []*object
	var replies []reply
	for range 8 {
		obj := t.object(spec{size: 512 << 10})
		replies = append(replies, t.ask(ctx, request{obj: obj}))
		finished = append(finished, obj)
	}
	if err := t.settle(ctx, finished...); err != nil {
		return err
	}
	before := sum(finished)

	obj := t.object(spec{})
	reached, half := until(obj.size / 2)
	interrupted := t.begin(ctx, request{obj: obj, reached: reached})
	select {
	case <-half:
	case r := <-interrupted: // some send nothing until they have it all
		interrupted <- r
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	t.server.kill()
	<-interrupted
	if err := t.server.restart(ctx); err != nil {
		return err
	}
	kept := 8.0
	for _, obj := range finished {
		asked := obj.gets.Load()
		replies = append(replies, t.ask(ctx, request{obj: obj}))
		if obj.gets.Load() > asked {
			kept--
		}
	}
	again := sum(finished) - before
	replies = append(replies, t.ask(ctx, request{obj: obj}))
	err := t.settle(ctx, obj)
	t.tally(served, replies...)
	t.set("finished objects kept", number, kept)
	t.set("bytes of them fetched again", bytesOf, float64(again))
	t.set("GETs of the interrupted one", number, float64(obj.gets.Load()))
	t.set(upstream, times, obj.ratio())
	return err
}

// sum returns what was sent of the objects, in bytes.
func sum(objects []*object) (n int64) {
	for _, obj := range objects {
		n += obj.sent.Load()
	}
	return n
}
