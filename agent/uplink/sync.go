package uplink

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pureboot/pureboot/agent/content"
	"github.com/pureboot/pureboot/central/wire"
)

// Syncer brings the files of the site up to date with central, one sync at a time: when its schedule says so, and when
// it is asked. What it fetches comes after all that a machine waits for. It is safe for concurrent use.
type Syncer struct {
	files  *content.Files
	online func() bool
	file   string // that the last result is kept in
	log    *slog.Logger

	turn    chan struct{} // has room for whoever syncs
	asked   chan struct{} // next was set
	changed chan struct{} // settings was
	brought atomic.Int64  // files since the start

	mu       sync.Mutex
	settings SyncSettings
	schedule Schedule
	due      time.Time        // zero: never
	next     *SyncRequest     // nil: nothing is asked for
	taken    bool             // what was asked for is being done
	left     *SyncRequest     // to be taken up again; nil: nothing is
	now      *syncRun         // nil: none runs
	kept     syncFile         // as it is on disk
	results  map[string]int64 // syncs since the start, by status
	bytes    int64            // that came over the network for those that are over
}

// SyncOptions say what a Syncer works with.
type SyncOptions struct {
	Files  *content.Files
	Online func() bool // whether central is in reach
	Dir    string      // of sync.json
	Log    *slog.Logger
}

// SyncSettings say what a sync brings, and when.
type SyncSettings struct {
	Policy   string   // one of wire.Policies
	Patterns []string // of wire.PolicyPattern
	Schedule string   // five fields of cron; empty: never
}

// SyncRequest asks for a sync.
type SyncRequest struct {
	Trigger    string   `json:"trigger"`              // one of wire's
	Force      bool     `json:"force,omitempty"`      // learn all of the manifest anew, and verify what is here
	Categories []string `json:"categories,omitempty"` // none: all
	Workflows  bool     `json:"workflows,omitempty"`  // only what workflows name
	Epoch      string   `json:"epoch,omitempty"`      // of central's content that is to be reached at least; empty: any
}

// SyncState is what a Syncer does.
type SyncState struct {
	Running  *wire.SyncProgress // nil: nothing
	Busy     bool               // one runs, or is about to
	Last     *wire.SyncResult   // nil: there was none
	Next     time.Time          // by the schedule; zero: never
	Settings SyncSettings
	Results  map[string]int64 // syncs since the start, by status
	Files    int64            // that they have brought
	Bytes    int64            // that came over the network for them
}

// syncFile is sync.json.
type syncFile struct {
	Last  *wire.SyncResult `json:"last,omitempty"`
	Begun *SyncRequest     `json:"begun,omitempty"` // and not ended
}

const syncFileName = "sync.json"

// NewSyncer reads how the last sync went. A file that cannot be read is no reason not to sync.
func NewSyncer(o SyncOptions, settings SyncSettings) (*Syncer, error) {
	s := &Syncer{
		files: o.Files, online: o.Online, file: filepath.Join(o.Dir, syncFileName), log: o.Log,
		turn: make(chan struct{}, 1), asked: make(chan struct{}, 1), changed: make(chan struct{}, 1), results: map[string]int64{},
	}
	text, err := os.ReadFile(s.file)
	if err == nil {
		err = json.Unmarshal(text, &s.kept)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.kept = syncFile{}
		s.log.Warn("last sync not readable, going on without it", "err", err)
	}
	s.left = s.kept.Begun
	return s, s.Configure(settings)
}

// Configure changes the settings, or none of them. A sync that runs goes on with the new policy where it next looks.
func (s *Syncer) Configure(settings SyncSettings) error {
	policy, policyErr := content.NewPolicy(settings.Policy, settings.Patterns)
	schedule, scheduleErr := ParseSchedule(settings.Schedule)
	if err := errors.Join(policyErr, scheduleErr); err != nil {
		return err
	}
	s.mu.Lock()
	before := s.settings
	s.settings, s.schedule = settings, schedule
	if before.Schedule != settings.Schedule {
		s.due = staggered(schedule.Next(time.Now()))
		nudge(s.changed)
	}
	s.mu.Unlock()
	if before.Policy != settings.Policy || !slices.Equal(before.Patterns, settings.Patterns) {
		s.files.SetPolicy(policy)
	}
	return nil
}

// Start has a sync begin as soon as none runs, together with what else was asked for by then.
func (s *Syncer) Start(r SyncRequest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r = r.and(s.next)
	s.next = &r
	nudge(s.asked)
}

// and returns what does for an earlier request too; nil: there is none.
func (r SyncRequest) and(earlier *SyncRequest) SyncRequest {
	if earlier == nil {
		return r
	}
	r.Force, r.Workflows = r.Force || earlier.Force, r.Workflows && earlier.Workflows
	if len(r.Categories) > 0 && len(earlier.Categories) > 0 {
		r.Categories = slices.Concat(r.Categories, earlier.Categories)
		slices.Sort(r.Categories)
		r.Categories = slices.Compact(r.Categories)
	} else {
		r.Categories = nil
	}
	// Of two histories of central's it is the later request's that counts.
	was, err := wire.ParseEpoch(earlier.Epoch)
	now, nowErr := wire.ParseEpoch(r.Epoch)
	if r.Epoch == "" || err == nil && nowErr == nil && was.Stream == now.Stream && was.N > now.N {
		r.Epoch = earlier.Epoch
	}
	return r
}

