package admin

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/pureboot/pureboot/agent/cache"
	"github.com/pureboot/pureboot/agent/content"
	"github.com/pureboot/pureboot/central/wire"
)

// PathPrefetch is where the prefetch list is read and changed.
const PathPrefetch = PathCache + "/prefetch"

// The pauses of prefetching.
const (
	prefetchRetry = 5 * time.Minute  // before what failed is tried again
	prefetchLook  = 10 * time.Second // between looks for changes of central's files
)

// Prefetch is what the cache is to bring before anybody asks for it: names or globs of central's files, or URLs below
// upstreams. Nobody waits for it, so it comes after what machines wait for.
type Prefetch struct {
	Running bool           `json:"running"`
	Items   []PrefetchItem `json:"items"`
}

// PrefetchItem is one name of the list, and how far it is.
type PrefetchItem struct {
	Item       string        `json:"item"`
	State      PrefetchState `json:"state"`
	Files      int           `json:"files"`
	FilesDone  int           `json:"files_done"`
	SizeBytes  int64         `json:"size_bytes"` // as far as it is known
	HaveBytes  int64         `json:"have_bytes"`
	Error      string        `json:"error,omitempty"` // the last
	FinishedAt *time.Time    `json:"finished_at,omitempty"`
}

// PrefetchState is how far a name is.
type PrefetchState string

// The states.
const (
	PrefetchWaiting PrefetchState = "waiting"
	PrefetchRunning PrefetchState = "running"
	PrefetchDone    PrefetchState = "done"
	PrefetchFailed  PrefetchState = "failed" // and is tried again
)

// prefetcher works on the list, one file at a time.
type prefetcher struct {
	*list
	api  *API
	log  *slog.Logger
	kick chan struct{} // the list is to be worked on now

	mu      sync.Mutex
	items   map[string]*PrefetchItem // what is known of the list's names
	current cache.Key                // being fetched for an item; "": nothing
	running bool
}

func (a *API) newPrefetcher(l *list) *prefetcher {
	p := &prefetcher{list: l, api: a, log: a.Log, kick: make(chan struct{}, 1), items: map[string]*PrefetchItem{}}
	p.start()
	return p
}

// start has the list worked on, soon.
func (p *prefetcher) start() {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.get()
	for name := range p.items {
		if !slices.Contains(list, name) {
			delete(p.items, name)
		}
	}
	for _, name := range list {
		if item := p.items[name]; item == nil || item.State != PrefetchRunning {
			p.items[name] = &PrefetchItem{Item: name, State: PrefetchWaiting}
		}
	}
	p.running = len(list) > 0
	select {
	case p.kick <- struct{}{}:
	default:
	}
}

// run works on the list when it changes, when central's files do, and again a while after something has failed.
func (p *prefetcher) run(ctx context.Context) error {
	look := time.NewTicker(prefetchLook)
	defer look.Stop()
	var epoch wire.Epoch
	var failed time.Time // zero: nothing has
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.kick:
		case <-look.C:
			changed := epoch != p.api.Files.Epoch()
			if len(p.get()) == 0 || !changed && (failed.IsZero() || time.Since(failed) < prefetchRetry) {
				continue
			}
		}
		epoch, failed = p.api.Files.Epoch(), time.Time{}
		for _, name := range p.get() {
			if err := p.fetch(ctx, name); err != nil {
				failed = time.Now()
			}
			if ctx.Err() != nil {
				return nil
			}
		}
		p.mu.Lock()
		p.running = len(p.kick) > 0
		p.mu.Unlock()
	}
}

// fetch brings what a name stands for. It stops between two files when the name is taken off the list.
func (p *prefetcher) fetch(ctx context.Context, name string) error {
	jobs, err := p.jobs(name)
	state := PrefetchItem{Item: name, State: PrefetchRunning, Files: len(jobs)}
	for _, j := range jobs {
		state.SizeBytes += j.size
	}
	if !p.note(state, "") {
		return nil
	}
	for _, j := range jobs {
		if !p.note(state, j.key) {
			return nil
		}
		size, failure := j.fetch(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if failure != nil {
			err = failure
			state.Error = failure.Error()
			p.log.Warn("not prefetched", "item", name, "key", j.key, "err", failure)
			continue
		}
		state.FilesDone++
		state.HaveBytes += size
		state.SizeBytes += size - j.size // of a URL it was not known
	}
	now := time.Now()
	state.State, state.FinishedAt = PrefetchDone, &now
	if err != nil {
		state.State, state.Error = PrefetchFailed, err.Error()
	} else {
		p.log.Info("prefetched", "item", name, "files", state.Files, "bytes", state.HaveBytes)
	}
	p.note(state, "")
	return err
}

// note makes the state visible, and reports whether the name is still on the list.
func (p *prefetcher) note(state PrefetchItem, current cache.Key) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.current = current
	if p.items[state.Item] == nil {
		return false
	}
	p.items[state.Item] = &state
	return true
}

