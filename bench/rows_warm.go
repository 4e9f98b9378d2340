package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// warmRows: what is there already, as fast as the machine goes. The clients take their share of the same cores, so the
// ratios say more than the numbers; the server's own processor time says most. A machine that others share is quicker
// now and slower then, so the peers take short turns, and what is compared was measured within seconds.
func warmRows() []*row {
	const rate, cpu, middle = "requests per second", "processor time per request", "time of a request, p50"
	return []*row{
		{
			name: "warm-4k", title: "4 KiB, warm, 32 connections", size: 4 << 10, turns: turns, bases: []string{"bare"},
			run: func(t *trial, ctx context.Context) error { return t.runWarm(ctx, 32, rate) },
			compare: []comparison{
				{rate + " ÷ bare handler", rate, "bare"},
				{rate + " ÷ nginx", rate, "nginx"},
				{rate + " ÷ varnish", rate, "varnish"},
				{cpu + " ÷ bare handler", cpu, "bare"},
			},
			promises: []promise{atLeast(rate+" ÷ bare handler", 0.95, times).timed()},
		},
		{
			name: "warm-32m", title: "32 MiB, warm, 4 connections", size: 32 << 20, turns: turns, bases: []string{"servefile"},
			run: func(t *trial, ctx context.Context) error { return t.runWarm(ctx, 4, "bytes per second") },
			compare: []comparison{
				{"bytes per second ÷ http.ServeFile", "bytes per second", "servefile"},
				{"bytes per second ÷ nginx", "bytes per second", "nginx"},
				{cpu + " ÷ http.ServeFile", cpu, "servefile"},
			},
			promises: []promise{
				atLeast("bytes per second ÷ http.ServeFile", 0.95, times).timed(),
				atLeast("bytes per second ÷ nginx", 1.20, times).timed(),
			},
		},
		{
			name: "warm-1m", title: "1 MiB, warm, 200 connections", size: 1 << 20, turns: turns,
			run: func(t *trial, ctx context.Context) error { return t.runWarm(ctx, 200, middle) },
			compare: []comparison{
				{middle + " ÷ nginx", middle, "nginx"},
			},
			promises: []promise{atMost(middle+" ÷ nginx", 1.00, times).timed()},
		},
	}
}

// One repetition asks for what is warm for poundTime, in turns.
const (
	poundTime = 2 * time.Second
	turns     = 5
)

func (t *trial) runWarm(ctx context.Context, conns int, headline string) error {
	obj := t.theObject()
	for range 3 { // the first time fetches it, a second one may be what it takes to be kept in memory
		if r := t.ask(ctx, request{obj: obj}); r.err != nil {
			return fmt.Errorf("warm it up: %w", r.err)
		}
	}
	during := poundTime / turns
	if t.profiles != "" {
		during = poundTime // else a profile sees more of the others' turns than of ours
	}
	if _, err := pound(ctx, t.server.url(obj), obj, conns, during/8); err != nil {
		return err
	}
	asked, used := obj.gets.Load(), t.server.cpu()
	profiled := t.profile(ctx, during)
	l, err := pound(ctx, t.server.url(obj), obj, conns, during)
	used = t.server.cpu() - used
	if err = errors.Join(err, profiled()); err != nil {
		return err
	}
	if n := obj.gets.Load() - asked; n > 0 {
		t.set("upstream GETs although warm", number, float64(n))
	}
	switch headline {
	case "requests per second":
		t.set(headline, perSecond, float64(l.requests)/l.took.Seconds())
	case "bytes per second":
		t.set(headline, bytesPerSecond, float64(l.requests*obj.size)/l.took.Seconds())
	default:
		slices.Sort(l.each)
		t.took(headline, l.each[len(l.each)/2])
		t.took("time of a request, p99", l.each[len(l.each)*99/100])
	}
	t.took("processor time per request", used/time.Duration(max(1, l.requests)))
	return nil
}