// does says whether a sync for r leaves nothing to be done for another request; nil: there is none.
func (r SyncRequest) does(other *SyncRequest) bool {
	both := r.and(other)
	more := func(category string) bool { return !slices.Contains(r.Categories, category) }
	return both.Force == r.Force && both.Workflows == r.Workflows && both.Epoch == r.Epoch &&
		len(both.Categories) == 0 == (len(r.Categories) == 0) && !slices.ContainsFunc(both.Categories, more)
}

// Sync syncs as soon as nobody else does, and returns how it went. The error is ctx's: how far it came is then no
// result, and Run takes it up again.
func (s *Syncer) Sync(ctx context.Context, r SyncRequest) (wire.SyncResult, error) {
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return wire.SyncResult{}, context.Cause(ctx)
	}
	defer func() { <-s.turn }()
	run := &syncRun{Syncer: s, SyncRequest: r, began: time.Now(), active: map[string]bool{}}
	s.mu.Lock()
	s.now = run
	rest := r.and(s.left) // if it is cut
	if r.does(s.left) {
		s.left = nil
	}
	s.kept.Begun = &rest
	s.keep()
	s.mu.Unlock()
	s.log.Info("sync begun", "trigger", r.Trigger, "force", r.Force)
	again := run.work(ctx)

	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = nil
	s.bytes += run.received.Load()
	if ctx.Err() != nil || again {
		s.left = &rest
		nudge(s.changed)
	}
	s.kept.Begun = s.left
	if ctx.Err() != nil {
		return wire.SyncResult{}, context.Cause(ctx)
	}
	result := run.result()
	s.kept.Last = &result
	s.keep()
	s.results[result.Status]++
	s.log.Info("sync ended", "trigger", r.Trigger, "status", result.Status, "files", result.FilesSynced, "of", result.FilesTotal,
		"removed", result.FilesRemoved, "errors", result.ErrorCount, "bytes", result.BytesTransferred, "took", time.Since(run.began))
	return result, nil
}

// keep writes what a restart needs. mu is held.
func (s *Syncer) keep() {
	if err := writeJSON(s.file, s.kept); err != nil {
		s.log.Error("sync not kept for a restart", "err", err)
	}
}

// Last returns how the last sync went; nil: there was none.
func (s *Syncer) Last() *wire.SyncResult {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept.Last
}

// Running returns how far the sync is that runs; nil: none does.
func (s *Syncer) Running() *wire.SyncProgress {
	s.mu.Lock()
	run := s.now
	s.mu.Unlock()
	if run == nil {
		return nil
	}
	p := run.progress()
	return &p
}

// State returns what it does.
func (s *Syncer) State() SyncState {
	running := s.Running()
	s.mu.Lock()
	defer s.mu.Unlock()
	state := SyncState{
		Running: running, Busy: s.now != nil || s.next != nil || s.taken, Last: s.kept.Last, Next: s.due, Settings: s.settings, Results: maps.Clone(s.results),
		Files: s.brought.Load(), Bytes: s.bytes,
	}
	if s.now != nil && running != nil {
		state.Bytes += running.BytesTransferred
	}
	return state
}

// Pauses before a sync that central was out of reach of is taken up again.
const (
	firstRetry = time.Minute
	maxRetry   = time.Hour
)

// Run syncs by the schedule and by Start until ctx ends. It begins with what an earlier run has left unfinished.
func (s *Syncer) Run(ctx context.Context) error {
	pause := firstRetry
	retry := s.retryIn(0)
	for {
		s.mu.Lock()
		due := time.Until(s.due)
		if s.due.IsZero() {
			due = forever
		}
		s.mu.Unlock()
		wait := time.NewTimer(min(due, retry))
		select {
		case <-ctx.Done():
			wait.Stop()
			return nil
		case <-s.changed:
			wait.Stop()
			retry = min(retry, s.retryIn(pause))
			continue
		case <-s.asked:
			wait.Stop()
		case <-wait.C:
			if due <= retry {
				s.Start(SyncRequest{Trigger: wire.TriggerSchedule})
				s.mu.Lock()
				s.due = staggered(s.schedule.Next(time.Now()))
				s.mu.Unlock()
			} else {
				s.resume()
			}
		}
		if s.take(ctx); ctx.Err() != nil {
			return nil
		}
		if retry = s.retryIn(pause); retry == forever {
			pause = firstRetry
		} else {
			pause = min(2*pause, maxRetry)
		}
	}
}

const forever = 100 * 365 * 24 * time.Hour

// retryIn is the pause if something is left to be taken up again.
func (s *Syncer) retryIn(pause time.Duration) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left == nil {
		return forever
	}
	return pause
}

// resume asks for what is left.
func (s *Syncer) resume() {
	s.mu.Lock()
	left := s.left
	s.mu.Unlock()
	if left != nil {
		r := *left
		r.Trigger = wire.TriggerResume
		s.Start(r)
	}
}

// take does what is asked for.
func (s *Syncer) take(ctx context.Context) {
	s.mu.Lock()
	r := s.next
	s.next, s.taken = nil, true
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.taken = false
		s.mu.Unlock()
	}()
	if r == nil {
		return
	}
	if _, err := s.Sync(ctx, *r); err != nil {
		s.log.Info("sync cut short", "err", err)
	}
}

// nudge asks once, however often before it is heard.
func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// These end a sync that has nobody to fetch from.
var (
	errAway    = errors.New("central is out of reach")
	errGivenUp = errors.New("too many failures in a row")
)
