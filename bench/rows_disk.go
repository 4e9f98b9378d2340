package main

import (
	"context"
	"sync"
)

// diskRows: a disk that is full stops nobody.
func diskRows() []*row {
	return []*row{{
		name: "disk-full", title: "12 objects of 16 MiB, three at once, on a disk of 80 MB", root: true, quick: true, reps: 1, // a second time the disk is full from the start
		link: link{rate: 64e6}, size: 16 << 20, disk: 80e6,
		skip: func(p *peer) string {
			if p.memory {
				return "cache in memory"
			}
			return ""
		},
		run: (*trial).runDiskFull,
		promises: []promise{
			allRight(served),
			allRight("served right once more"),
		},
	}}
}

func (t *trial) runDiskFull(ctx context.Context) error {
	var objects []*object
	for range 12 {
		objects = append(objects, t.object(spec{}))
	}
	first := t.three(ctx, objects)
	t.tally(served, first...)
	if err := t.settle(ctx, objects...); err != nil {
		return err
	}
	before := sum(objects)
	t.tally("served right once more", t.three(ctx, objects)...)
	err := t.settle(ctx, objects...)
	t.set("upstream bytes ÷ size, the first time", times, float64(before)/float64(12*t.row.size))
	t.set("upstream bytes ÷ size, once more", times, float64(sum(objects)-before)/float64(12*t.row.size))
	return err
}

// three asks for the objects, three at a time.
func (t *trial) three(ctx context.Context, objects []*object) []reply {
	replies := make([]reply, len(objects))
	var all sync.WaitGroup
	for lane := range 3 {
		all.Go(func() {
			for i := lane; i < len(objects); i += 3 {
				replies[i] = t.ask(ctx, request{obj: objects[i]})
			}
		})
	}
	all.Wait()
	return replies
}
