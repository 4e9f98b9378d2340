package uplink

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pureboot/pureboot/agent/content"
	"github.com/pureboot/pureboot/central/wire"
)

const (
	syncFiles    = 4   // that are fetched at the same time
	syncFailures = 20  // in a row, after which the rest is not tried
	maxErrors    = 100 // that a result names
	maxErrorText = 500 // bytes
)

// syncRun is one sync.
type syncRun struct {
	*Syncer
	SyncRequest
	began    time.Time
	received atomic.Int64 // bytes over the network

	mu       sync.Mutex
	first    time.Time // when the first file was begun
	total    int       // files
	size     int64     // theirs, in bytes
	synced   int
	done     int64 // size of those that are synced
	failed   int
	row      int // failures since a file was synced
	removed  int
	rejected bool            // the manifest could not be had
	active   map[string]bool // files that are being fetched
	errors   []wire.SyncError
}

// work does all of it, and reports whether it is to be taken up again, because central was not to be had.
func (r *syncRun) work(ctx context.Context) (again bool) {
	pulled, err := r.files.Refresh(ctx, r.Force)
	r.removed = pulled.Removed
	if err == nil {
		err = r.reached()
	}
	if err != nil {
		r.rejected = true
		r.fail("", err)
		return !errors.Is(err, content.ErrManifest) && !errors.Is(err, errEpoch)
	}
	if len(r.Categories) == 0 {
		r.files.NewNames() // which this brings
	}
	// What central changes meanwhile is learnt from the heartbeat, and brought too.
	tried := map[string]string{}
	for todo := r.plan(tried); len(todo) > 0; todo = r.plan(tried) {
		if err := r.bring(ctx, todo); err != nil {
			r.fail("", fmt.Errorf("%w: %d files are left", err, r.left()))
			return true
		}
	}
	return false
}

// errEpoch refuses what no central has asked for.
var errEpoch = errors.New("not to be reached")

// reached says what is wrong if the epoch that was asked for is not reached. What a central of another history has
// asked for is not to be reached any more.
func (r *syncRun) reached() error {
	if r.Epoch == "" {
		return nil
	}
	want, err := wire.ParseEpoch(r.Epoch)
	if err != nil {
		return fmt.Errorf("%w: %w", errEpoch, err)
	}
	if have := r.files.Epoch(); have.Stream == want.Stream && have.N < want.N {
		return fmt.Errorf("central's files are as of %d, not yet of %d", have.N, want.N)
	}
	return nil
}

// plan returns what is to be brought or verified now, and notes it as tried, each version once.
func (r *syncRun) plan(tried map[string]string) (todo []content.Wanted) {
	fits, rest := r.files.Fit(r.files.Wanted())
	for _, w := range rest {
		if name := string(w.Key()); r.concerns(w) && !w.Here && tried[name] != w.SHA256.String() {
			tried[name] = w.SHA256.String()
			r.fail(name, fmt.Errorf("%w: %d bytes", content.ErrNoRoom, w.Size))
		}
	}
	for _, w := range fits {
		if name := string(w.Key()); r.concerns(w) && (!w.Here || r.Force) && tried[name] != w.SHA256.String() {
			tried[name] = w.SHA256.String()
			todo = append(todo, w)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.total += len(todo)
	for _, w := range todo {
		r.size += w.Size
	}
	return todo
}

func (r *syncRun) concerns(w content.Wanted) bool {
	return (len(r.Categories) == 0 || slices.Contains(r.Categories, w.Category)) && (!r.Workflows || w.Reason == content.ForWorkflow)
}

// bring brings files, some at a time, in their order. The error is why the rest was not tried.
func (r *syncRun) bring(ctx context.Context, todo []content.Wanted) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var group errgroup.Group
	group.SetLimit(syncFiles)
	for _, w := range todo {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error {
			if ctx.Err() == nil {
				r.one(ctx, stop, w)
			}
			return nil
		})
	}
	_ = group.Wait() // each file's error is in the result
	return context.Cause(ctx)
}

// one brings a file, or verifies it. It stops all if that makes no sense any more.
func (r *syncRun) one(ctx context.Context, stop context.CancelCauseFunc, w content.Wanted) {
	name := string(w.Key())
	r.begin(name)
	defer r.end(name)
	err := r.get(ctx, w)
	switch {
	case err == nil:
		r.brought.Add(1)
		r.mu.Lock()
		r.synced, r.row = r.synced+1, 0
		r.done += w.Size
		r.mu.Unlock()
	case errors.Is(err, fs.ErrNotExist): // central has removed it since
		r.mu.Lock()
		r.total, r.size = r.total-1, r.size-w.Size
		r.mu.Unlock()
	case ctx.Err() != nil:
	default:
		row := r.fail(name, err)
		switch {
		case !r.online():
			stop(errAway)
		case row >= syncFailures:
			stop(errGivenUp)
		}
	}
}

func (r *syncRun) get(ctx context.Context, w content.Wanted) error {
	if w.Here {
		if ok, err := r.files.Verify(ctx, w.Info); ok || err != nil {
			return err
		}
	}
	return r.files.Bring(ctx, w.Info, &r.received)
}

func (r *syncRun) begin(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.first.IsZero() {
		r.first = time.Now()
	}
	r.active[name] = true
}

func (r *syncRun) end(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.active, name)
}

// fail notes why a file is not there, and returns for how many in a row central gave nothing.
func (r *syncRun) fail(name string, err error) int {
	text := err.Error()
	text = text[:min(len(text), maxErrorText)]
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed++
	if !errors.Is(err, content.ErrNoRoom) && !errors.Is(err, content.ErrCorrupt) { // which say nothing of the next file
		r.row++
	}
	if len(r.errors) < maxErrors {
		r.errors = append(r.errors, wire.SyncError{File: name, Error: text})
		r.log.Warn("not synced", "key", name, "err", text)
	}
	return r.row
}

func (r *syncRun) left() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.total - r.synced
}

// progress is how far it is.
func (r *syncRun) progress() wire.SyncProgress {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := wire.SyncProgress{
		Trigger: r.Trigger, StartedAt: r.began.UTC().Truncate(time.Millisecond), FilesTotal: r.total, FilesSynced: r.synced, BytesTotal: r.size,
		BytesDone: min(r.done+r.files.Arrived(r.active), r.size), BytesTransferred: r.received.Load(),
	}
	if took := time.Since(r.first); p.BytesDone > 0 && p.BytesDone < p.BytesTotal && took > time.Second {
		p.ETASeconds = int64(took.Seconds() * float64(p.BytesTotal-p.BytesDone) / float64(p.BytesDone))
	}
	return p
}

// result is how it went, once it is over.
func (r *syncRun) result() wire.SyncResult {
	res := wire.SyncResult{
		SyncProgress: r.progress(), Force: r.Force, Categories: r.Categories, Status: wire.SyncSuccess,
		FinishedAt: time.Now().UTC().Truncate(time.Millisecond), DurationSeconds: time.Since(r.began).Seconds(),
		FilesRemoved: r.removed, Errors: r.errors, ErrorCount: r.failed,
	}
	res.ETASeconds = 0
	if res.Errors == nil {
		res.Errors = []wire.SyncError{}
	}
	switch {
	case r.rejected || r.failed > 0 && r.total > 0 && r.synced == 0:
		res.Status = wire.SyncFailed
	case r.failed > 0:
		res.Status = wire.SyncPartial
	}
	return res
}