// job is one file to be fetched.
type job struct {
	key   cache.Key
	size  int64 // in bytes; 0: not known
	fetch func(ctx context.Context) (size int64, err error)
}

var errNoFiles = errors.New("central has no such file, as far as this site knows")

// jobs are the files that a name stands for now.
func (p *prefetcher) jobs(name string) ([]job, error) {
	if isURL(name) {
		return p.upstreamJobs(name)
	}
	selects := func(key string) bool { return key == name }
	if isPattern(name) {
		g, err := content.ParseGlob(name)
		if err != nil {
			return nil, err
		}
		selects = g.Match
	}
	var all []job
	for _, file := range p.api.Files.Known() {
		if selects(string(file.Key())) {
			all = append(all, p.contentJob(file))
		}
	}
	switch {
	case len(all) > 0:
		return all, nil
	case isPattern(name) || p.api.Files.Epoch().Stream == "":
		return nil, errNoFiles
	}
	category, path := content.Split(cache.Key(name)) // central may have it since
	return []job{p.contentJob(content.Info{Category: category, Path: path})}, nil
}

func (p *prefetcher) contentJob(file content.Info) job {
	return job{key: file.Key(), size: file.Size, fetch: func(ctx context.Context) (int64, error) {
		err := p.api.Files.Prefetch(ctx, file.Category, file.Path)
		have, _ := p.api.Cache.Current(file.Key())
		return have.Size, err
	}}
}

func (p *prefetcher) upstreamJobs(name string) ([]job, error) {
	u, err := parseURL(name)
	if err != nil {
		return nil, err
	}
	var all []job
	for _, h := range p.api.Upstreams {
		if key, ok := h.Resource(u); ok {
			all = append(all, job{key: key, fetch: func(ctx context.Context) (int64, error) { return h.Prefetch(ctx, u) }})
		}
	}
	_, err = p.api.resources(u)
	return all, err
}

// state is the list with how far each name is.
func (p *prefetcher) state() Prefetch {
	unfinished := p.api.Cache.Unfinished()
	p.mu.Lock()
	defer p.mu.Unlock()
	s := Prefetch{Running: p.running, Items: []PrefetchItem{}}
	for _, name := range p.get() {
		item := PrefetchItem{Item: name, State: PrefetchWaiting}
		if known := p.items[name]; known != nil {
			item = *known
		}
		if item.State == PrefetchRunning {
			for _, e := range unfinished {
				if e.Filling && e.Key == p.current {
					item.HaveBytes += e.Have
					item.SizeBytes = max(item.SizeBytes, item.HaveBytes, e.Object.Size)
				}
			}
		}
		s.Items = append(s.Items, item)
	}
	return s
}

func (a *API) getPrefetch(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, a.prefetch.state())
}

// putPrefetch replaces the list.
func (a *API) putPrefetch(w http.ResponseWriter, r *http.Request) {
	if items, ok := a.prefetchNames(w, r, nil); ok {
		a.changePrefetch(w, r, func([]string) []string { return items })
	}
}

// addPrefetch adds to the list, and has all of it worked on now; with an empty list it does only that.
func (a *API) addPrefetch(w http.ResponseWriter, r *http.Request) {
	if items, ok := a.prefetchNames(w, r, a.prefetch.get()); ok {
		a.changePrefetch(w, r, func(old []string) []string { return append(old, items...) })
	}
}

// deletePrefetch is DELETE cache/prefetch?item=NAME, which may be repeated. What was fetched stays.
func (a *API) deletePrefetch(w http.ResponseWriter, r *http.Request) {
	if edit, ok := without(w, r, a.prefetch.list); ok {
		a.changePrefetch(w, r, edit)
	}
}

// prefetchNames is names, which are those of central's files, or URLs that stand for one object each.
func (a *API) prefetchNames(w http.ResponseWriter, r *http.Request, known []string) ([]string, bool) {
	items, ok := a.names(w, r, known)
	var faults invalid
	for _, name := range items {
		switch {
		case isURL(name) && isPattern(name):
			faults.add("body.items", "%q: an origin does not say which URLs it has", name)
		case !isURL(name) && !isPattern(name) && !slices.Contains(wire.Categories, categoryOf(cache.Key(name))):
			faults.add("body.items", "%q: want CATEGORY/PATH or a URL", name)
		}
	}
	return items, ok && !faults.refuse(w)
}

func (a *API) changePrefetch(w http.ResponseWriter, r *http.Request, edit func([]string) []string) {
	if err := a.prefetch.change(edit); err != nil {
		a.fail(w, r, err)
		return
	}
	a.prefetch.start()
	answer(w, http.StatusAccepted, a.prefetch.state())
}
