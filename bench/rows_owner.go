package main

import (
	"context"
	"time"
)

// ownerRows: a fill belongs to nobody. It does not matter who began it, who leaves and who is slow.
func ownerRows(size int64) []*row {
	return []*row{
		{
			name: "leaver", title: "The first client leaves at 10 %, ten follow", link: wan, size: size, quick: true,
			run: (*trial).runLeaver,
			promises: []promise{
				allRight(served),
				atMost(ofIdeal, 1.10, times).timed(),
				atMost(upstream, 1.0049, times),
			},
		},
		{
			name: "lone-leaver", title: "The only client leaves at 10 %, the next one comes later", link: wan, size: size, quick: true,
			run: (*trial).runLoneLeaver,
			promises: []promise{
				allRight(served),
				atMost(gets, 1, number),
				atMost(upstream, 1.0049, times),
			},
		},
		{
			name: "slow", title: "The first client reads 1 MB/s, ten follow", link: wan, size: size, quick: true, reps: 1,
			run: (*trial).runSlow,
			promises: []promise{
				allRight(served),
				atMost(ofIdeal, 1.10, times).timed(),
				atMost(upstream, 1.0049, times),
			},
		},
	}
}

// followers is how many clients come after the first one.
const followers = 10

func (t *trial) runLeaver(ctx context.Context) error {
	obj := t.object(spec{})
	began := time.Now()
	reached, begun := until(obj.size / 20)
	first := t.begin(ctx, request{obj: obj, leaveAt: obj.size / 10, reached: reached})
	select {
	case <-begun:
	case <-time.After(time.Second): // some send nothing until they have it all
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	replies := t.herd(ctx, followers, request{obj: obj})
	took := time.Since(began)
	<-first
	err := t.settle(ctx, obj)
	t.tally(served, replies...)
	t.took(inTime, took)
	t.overIdeal(ofIdeal, took)
	t.set(gets, number, float64(obj.gets.Load()))
	t.set(upstream, times, obj.ratio())
	return err
}

func (t *trial) runLoneLeaver(ctx context.Context) error {
	obj := t.object(spec{})
	t.ask(ctx, request{obj: obj, leaveAt: obj.size / 10})
	if err := t.settle(ctx, obj); err != nil {
		return err
	}
	next := t.ask(ctx, request{obj: obj})
	err := t.settle(ctx, obj)
	t.tally(served, next)
	t.took("the next one's time", next.total)
	t.set(gets, number, float64(obj.gets.Load()))
	t.set(upstream, times, obj.ratio())
	return err
}

func (t *trial) runSlow(ctx context.Context) error {
	obj := t.object(spec{})
	slow, leave := context.WithCancel(ctx)
	defer leave()
	began := time.Now()
	first := t.begin(slow, request{obj: obj, pace: 1e6})
	if err := sleep(ctx, 200*time.Millisecond); err != nil {
		return err
	}
	replies := t.herd(ctx, followers, request{obj: obj})
	took := time.Since(began)
	leave()
	<-first
	err := t.settle(ctx, obj)
	t.tally(served, replies...)
	t.took(inTime, took)
	t.overIdeal(ofIdeal, took)
	t.set(gets, number, float64(obj.gets.Load()))
	t.set(upstream, times, obj.ratio())
	return err
}
