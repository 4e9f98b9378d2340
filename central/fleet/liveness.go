package fleet

import (
	"context"
	"math/rand/v2"
	"runtime"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/store"
)

const (
	writeEvery = time.Second      // beats
	watchEvery = 10 * time.Second // silence
	lastWrite  = 5 * time.Second  // bounds the write at the end
	maxWaiting = 64 << 20         // bytes of beats that wait to be written
	perCore    = 128              // heartbeats worked on at once: about a fifth of a second's work
	restLeast  = 10 * time.Second // for an agent that comes while there are more
	restMost   = 70 * time.Second
)

// Overloaded says that central has too much to do for a request that may as well come later.
type Overloaded struct{ RetryAfter time.Duration }

func (*Overloaded) Error() string { return "too many agents at once: come back later" }

// overloaded sends agents back at different times.
func overloaded() error {
	return &Overloaded{RetryAfter: restLeast + rand.N(restMost-restLeast)}
}

// Enter takes a place among the heartbeats that are worked on, which leave gives back. If there is none the error is
// *Overloaded: in a queue all of them would be late, and the agents would give up and come again. A place is not for
// waiting for the agent in.
func (f *Fleet) Enter() (leave func(), err error) {
	if f.busy.Add(1) > int32(perCore*max(runtime.GOMAXPROCS(0), 2)) {
		f.busy.Add(-1)
		f.sent.Add(1)
		return nil, overloaded()
	}
	return func() { f.busy.Add(-1) }, nil
}

// liveness holds the newest beat of each agent until it is written: one for each at most, whatever the database does. The
// zero liveness works.
type liveness struct {
	mu      sync.Mutex
	waiting map[uuid.UUID]store.Beat
	writing map[uuid.UUID]store.Beat // older than those of the same site that wait
	bytes   int                      // of waiting

	turn sync.Mutex // held by the one that writes; taken before mu
}

// hear keeps a beat to be written, unless a newer one of the same agent waits. If there is no room it is *Overloaded.
func (l *liveness) hear(b store.Beat) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	old, known := l.waiting[b.Site]
	if known && !b.After(old.Report.BootID, old.Report.Seq, old.At) {
		return nil
	}
	size := b.Size()
	if known {
		size -= old.Size()
	}
	if l.bytes+size > maxWaiting {
		return overloaded()
	}
	if l.waiting == nil {
		l.waiting = map[uuid.UUID]store.Beat{}
	}
	l.waiting[b.Site] = b
	l.bytes += size
	return nil
}

// last returns what was heard of an agent and is not written yet.
func (l *liveness) last(site uuid.UUID) (store.Beat, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b, ok := l.waiting[site]
	if !ok {
		b, ok = l.writing[site]
	}
	return b, ok
}

// write has keep write all that waits. What it cannot write waits on, unless the agent was heard again meanwhile.
func (l *liveness) write(keep func([]store.Beat) error) error {
	l.turn.Lock()
	defer l.turn.Unlock()
	l.mu.Lock()
	l.writing, l.waiting, l.bytes = l.waiting, nil, 0
	beats := make([]store.Beat, 0, len(l.writing))
	for _, b := range l.writing {
		beats = append(beats, b)
	}
	l.mu.Unlock()
	if len(beats) == 0 {
		return nil
	}
	err := keep(beats)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		if l.waiting == nil {
			l.waiting = map[uuid.UUID]store.Beat{}
		}
		for site, b := range l.writing {
			if _, again := l.waiting[site]; !again {
				l.waiting[site] = b
				l.bytes += b.Size()
			}
		}
	}
	l.writing = nil
	return err
}

// Run writes what was heard, and watches for who falls silent, until ctx ends. What is heard after that Close writes.
func (f *Fleet) Run(ctx context.Context) error {
	write, watch := time.NewTicker(writeEvery), time.NewTicker(watchEvery)
	defer write.Stop()
	defer watch.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-write.C:
			f.flush(ctx)
		case <-watch.C:
			f.watch(ctx, time.Now())
		}
	}
}

// Close writes what waits, once no more heartbeats come.
func (f *Fleet) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), lastWrite)
	defer cancel()
	return f.live.write(func(b []store.Beat) error { return f.Store.KeepBeats(ctx, b) })
}

// flush writes what waits. What it cannot write stays for the next time; the log hears of it when that begins and ends.
func (f *Fleet) flush(ctx context.Context) {
	err := f.live.write(func(b []store.Beat) error { return f.Store.KeepBeats(ctx, b) })
	switch {
	case ctx.Err() != nil:
	case err != nil && !f.stuck:
		f.Log.Error("heartbeats not written: they wait in memory", "err", err)
	case err == nil && f.stuck:
		f.Log.Info("heartbeats are written again")
	}
	f.stuck = err != nil
}

// watch notes who has fallen silent. A central that did not hear has nothing to note.
func (f *Fleet) watch(ctx context.Context, now time.Time) {
	if f.lapse(now) {
		f.Log.Warn("central did not watch its agents for a while: none is called offline for some minutes")
	}
	if f.deaf(now) {
		return
	}
	noted, err := f.Store.NoteSilence(ctx, now, silences)
	if err != nil && ctx.Err() == nil {
		f.Log.Error("silent agents not noted", "err", err)
	}
	if noted > 0 {
		f.Log.Warn("agents fell silent", "count", noted)
	}
}
