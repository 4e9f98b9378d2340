package cache

import (
	"context"
	"errors"
	"io"
	"math"
	"time"
)

const (
	// jump is the distance in bytes over which it is cheaper to read on than to ask anew.
	jump = 1 << 20
	// maxWindow bounds what is asked for ahead of a reader that began in the middle.
	maxWindow = 8 << 20
	// maxStreams bounds the requests that one fill has at its source.
	maxStreams = 8
	// growth is the step in bytes by which space is reserved for what has no known size.
	growth = 8 << 20
)

// stream is one goroutine's share of a fill. Its fields are guarded by the fill's mu.
type stream struct {
	front bool  // goes through all the gaps; the others bring a window and what follows it while it is read
	begin int64 // of the window
	pos   int64 // of the next byte it brings
	end   int64 // of the window
}

// claim is what others need not fetch because st is about to.
func (st *stream) claim() segment {
	if st.front {
		return segment{st.pos, st.pos + jump}
	}
	return segment{st.pos, st.end}
}

// covered is what st has no need to fetch. mu is held.
func (f *fill) covered(st *stream) segments {
	cov := append(segments(nil), f.have...)
	for _, g := range f.unproven {
		cov.add(g)
	}
	for other := range f.running {
		if other != st {
			cov.add(other.claim())
		}
	}
	return cov
}

// demand sees to it that somebody brings the byte that r waits for. mu is held.
func (f *fill) demand(r *Reader) {
	cov := f.covered(nil)
	if f.settled || cov.from(r.offset) > r.offset {
		return // somebody is about to bring it
	}
	at := r.offset - r.offset%ChunkSize
	for there := cov.next(at); there <= r.offset; there = cov.next(at) {
		at = cov.from(there)
	}
	if f.front == nil && (at < cov.from(0)+jump || !f.ranges) {
		f.start(&stream{front: true, pos: 0})
		return
	}
	if !f.ranges || f.obj.Size < 0 || len(f.running) >= maxStreams {
		return // the front comes, or another stream ends and wakes us
	}
	want := int64(jump)
	switch {
	case r.until > at:
		want = min(r.until-at, 8*maxWindow)
	case r.asked.End == at: // it has read all that it asked for, and wants more
		want = min(2*r.asked.len(), maxWindow)
	}
	r.asked = segment{at, f.window(nil, at, want)}
	f.store.count.ranges.Add(1)
	f.start(&stream{begin: at, pos: at, end: r.asked.End})
}

// window is the end of at most size bytes from begin on that nobody brings yet, in whole chunks. mu is held.
func (f *fill) window(st *stream, begin, size int64) int64 {
	end := begin + chunkCount(size)*ChunkSize
	return min(end, f.obj.Size, f.covered(st).next(begin))
}

// fillFront begins to fetch the whole, whoever reads.
func (f *fill) fillFront() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.front == nil && !f.settled {
		f.start(&stream{front: true, pos: 0})
	}
}

// start lets st run. mu is held.
func (f *fill) start(st *stream) {
	f.running[st] = struct{}{}
	if st.front {
		f.front = st
	}
	f.streams.Go(func() {
		err := f.bring(st)
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.running, st)
		switch {
		case errors.Is(err, errNoRanges) && f.ranges:
			f.ranges = false // the front brings it, all of it
			if st.front && !f.settled {
				f.start(&stream{front: true, pos: st.pos})
			}
		case err != nil:
			f.settleLocked(err)
		}
		f.changed()
		f.park()
	})
}

// bring fetches what st is there for.
func (f *fill) bring(st *stream) error {
	in := f.store.newTransfer(f.object(), f.source)
	defer in.close()
	if admit := f.store.opts.Admit; admit != nil {
		in.admit = func(ctx context.Context, n int) error { return admit(ctx, n, f.load()) }
	}
	for {
		through, ok, err := f.next(st, in)
		if err != nil || !ok {
			return err
		}
		data, err := in.piece(f.ctx, st.pos)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if ended := err != nil; ended {
			return f.ended(st.pos)
		}
		if !through {
			f.lay(st, data)
			if err := f.land(st.pos, data); err != nil {
				return err
			}
		}
		f.mu.Lock()
		st.pos += int64(len(data))
		f.mu.Unlock()
	}
}

