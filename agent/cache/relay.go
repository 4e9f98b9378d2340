package cache

import (
	"context"
	"fmt"
	"io"
	"time"
)

const (
	// relayWindow is how much of an object a relay holds, in bytes.
	relayWindow = 4 << 20
	// maxRelays bounds how many there are at a time, and so their memory.
	maxRelays = 16
)

// errTooSlow cuts a reader that keeps all others waiting, and itself takes nothing.
var errTooSlow = fmt.Errorf("%w, and its reader takes nothing", ErrNotStored)

// relay is what becomes of a fill that the disk fails half-way and whose readers have no source of their own, because
// nobody could ask for the rest of that very version: its bytes go to the readers it has through a window in memory, and
// are not stored. The slowest reader sets the pace, unless it takes nothing for as long as a source may be silent.
type relay struct {
	from  int64 // what is before this offset is in the part file
	cause error // why it is not stored

	// Guarded by the fill's mu.
	begin  int64 // of window
	window []byte
	whole  bool // all of the object was here
}

func (r *relay) end() int64 { return r.begin + int64(len(r.window)) }

// sourceless reports whether f's readers depend on f.
func (f *fill) sourceless() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.id.opaque && (!f.strong || f.obj.Size < 0)
}

// unstored is told that the disk takes no more of f, which has come as far as offset. It returns cause unless a relay
// goes on.
func (f *fill) unstored(offset int64, cause error) error {
	if !f.sourceless() {
		return cause
	}
	if f.store.relays.Add(1) > maxRelays {
		f.store.relays.Add(-1)
		return cause
	}
	f.store.mu.Lock()
	f.store.setAdrift(f) // who comes later would need what is before the window
	f.store.mu.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.relay.Store(&relay{from: offset, begin: offset, cause: cause})
	f.changed()
	return nil
}

// pass hands data to the readers, waiting for those who are slow. It fails if there is none.
func (f *fill) pass(r *relay, data []byte) error {
	f.hash(r.end(), data)
	patience := time.NewTimer(f.store.opts.Stall)
	defer patience.Stop()
	f.mu.Lock()
	defer f.mu.Unlock()
	for {
		slowest := f.slowest(r)
		if slowest < 0 {
			return r.cause
		}
		if slowest > r.begin {
			r.forget(slowest)
			patience.Reset(f.store.opts.Stall)
		}
		if len(r.window)+len(data) <= relayWindow {
			break
		}
		wake := f.wake
		f.mu.Unlock()
		late := false
		select {
		case <-f.ctx.Done():
		case <-wake:
		case <-patience.C:
			late = true
		}
		f.mu.Lock()
		if f.ctx.Err() != nil {
			return context.Cause(f.ctx)
		}
		if late {
			r.forget(f.behind(r, slowest))
			patience.Reset(f.store.opts.Stall) // the next one may take nothing either
			f.changed()
		}
	}
	r.window = append(r.window, data...)
	f.changed()
	if r.end() == f.obj.Size {
		return f.finishRelay(r)
	}
	return nil
}

// forget moves the window's begin. The fill's mu is held.
func (r *relay) forget(begin int64) {
	r.window = append(r.window[:0], r.window[begin-r.begin:]...)
	r.begin = begin
}

// behind is where the slowest of the readers is that have read more than at. mu is held.
func (f *fill) behind(r *relay, at int64) int64 {
	next := r.end()
	for reader := range f.readers {
		if reader.at > at {
			next = min(next, reader.at)
		}
	}
	return next
}

// slowest is where the slowest of the readers is that can still be served, -1 if there are none. mu is held.
func (f *fill) slowest(r *relay) int64 {
	slowest := int64(-1)
	for reader := range f.readers {
		if at := max(reader.at, r.from); at >= r.begin && (slowest < 0 || at < slowest) {
			slowest = at
		}
	}
	if slowest < 0 && f.users > len(f.readers) {
		return r.begin // somebody is about to read
	}
	return slowest
}

// finishRelay lets the last of the object be read, if it is what it should be. mu is held.
func (f *fill) finishRelay(r *relay) error {
	if f.obj.SHA256 != (Digest{}) && Digest(f.whole.Sum(nil)) != f.obj.SHA256 {
		f.store.count.corruptions.Add(1)
		return ErrCorrupt
	}
	f.vouched, r.whole = true, true
	f.changed()
	f.settleLocked(r.cause)
	return nil
}

// relayed copies what reader waits for, which is there.
func (f *fill) relayed(r *relay, reader *Reader, p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if reader.offset < r.begin {
		return 0, errTooSlow
	}
	n := copy(p, r.window[reader.offset-r.begin:])
	reader.at = reader.offset + int64(n)
	f.changed()
	return n, nil
}

// relayable returns the end of what can be read at offset, which is not before r.from; io.EOF behind the last. mu is held.
func (f *fill) relayable(r *relay, offset int64) (int64, error) {
	limit := r.end()
	if !f.vouched {
		limit -= withheld
		if f.obj.Size >= 0 {
			limit = min(r.end(), f.obj.Size-withheld)
		}
	}
	switch {
	case offset < r.begin:
		return 0, errTooSlow
	case offset < limit:
		return limit, nil
	case r.whole && offset >= f.obj.Size:
		return offset, io.EOF
	}
	return offset, nil
}
