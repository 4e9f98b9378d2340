package cache

import (
	"cmp"
	"container/heap"
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Load says on whose account bytes are read from a source.
type Load struct {
	Foreground bool  // somebody waits for them
	Size       int64 // of the object; -1: not known

	Awaited func() bool // whether somebody waits by now, or did so a moment ago; nil: nobody will
}

// small is the size in bytes below which an object goes before others: what boots a machine, not what it installs.
const small = 4 << 20

func (l Load) rank() int {
	rank := 0
	if !l.Foreground {
		rank += 2
	}
	if l.Size < 0 || l.Size > small {
		rank++
	}
	return rank
}

// Budget shares a number of bytes per second among those who read from sources: what somebody waits for before what
// nobody does, small objects before large ones, in turn among equals. Its Admit is for Options.Admit; it is
// safe for concurrent use, and can be shared with readers outside of the store.
type Budget struct {
	mu    sync.Mutex
	rate  int64       // bytes per second; 0: no limit
	free  time.Time   // when what has been admitted is paid off
	queue queue       // who waits, the next to be admitted first
	timer *time.Timer // lets the next in; nil: nobody waits
	seq   uint64

	urgent  atomic.Int64 // that are waited for, see Urgent
	hurried atomic.Int64 // when bytes that somebody waited for last came, in Unix nanoseconds
}

// credit is how long what nobody used can be used later. On a busy machine those who wait are woken late, and would never
// have what they may.
const credit = 100 * time.Millisecond

// NewBudget returns a budget of rate bytes per second; 0: without limit.
func NewBudget(rate int64) *Budget { return &Budget{rate: rate} }

// SetRate changes the bytes per second; 0: no limit.
func (b *Budget) SetRate(rate int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rate = rate
	if len(b.queue) > 0 {
		b.timer.Reset(0)
	}
}

// Admit waits until n bytes that have been read are paid for, or until ctx ends. What has arrived cannot be sent back, so
// paying comes after reading, and the next read after paying: a cap on the average, exact but for the last
// piece of each reader and for what nobody used within the last tenth of a second.
//
// A load that nobody waits for stands back first, for as long as somebody waits for another one; also without a limit.
func (b *Budget) Admit(ctx context.Context, n int, load Load) error {
	stopped := b.stand(ctx, load)
	b.mu.Lock()
	now := time.Now()
	if stopped != nil { // the bytes were had all the same
		b.pay(now, n)
		b.mu.Unlock()
		return stopped
	}
	if b.rate <= 0 || len(b.queue) == 0 && !b.free.After(now) {
		b.pay(now, n)
		b.mu.Unlock()
		return nil
	}
	w := &waiter{load: load, n: n, seq: b.seq, admitted: make(chan struct{})}
	b.seq++
	heap.Push(&b.queue, w)
	if len(b.queue) == 1 {
		b.timer = time.AfterFunc(b.free.Sub(now), b.next)
	}
	b.mu.Unlock()
	select {
	case <-w.admitted:
		return nil
	case <-ctx.Done():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if w.place >= 0 { // who leaves has had the bytes all the same
		heap.Remove(&b.queue, w.place)
		b.pay(time.Now(), n)
	}
	return context.Cause(ctx)
}

// pay takes n bytes at now. mu is held.
func (b *Budget) pay(now time.Time, n int) {
	if b.rate <= 0 {
		return
	}
	if earliest := now.Add(-credit); b.free.Before(earliest) {
		b.free = earliest
	}
	b.free = b.free.Add(time.Duration(float64(n) / float64(b.rate) * float64(time.Second)))
}

// next admits those whose time has come.
func (b *Budget) next() {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	for len(b.queue) > 0 && (b.rate <= 0 || !b.free.After(now)) {
		b.queue.refresh()
		w := heap.Pop(&b.queue).(*waiter)
		b.pay(b.free, w.n)
		close(w.admitted)
	}
	if len(b.queue) > 0 {
		b.timer.Reset(b.free.Sub(now))
	}
}

type waiter struct {
	load     Load
	n        int
	seq      uint64
	admitted chan struct{}
	place    int // in the queue; -1: not in it
}

// queue implements heap.Interface.
type queue []*waiter

// refresh puts those further ahead for whom somebody has begun to wait: the first bytes of an object are there before
// whoever asked for it waits for them.
func (q *queue) refresh() {
	for _, w := range *q {
		w.load.Foreground = w.load.Foreground || w.load.Awaited != nil && w.load.Awaited()
	}
	heap.Init(q)
}

func (q queue) Len() int { return len(q) }

func (q queue) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(q[i].load.rank(), q[j].load.rank()), cmp.Compare(q[i].seq, q[j].seq)) < 0
}

func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].place, q[j].place = i, j
}

func (q *queue) Push(x any) {
	w := x.(*waiter)
	w.place = len(*q)
	*q = append(*q, w)
}

func (q *queue) Pop() any {
	last := len(*q) - 1
	w := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	w.place = -1
	return w
}