// load says who needs the fill's next bytes.
func (f *fill) load() Load {
	f.mu.Lock()
	defer f.mu.Unlock()
	return Load{Foreground: f.waiting > 0, Size: f.obj.Size, Awaited: f.awaited}
}

// needless is how long nobody has waited for a fill's bytes that stands back for others. A client that takes them as
// they come waits again and again.
const needless = time.Second

func (f *fill) awaited() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.waiting > 0 || time.Since(f.waited) < needless
}

// next moves st to the next byte it has to read, and tells in up to where to ask for. Through a
// short stretch that is there already it reads on: through is then set. ok is false when st is done.
func (f *fill) next(st *stream, in *transfer) (through, ok bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !st.front {
		return false, f.nextInWindow(st, in), nil
	}
	for !f.settled {
		cov := f.covered(st)
		end := cov.from(st.pos)
		here := in.at(st.pos) || f.first != nil && f.first.Offset == st.pos
		switch {
		case f.obj.Size >= 0 && end >= f.obj.Size:
			if f.have.covers(segment{0, f.obj.Size}) {
				return false, false, nil
			}
			if gap := cov.from(0); gap < f.obj.Size {
				st.pos = gap
				continue
			}
			// The rest is on its way, by streams that may yet fail to bring it.
			wake := f.wake
			f.mu.Unlock()
			select {
			case <-f.ctx.Done():
				f.mu.Lock()
				return false, false, context.Cause(f.ctx)
			case <-wake:
			}
			f.mu.Lock()
		case end > st.pos && (!here || f.ranges && end-st.pos >= jump):
			st.pos = end
		default:
			in.until = f.frontUntil(cov, end)
			if gap := cov.from(in.until); in.until > 0 && in.until-end <= jump && gap < f.obj.Size && in.early == nil {
				in.ahead(f.ctx, gap, f.frontUntil(cov, gap)) // a round trip before it is needed
			}
			if end == st.pos {
				end = cov.next(end)
			}
			in.most = end - st.pos
			return cov.from(st.pos) > st.pos, true, nil
		}
	}
	return false, false, nil
}

// frontUntil is where the front, being at pos, will meet a stretch that is not worth reading
// through; 0 if nowhere.
func (f *fill) frontUntil(cov segments, pos int64) int64 {
	for {
		begin := cov.next(pos)
		if begin == math.MaxInt64 || !f.ranges {
			return 0
		}
		if pos = cov.from(begin); pos-begin >= jump || f.obj.Size >= 0 && pos >= f.obj.Size {
			return begin
		}
	}
}

// nextInWindow extends st's window while somebody reads what it brings, and asks for the extension
// as early as the middle of the window. mu is held.
func (f *fill) nextInWindow(st *stream, in *transfer) bool {
	if f.settled {
		return false
	}
	if in.until <= st.pos {
		in.until = st.end
	}
	if size := st.end - st.begin; st.pos-st.begin >= size/2 && st.end < f.obj.Size && in.until == st.end && f.followed(st) {
		begin, end := st.end, f.window(st, st.end, min(2*size, maxWindow))
		if end > begin {
			st.begin, st.end = begin, end
			in.ahead(f.ctx, begin, end)
			for r := range f.readers {
				if r.asked.End == begin {
					r.asked = segment{begin, end}
				}
			}
		}
	}
	in.most = st.end - st.pos
	return st.pos < st.end
}

// followed reports whether somebody has read st's window to its middle and wants more. mu is held.
func (f *fill) followed(st *stream) bool {
	middle := st.begin + (st.end-st.begin)/2
	for r := range f.readers {
		if r.at >= middle && r.at <= st.pos+jump && (r.until == 0 || r.until > st.end) {
			return true
		}
	}
	return false
}
