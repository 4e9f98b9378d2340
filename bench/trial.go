package main

import (
	"context"
	"fmt"
	"time"
)

// object makes an object that no earlier trial has asked for.
func (t *trial) object(s spec) *object {
	s.name = fmt.Sprintf("%s-%s-%d-%d", t.row.name, t.server.peer.name, t.rep, len(t.objects))
	return t.add(s)
}

// theObject makes the row's one object, which every peer has under the same name.
func (t *trial) theObject() *object {
	return t.add(spec{name: t.row.name, size: t.row.size})
}

func (t *trial) add(s spec) *object {
	if s.size == 0 {
		s.size = t.row.size
	}
	s.central = t.server.peer.central
	obj := t.origin.add(s)
	t.objects = append(t.objects, obj)
	return obj
}

// ask has one client ask the peer.
func (t *trial) ask(ctx context.Context, q request) reply {
	return ask(ctx, t.server.url(q.obj), q)
}

// herd has n clients ask the same at once.
func (t *trial) herd(ctx context.Context, n int, q request) []reply {
	return herd(ctx, n, t.server.url(q.obj), q)
}

// begin has a client ask on its own; what it got is waited for with the channel.
func (t *trial) begin(ctx context.Context, q request) chan reply {
	got := make(chan reply, 1)
	go func() { got <- t.ask(ctx, q) }()
	return got
}

// settle waits until the origin has sent what it is sending, at most twice as long as an object takes and 5 seconds.
func (t *trial) settle(ctx context.Context, objects ...*object) error {
	deadline := time.Now().Add(2*t.row.link.ideal(t.row.size) + 5*time.Second)
	for quiet := 0; quiet < 5 && time.Now().Before(deadline); {
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return err
		}
		quiet++
		for _, obj := range objects {
			if obj.sending.Load() > 0 {
				quiet = 0
			}
		}
	}
	return nil
}

func (t *trial) tally(label string, replies ...reply) {
	t.figures = append(t.figures, figure{label: label, unit: outcome, tally: tallyOf(replies...)})
}

func (t *trial) set(label string, u unit, v float64) {
	t.figures = append(t.figures, figure{label: label, unit: u, value: v})
}

// took notes a time, unless there was nobody to take it of.
func (t *trial) took(label string, d time.Duration) {
	if d != 0 {
		t.set(label, seconds, d.Seconds())
	}
}

// overIdeal compares with one undisturbed transfer.
func (t *trial) overIdeal(label string, d time.Duration) {
	if d > 0 {
		t.set(label, times, d.Seconds()/t.row.link.ideal(t.row.size).Seconds())
	}
}

// beyond is what the origin sent of an object beyond 1.05 times its size and 1 MiB for each range that was asked for.
func beyond(obj *object, ranges int) float64 {
	return max(0, float64(obj.sent.Load())-1.05*float64(obj.size)-float64(ranges)*(1<<20))
}
