package cache

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// paidAtOnce bounds what is read before it is paid for, in bytes, so that what is urgent does not wait long.
const paidAtOnce = 32 << 10

// transfer reads an object from its source. Read in order, its pieces come from one stream, which is taken
// up where it was cut. Pieces of an object with chunk digests are its chunks, verified; of others,
// whatever has arrived. It is used by one goroutine.
type transfer struct {
	obj   Object
	src   Source
	until int64 // bytes are asked of src up to this offset; 0: to the end
	most  int64 // bytes in a piece that is no chunk; 0: no limit
	tries int
	stall time.Duration
	admit func(context.Context, int) error // pays for what was read; nil: it is free
	count *counters
	pool  *sync.Pool // of buf

	body    *watchedBody
	next    int64 // offset of body's next byte
	last    int64 // offset at which body ends because no more was asked for; 0: none
	early   *earlyBody
	failed  int // tries in a row that brought nothing
	pause   backoff.ExponentialBackOff
	suspect bool // the stream's last chunk was wrong
	buf     *[ChunkSize]byte
}

func (s *Store) newTransfer(obj Object, src Source) *transfer {
	return &transfer{
		obj: obj, src: src, tries: s.opts.Tries, stall: s.opts.Stall, count: &s.count, pool: &s.buffers,
		pause: backoff.ExponentialBackOff{
			InitialInterval: 200 * time.Millisecond, RandomizationFactor: 0.5, Multiplier: 2, MaxInterval: 5 * time.Second,
		},
		buf: s.buffers.Get().(*[ChunkSize]byte),
	}
}

// at reports whether the stream that is open is at offset.
func (t *transfer) at(offset int64) bool {
	return t.body != nil && t.next == offset && (t.last == 0 || offset < t.last)
}

// piece returns the bytes from offset on, at least one, valid until the next call. io.EOF says that
// there are none, and comes only where the size is not known.
func (t *transfer) piece(ctx context.Context, offset int64) ([]byte, error) {
	if len(t.obj.Chunks) > 0 {
		return t.chunk(ctx, offset/ChunkSize)
	}
	p := t.buf[:]
	if t.obj.Size >= 0 {
		p = p[:min(int64(len(p)), t.obj.Size-offset)]
	}
	if t.most > 0 {
		p = p[:min(int64(len(p)), t.most)]
	}
	n, err := t.read(ctx, p, offset, 1)
	return p[:n], err
}

// chunk returns chunk i, verified, valid until the next call. A chunk that is wrong is fetched
// again alone while the stream waits; two in a row mean that the stream itself has slipped, so it is
// opened anew behind them.
func (t *transfer) chunk(ctx context.Context, i int64) ([]byte, error) {
	offset := i * ChunkSize
	chunk := t.buf[:t.obj.chunkLen(i)]
	if _, err := t.read(ctx, chunk, offset, len(chunk)); err != nil {
		return nil, err
	}
	if Digest(sha256.Sum256(chunk)) == t.obj.Chunks[i] {
		t.suspect = false
		return chunk, nil
	}
	t.count.corruptions.Add(1)
	if t.suspect {
		t.hangUp()
	}
	t.suspect = true

	alone := *t
	alone.body, alone.early, alone.until = nil, nil, offset+int64(len(chunk))
	defer alone.hangUp()
	if _, err := alone.read(ctx, chunk, offset, len(chunk)); err != nil {
		return nil, err
	}
	if Digest(sha256.Sum256(chunk)) != t.obj.Chunks[i] {
		t.count.corruptions.Add(1)
		return nil, fmt.Errorf("%w: chunk %d, twice", ErrCorrupt, i)
	}
	return chunk, nil
}

