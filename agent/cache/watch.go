package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

var errStalled = errors.New("source sends nothing")

// watchedBody is a body whose context ends when nothing comes for too long. Time counts only while
// somebody waits for it: a reader may take as long as it likes.
type watchedBody struct {
	io.ReadCloser
	ctx    context.Context // of the body; a call's, kept because the body keeps it
	cancel context.CancelCauseFunc
	also   context.CancelFunc // of what ends with the body besides; may be nil
	timer  *time.Timer
	stall  time.Duration
	paid   int64 // bytes received that cost has told of
}

// encoded is a Source's body that is decoded as it is read: what it brings is not what went over the wire.
type encoded interface {
	Received() int64 // bytes over the wire so far
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

// cost returns the bytes that went over the wire for the n that the last Read brought.
func (w *watchedBody) cost(n int) int {
	body, ok := w.ReadCloser.(encoded)
	if !ok {
		return n
	}
	received := body.Received()
	n, w.paid = int(received-w.paid), received
	return n
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
	if w.also != nil {
		w.also()
	}
	return w.ReadCloser.Close()
}
