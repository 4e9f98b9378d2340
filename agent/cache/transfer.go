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

var errStalled = errors.New("source sends nothing")

// transfer reads an object from its source, one verified chunk at a time. Read in order, the chunks
// come from one stream, which is taken up where it was cut. It is used by one goroutine.
type transfer struct {
	obj    Object
	src    Source
	length int64 // asked of src; 0: to the end
	tries  int
	stall  time.Duration
	count  *counters
	pool   *sync.Pool // of buf

	body    *watchedBody
	next    int64 // offset of body's next byte
	failed  int   // tries in a row that brought nothing
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

// chunk returns chunk i, verified, valid until the next call. A chunk that is wrong is fetched
// again alone while the stream waits; two in a row mean that the stream itself has slipped, so it is
// opened anew behind them.
func (t *transfer) chunk(ctx context.Context, i int64) ([]byte, error) {
	offset := i * ChunkSize
	chunk := t.buf[:t.obj.chunkLen(i)]
	if err := t.read(ctx, chunk, offset); err != nil {
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
	alone.body, alone.length = nil, int64(len(chunk))
	defer alone.hangUp()
	if err := alone.read(ctx, chunk, offset); err != nil {
		return nil, err
	}
	if Digest(sha256.Sum256(chunk)) != t.obj.Chunks[i] {
		t.count.corruptions.Add(1)
		return nil, fmt.Errorf("%w: chunk %d, twice", ErrCorrupt, i)
	}
	return chunk, nil
}

// read fills p with the bytes at offset, calling the source as often as its cuts demand. The bytes
// of a chunk may come from several calls: if they do not fit together, its digest tells.
func (t *transfer) read(ctx context.Context, p []byte, offset int64) error {
	for {
		n, err := t.readStream(ctx, p, offset)
		t.count.bytesIn.Add(int64(n))
		if n > 0 {
			t.failed = 0
			t.pause.Reset()
		}
		if n == len(p) {
			return nil
		}
		p, offset = p[n:], offset+int64(n)
		t.hangUp()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if _, ok := errors.AsType[*backoff.PermanentError](err); ok {
			return err
		}
		if t.failed++; t.failed >= t.tries {
			return fmt.Errorf("source failed %d times at offset %d: %w", t.failed, offset, err)
		}
		if err := sleep(ctx, t.pause.NextBackOff()); err != nil {
			return err
		}
		t.count.resumes.Add(1)
	}
}

// readStream reads into p until it is full or the stream ends, opening the stream if it is not at
// offset.
func (t *transfer) readStream(ctx context.Context, p []byte, offset int64) (int, error) {
	if t.body == nil || t.next != offset {
		t.hangUp()
		length := t.length
		if length > 0 {
			length = int64(len(p)) // what is left of it after a cut
		}
		body, err := watch(ctx, t.stall, func(ctx context.Context) (io.ReadCloser, error) {
			return t.src(ctx, offset, length)
		})
		if err != nil {
			return 0, err
		}
		t.body, t.next = body, offset
	}
	n, err := io.ReadFull(t.body, p)
	t.next += int64(n)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func (t *transfer) hangUp() {
	if t.body != nil {
		t.body.Close()
		t.body = nil
	}
}

// close ends the transfer; a chunk it returned is no longer valid.
func (t *transfer) close() {
	t.hangUp()
	t.pool.Put(t.buf)
	t.buf = nil
}

// watchedBody is a body whose context ends when nothing comes for too long. Time counts only while
// somebody waits for it: a reader may take as long as it likes.
type watchedBody struct {
	io.ReadCloser
	ctx    context.Context // of the body; a call's, kept because the body keeps it
	cancel context.CancelCauseFunc
	timer  *time.Timer
	stall  time.Duration
}

func watch(ctx context.Context, stall time.Duration, open func(context.Context) (io.ReadCloser, error)) (*watchedBody, error) {
	w := &watchedBody{stall: stall}
	w.ctx, w.cancel = context.WithCancelCause(ctx)
	w.timer = time.AfterFunc(stall, func() { w.cancel(errStalled) })
	body, err := open(w.ctx)
	w.timer.Stop()
	if err != nil {
		err = w.explain(err)
		w.cancel(nil)
		return nil, err
	}
	w.ReadCloser = body
	return w, nil
}

func (w *watchedBody) Read(p []byte) (int, error) {
	w.timer.Reset(w.stall)
	n, err := w.ReadCloser.Read(p)
	w.timer.Stop()
	return n, w.explain(err)
}

func (w *watchedBody) explain(err error) error {
	if err != nil && errors.Is(context.Cause(w.ctx), errStalled) {
		return fmt.Errorf("%w for %v", errStalled, w.stall)
	}
	return err
}

func (w *watchedBody) Close() error {
	w.timer.Stop()
	w.cancel(nil)
	return w.ReadCloser.Close()
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
