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
	if w.also != nil {
		w.also()
	}
	return w.ReadCloser.Close()
}
