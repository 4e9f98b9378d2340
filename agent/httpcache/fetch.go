package httpcache

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/pureboot/pureboot/agent/cache"
)

// errSlow is an origin that takes longer than a stale response may wait for it.
var errSlow = errors.New("the origin takes too long")

type streamed struct {
	reader *cache.Reader
	err    error
}

// stream has the store bring what the origin has, for all who want it now. If there is something stale that could
// be served instead, the origin gets little time to answer; what it says later is stored all the same.
func (h *Handler) stream(ctx context.Context, a *ask, replaceable bool) (*cache.Reader, error) {
	if err := h.slots.reserve(a.primary, a.key); err != nil {
		return nil, err
	}
	if !replaceable {
		return h.Cache.Stream(ctx, a.key, a.version, a.begin, a.length, a.origin)
	}
	if h.isSlow(a.key) {
		return nil, errSlow
	}
	own, cancel := context.WithCancelCause(h.ctx)
	came := make(chan streamed, 1)
	if !h.background(func() {
		reader, err := h.Cache.Stream(own, a.key, a.version, a.begin, a.length, a.origin)
		came <- streamed{reader, err}
	}) {
		cancel(nil)
		return nil, cache.ErrClosed
	}
	timer := time.NewTimer(h.patience())
	defer timer.Stop()
	select {
	case s := <-came:
		stop := context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })
		a.done = append(a.done, func() { stop(); cancel(nil) })
		return s.reader, s.err
	case <-ctx.Done():
	case <-timer.C:
		h.down.Store(time.Now().Add(downTime).UnixNano())
	}
	finish := func() {
		defer cancel(nil)
		h.keep(a.key, <-came)
	}
	if !h.markSlow(a.key) {
		cancel(errSlow) // somebody else waits for it already
		finish = func() {
			if s := <-came; s.err == nil {
				s.reader.Close()
			}
		}
	}
	if !h.background(finish) {
		cancel(errSlow)
		finish()
	}
	return nil, errSlow
}

// patience is how long the origin may take where something stale could be served instead.
func (h *Handler) patience() time.Duration {
	if time.Now().UnixNano() < h.down.Load() {
		return impatience
	}
	return h.patient
}

// validateLater asks about what has just been served, without a client.
func (h *Handler) validateLater(r *visit, f *found) {
	if !h.markBusy(f.slot.key) {
		return
	}
	later := *r
	later.Request = r.Request.WithContext(h.ctx)
	later.Header = Unconditional(r.Header) // a range's reader would fetch that alone
	if later.Method == http.MethodHead && f.Method == http.MethodGet {
		later.Method = http.MethodGet
	}
	later.key, later.version = f.slot.key, f.version
	a := h.newAsk(&later, Verdict{Stored: f.Stored})
	a.left = true // nobody takes what is not stored
	if !h.background(func() {
		reader, err := h.Cache.Stream(h.ctx, a.key, a.version, 0, 0, a.origin)
		h.keep(a.key, streamed{reader, err})
	}) {
		h.free(f.slot.key)
	}
}

// keep sees to it that what has begun to be stored is stored.
func (h *Handler) keep(key cache.Key, s streamed) {
	defer h.free(key)
	if s.err == nil {
		defer s.reader.Close()
		s.err = s.reader.Stored()
	}
	_, confirmed := errors.AsType[*confirmation](s.err)
	if s.err != nil && !confirmed && h.ctx.Err() == nil {
		h.Log.Info("stale response not replaced", "key", key, "err", s.err)
	}
}

func (h *Handler) isSlow(key cache.Key) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.busy[key]
}

// markSlow notes that the origin takes long to answer about key, and is true for the first to know.
func (h *Handler) markSlow(key cache.Key) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, known := h.busy[key]
	h.busy[key] = true
	return !known
}

// markBusy notes that key is being validated without a client, unless it is.
func (h *Handler) markBusy(key cache.Key) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, known := h.busy[key]; known {
		return false
	}
	h.busy[key] = false
	return true
}

func (h *Handler) free(key cache.Key) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.busy, key)
}

func timedOut(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout() || errors.Is(err, context.DeadlineExceeded)
}
