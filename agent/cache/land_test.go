package cache

import (
	"context"
	"io"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// laidPart watches where zeros are written and where data.
type laidPart struct {
	part
	mu   *sync.Mutex
	laid map[int64]int // zeros, by where they begin
	data *segments
	over *segments // zeros on data
}

func (p laidPart) WriteAt(b []byte, offset int64) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	g := segment{offset, offset + int64(len(b))}
	if &b[0] != &zeros[0] {
		p.data.add(g)
		return p.part.WriteAt(b, offset)
	}
	p.laid[offset]++
	if p.data.next(g.Begin) < g.End {
		p.over.add(g)
	}
	return p.part.WriteAt(b, offset)
}

// fewBytes is a body that brings few bytes at a time, as a network does.
type fewBytes struct {
	io.ReadCloser
	most int
}

func (f fewBytes) Read(p []byte) (int, error) { return f.ReadCloser.Read(p[:min(len(p), f.most)]) }

// TestBlocksAreLaidOutWhole: what comes in small pieces is laid out in blocks, each once, and never over what is there.
func TestBlocksAreLaidOutWhole(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWeb(1, rapid.IntRange(1, 5*mib).Draw(rt, "size"))
		most := rapid.OneOf(rapid.Just(16<<10), rapid.IntRange(1000, 200_000)).Draw(rt, "most bytes at a time")
		answer := func(ctx context.Context, version string, offset, length int64) (*Arrival, error) {
			a, err := w.answer(ctx, version, offset, length)
			if err == nil {
				a.Body = fewBytes{a.Body, most}
			}
			return a, err
		}
		s := openStore(t, Options{})
		p := laidPart{mu: new(sync.Mutex), laid: map[int64]int{}, data: new(segments), over: new(segments)}
		create := s.createPart
		s.createPart = func(name string, keep bool) (part, error) {
			var err error
			p.part, err = create(name, keep)
			return p, err
		}
		var clients sync.WaitGroup
		for range rapid.IntRange(0, 4).Draw(rt, "ranges") {
			begin := rapid.Int64Range(0, w.obj.Size-1).Draw(rt, "begin")
			end := rapid.Int64Range(begin+1, w.obj.Size).Draw(rt, "end")
			r, err := s.Stream(t.Context(), "k", "", begin, end-begin, answer)
			if err != nil {
				rt.Fatal(err)
			}
			clients.Go(func() {
				defer r.Close()
				wantRange(t, r, w.origin, begin, end)
			})
		}
		r, err := s.Stream(t.Context(), "k", "", 0, 0, answer)
		if err != nil {
			rt.Fatal(err)
		}
		wantBytes(t, r, w.data)
		r.Close()
		clients.Wait()
		if len(*p.over) > 0 {
			rt.Errorf("zeros written over data: %v", *p.over)
		}
		for at, times := range p.laid {
			if at%ChunkSize != 0 || times != 1 {
				rt.Errorf("laid out %d times: what begins at %d", times, at)
			}
		}
		if calls, _ := w.seen(); len(calls) == 1 && int64(len(p.laid)) < w.obj.Size/ChunkSize-1 {
			rt.Errorf("%d bytes in pieces of %d: %d blocks laid out", w.obj.Size, most, len(p.laid))
		}
	})
}
