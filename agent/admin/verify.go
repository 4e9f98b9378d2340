package admin

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/pureboot/pureboot/agent/cache"
)

// PathVerify is where the cache's disk is checked.
const PathVerify = PathCache + "/verify"

// Verify is the check that runs, or the last one.
type Verify struct {
	Running      bool       `json:"running"`
	TotalBytes   int64      `json:"total_bytes"` // to be checked, as of its begin
	CheckedBytes int64      `json:"checked_bytes"`
	Corrupt      int64      `json:"corrupt"`  // chunks, or files without chunk digests, that were found wrong
	Repaired     int64      `json:"repaired"` // of those; what could not be repaired is no longer in the cache
	StartedAt    *time.Time `json:"started_at,omitempty"`
	FinishedAt   *time.Time `json:"finished_at,omitempty"`
	Canceled     bool       `json:"canceled,omitempty"` // the agent ended before it was done
}

// verifier checks the cache's disk, once at a time.
type verifier struct {
	cache *cache.Store
	asked chan struct{}

	mu     sync.Mutex
	last   Verify
	before cache.Stats // of last's begin
}

func newVerifier(c *cache.Store) *verifier { return &verifier{cache: c, asked: make(chan struct{}, 1)} }

// Verify reads all that the cache has and repairs what is damaged, at most bytesPerSecond (0: as fast as it goes). If a
// check runs already it returns at once. The error is ctx's.
func (a *API) Verify(ctx context.Context, bytesPerSecond int64) (Verify, error) {
	if !a.verify.begin() {
		return a.verify.state(), nil
	}
	return a.verify.check(ctx, bytesPerSecond)
}

// begin reports whether the caller is to check.
func (v *verifier) begin() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.last.Running {
		return false
	}
	now := time.Now()
	v.last, v.before = Verify{Running: true, StartedAt: &now}, v.cache.Stats()
	for e := range v.cache.All() {
		if e.Object.SHA256 != (cache.Digest{}) {
			v.last.TotalBytes += e.Object.Size
		}
	}
	return true
}

func (v *verifier) check(ctx context.Context, bytesPerSecond int64) (Verify, error) {
	err := v.cache.Scrub(ctx, bytesPerSecond)
	done := v.state()
	now := time.Now()
	done.Running, done.FinishedAt, done.Canceled = false, &now, err != nil
	v.mu.Lock()
	defer v.mu.Unlock()
	v.last = done
	return done, err
}

// state is the check that runs, or the last one.
func (v *verifier) state() Verify {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := v.last
	if now.Running {
		s := v.cache.Stats()
		now.CheckedBytes = s.Scrubbed - v.before.Scrubbed
		now.Repaired = s.Repaired - v.before.Repaired
		now.Corrupt = s.ScrubCorruptions - v.before.ScrubCorruptions
	}
	return now
}

// run makes the checks that the API is asked for.
func (v *verifier) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-v.asked:
		}
		if _, err := v.check(ctx, 0); err != nil {
			return nil // told to stop
		}
	}
}

func (a *API) getVerify(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, a.verify.state())
}

// postVerify begins a check unless one runs, and does not wait for it.
func (a *API) postVerify(w http.ResponseWriter, _ *http.Request) {
	if a.verify.begin() {
		a.verify.asked <- struct{}{} // there is room: only one begins at a time
	}
	answer(w, http.StatusAccepted, a.verify.state())
}
