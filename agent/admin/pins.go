package admin

import (
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/pureboot/pureboot/agent/cache"
	"github.com/pureboot/pureboot/agent/content"
	"github.com/pureboot/pureboot/agent/httpcache"
)

// PathPins is where the pins are read and changed.
const PathPins = PathCache + "/pins"

// Pins are what the cache never evicts, beside bootloaders: keys, URLs, or globs of either (** crosses slashes).
type Pins struct {
	Items       []string `json:"items"`
	PinnedBytes int64    `json:"pinned_size_bytes"` // of what is here, bootloaders included
}

// pins is the list, and what it means.
type pins struct {
	*list
	setting sync.Mutex // held from reading the list to setting what it means, lest an older one be set last
	set     atomic.Pointer[pinSet]
}

// pinSet answers whether an object is pinned. It never changes.
type pinSet struct {
	keys  map[cache.Key]bool // resources of upstreams, too
	globs []pinGlob
}

type pinGlob struct {
	content.Glob
	url bool // it is about URLs
}

// pin has the cache observe the list.
func (a *API) pin() {
	a.pins.setting.Lock()
	defer a.pins.setting.Unlock()
	a.pins.set.Store(a.setOf(a.pins.get()))
	if a.Cache != nil {
		a.Cache.SetRank(a.rank)
	}
}

// setOf is what a list means. A URL that no upstream leads to any more stands for nothing.
func (a *API) setOf(list []string) *pinSet {
	set := &pinSet{keys: map[cache.Key]bool{}}
	for _, name := range list {
		switch {
		case isPattern(name):
			if g, err := content.ParseGlob(name); err == nil { // it was checked, by a build that may have had other bounds
				set.globs = append(set.globs, pinGlob{g, isURL(name)})
			}
		case isURL(name):
			if u, err := parseURL(name); err == nil {
				keys, _ := a.resources(u)
				for key := range keys {
					set.keys[key] = true
				}
			}
		default:
			set.keys[cache.Key(name)] = true
		}
	}
	return set
}

// rank is that of the files, but for what is pinned.
func (a *API) rank(key cache.Key) int {
	if a.pins.set.Load().has(a, key) {
		return cache.Pinned
	}
	return a.Files.Rank(key)
}

// Reorder has the cache observe that what the site wants has changed, and with it Files.Rank.
func (a *API) Reorder() { a.pin() }

func (s *pinSet) has(a *API, key cache.Key) bool {
	upstream := httpcache.IsKey(key)
	if s.keys[key] || upstream && s.keys[httpcache.ResourceOf(key)] {
		return true
	}
	at := ""
	for _, g := range s.globs {
		name := string(key)
		if g.url {
			if !upstream {
				continue
			}
			if at == "" {
				at = a.url(key, nil)
			}
			name = at
		}
		if g.Match(name) {
			return true
		}
	}
	return false
}

func (a *API) getPins(w http.ResponseWriter, _ *http.Request) {
	items := a.pins.get()
	if items == nil {
		items = []string{}
	}
	answer(w, http.StatusOK, Pins{Items: items, PinnedBytes: a.Cache.Stats().Pinned})
}

// putPins replaces the list.
func (a *API) putPins(w http.ResponseWriter, r *http.Request) {
	if items, ok := a.names(w, r, nil); ok {
		a.changePins(w, r, func([]string) []string { return items })
	}
}

// addPins adds to the list.
func (a *API) addPins(w http.ResponseWriter, r *http.Request) {
	if items, ok := a.names(w, r, a.pins.get()); ok {
		a.changePins(w, r, func(old []string) []string { return append(old, items...) })
	}
}

// deletePins is DELETE cache/pins?item=NAME, which may be repeated.
func (a *API) deletePins(w http.ResponseWriter, r *http.Request) {
	if edit, ok := without(w, r, a.pins.list); ok {
		a.changePins(w, r, edit)
	}
}

func (a *API) changePins(w http.ResponseWriter, r *http.Request, edit func([]string) []string) {
	err := a.pins.change(edit)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	a.pin()
	a.Log.Info("pins changed", "pins", len(a.pins.get()))
	a.getPins(w, r)
}