// read reads at least least bytes at offset into p, calling the source as often as its cuts demand. The bytes
// of a chunk may come from several calls: if they do not fit together, its digest tells.
func (t *transfer) read(ctx context.Context, p []byte, offset int64, least int) (have int, err error) {
	for {
		n, cost, err := t.readStream(ctx, p[have:], offset+int64(have))
		t.count.bytesIn.Add(int64(cost))
		have += n
		if n > 0 {
			t.failed = 0
			t.pause.Reset()
		}
		if cost > 0 && t.admit != nil {
			if err := t.admit(ctx, cost); err != nil {
				return have, err
			}
		}
		switch {
		case have >= least:
			return have, nil
		case err == nil:
			continue
		case errors.Is(err, io.EOF) && t.obj.Size < 0:
			return have, io.EOF
		}
		t.hangUp()
		if ctx.Err() != nil {
			return have, context.Cause(ctx)
		}
		if _, ok := errors.AsType[*backoff.PermanentError](err); ok {
			return have, err
		}
		if t.failed++; t.failed >= t.tries {
			return have, fmt.Errorf("source failed %d times at offset %d: %w", t.failed, offset+int64(have), err)
		}
		if err := sleep(ctx, t.pause.NextBackOff()); err != nil {
			return have, err
		}
		t.count.resumes.Add(1)
	}
}

// readStream reads into p what has arrived, opening the stream if it is not at offset. cost is in bytes of the wire.
func (t *transfer) readStream(ctx context.Context, p []byte, offset int64) (n, cost int, err error) {
	if !t.at(offset) {
		if err := t.open(ctx, offset); err != nil {
			return 0, 0, err
		}
	}
	if t.last > 0 {
		p = p[:min(int64(len(p)), t.last-offset)]
	}
	if t.admit != nil {
		p = p[:min(len(p), paidAtOnce)]
	}
	n, err = t.body.Read(p)
	t.next += int64(n)
	if t.obj.Size >= 0 && errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return n, t.body.cost(n), err
}

func (t *transfer) open(ctx context.Context, offset int64) error {
	t.hangUp()
	var err error
	if e := t.early; e != nil && e.begin < offset {
		t.dropEarly() // somebody else has brought it
	}
	if e := t.early; e != nil && e.begin == offset {
		t.early, t.until = nil, e.end
		<-e.opened
		t.body, err = e.body, e.err
	} else {
		length := max(t.until-offset, 0)
		t.body, err = watch(ctx, t.stall, func(ctx context.Context) (io.ReadCloser, error) { return t.src(ctx, offset, length) })
	}
	if err != nil {
		t.body = nil
		return err
	}
	t.next, t.last = offset, t.until
	return nil
}

// earlyBody is a request that is made a round trip before its bytes are needed.
type earlyBody struct {
	begin, end int64
	cancel     context.CancelFunc
	opened     chan struct{} // closed when the two are set
	body       *watchedBody
	err        error
}

// ahead asks for the bytes from begin on, up to end if that is not 0, while others are still being read.
func (t *transfer) ahead(ctx context.Context, begin, end int64) {
	e := &earlyBody{begin: begin, end: end, opened: make(chan struct{})}
	ctx, e.cancel = context.WithCancel(ctx)
	go func() {
		defer close(e.opened)
		e.body, e.err = watch(ctx, t.stall, func(ctx context.Context) (io.ReadCloser, error) { return t.src(ctx, begin, max(end-begin, 0)) })
		if e.err != nil {
			e.cancel()
		} else {
			e.body.also = e.cancel
		}
	}()
	t.early = e
}

func (t *transfer) dropEarly() {
	if e := t.early; e != nil {
		e.cancel()
		if <-e.opened; e.body != nil {
			e.body.Close()
		}
		t.early = nil
	}
}

func (t *transfer) hangUp() {
	if t.body != nil {
		t.body.Close()
		t.body = nil
	}
}

// close ends the transfer; a piece it returned is no longer valid.
func (t *transfer) close() {
	t.hangUp()
	t.dropEarly()
	t.pool.Put(t.buf)
	t.buf = nil
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
