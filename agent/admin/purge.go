package admin

import (
	"fmt"
	"net/http"

	"github.com/pureboot/pureboot/agent/cache"
	"github.com/pureboot/pureboot/agent/httpcache"
)

// Where objects are taken out of the cache.
const (
	PathPurge = PathCache + "/purge"
	PathEvict = PathCache + "/evict"
)

// Purge says what is not to be served any more: one of its first four fields.
type Purge struct {
	Key      string `json:"key,omitempty"`    // of a file of central's; or a URL, all variants of which are meant
	Prefix   string `json:"prefix,omitempty"` // of keys, or of URLs
	Category string `json:"category,omitempty"`
	Tag      string `json:"tag,omitempty"` // that an origin has given
	// Soft leaves upstreams' objects in place: they are served again once their origin has confirmed them, or while it
	// cannot be asked.
	Soft bool `json:"soft,omitempty"`
}

// Gone is how much was taken out of the cache, or marked.
type Gone = cache.Gone

// postPurge is POST cache/purge. Pins and bootloaders are no hindrance: what is wrong is to go.
func (a *API) postPurge(w http.ResponseWriter, r *http.Request) {
	var p Purge
	if !decode(w, r, &p) {
		return
	}
	var faults invalid
	m := a.meant(p, &faults)
	if faults.refuse(w) {
		return
	}
	gone, err := a.purge(m, p.Soft)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	a.Log.Info("purged", "key", p.Key, "prefix", p.Prefix, "category", p.Category, "tag", p.Tag, "soft", p.Soft, "objects", gone.Objects, "bytes", gone.Bytes)
	answer(w, http.StatusOK, gone)
}

// meant matches what a purge is about.
func (a *API) meant(p Purge, faults *invalid) (m match) {
	given := 0
	for _, field := range []struct {
		name, value string
		by          func(string) (match, error)
	}{
		{"key", p.Key, a.byKey}, {"prefix", p.Prefix, a.byPrefix}, {"category", p.Category, byCategory}, {"tag", p.Tag, byTag},
	} {
		if field.value == "" {
			continue
		}
		given++
		var err error
		if m, err = field.by(field.value); err != nil {
			faults.add("body."+field.name, "%v", err)
		}
	}
	if given != 1 {
		faults.add("body", "want one of key, prefix, category and tag")
	}
	return m
}

// purge first has what is on its way not used for those who come later, and then takes away what is there.
func (a *API) purge(m match, soft bool) (Gone, error) {
	for _, h := range a.Upstreams {
		h.Forget(m)
	}
	if !soft {
		return a.Cache.Purge(m)
	}
	var marked Gone
	_, err := a.Cache.MarkStale(func(e cache.Entry) bool {
		if httpcache.IsKey(e.Key) && m(e) { // of central's files the manifest alone says what they are
			marked.Objects++
			marked.Bytes += e.Have
			return true
		}
		return false
	})
	return marked, err
}

// deleteEntry is DELETE cache/{category}/{path...}: one object, whichever it is.
func (a *API) deleteEntry(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("path")
	m, err := a.byKey(name)
	if err != nil {
		problem(w, http.StatusBadRequest, "This is no name of an object.")
		return
	}
	gone, err := a.purge(m, false)
	switch {
	case err != nil:
		a.fail(w, r, err)
	case gone.Objects == 0:
		problem(w, http.StatusNotFound, "There is no such object in the cache.")
	default:
		a.Log.Info("object deleted", "key", name, "bytes", gone.Bytes)
		answer(w, http.StatusOK, gone)
	}
}

// Evict says what may go to make room.
type Evict struct {
	Policy EvictPolicy `json:"policy"`
	Bytes  int64       `json:"bytes,omitempty"` // of lru: how many are to go; 0: a tenth of what is there
}

// EvictPolicy chooses what goes. None chooses bootloaders or what is pinned.
type EvictPolicy string

// The policies.
const (
	EvictExpired EvictPolicy = "expired" // what nobody has asked for longer than its category is kept
	EvictLRU     EvictPolicy = "lru"     // what the cache would evict next
	EvictAll     EvictPolicy = "all"
)

// postEvict is POST cache/evict.
func (a *API) postEvict(w http.ResponseWriter, r *http.Request) {
	var e Evict
	if !decode(w, r, &e) {
		return
	}
	m, most := func(cache.Entry) bool { return true }, int64(0)
	var faults invalid
	switch e.Policy {
	case EvictAll:
	case EvictExpired:
		m = a.expired()
	case EvictLRU:
		s := a.Cache.Stats()
		if most = e.Bytes; most == 0 {
			most = (s.Bytes + s.Partial + 9) / 10
		}
	default:
		faults.add("body.policy", "%v", errWant([]EvictPolicy{EvictExpired, EvictLRU, EvictAll}))
	}
	if e.Bytes < 0 || e.Bytes > 0 && e.Policy != EvictLRU {
		faults.add("body.bytes", "goes with lru, and is not negative")
	}
	if faults.refuse(w) {
		return
	}
	var gone Gone
	var err error
	if e.Policy != EvictLRU || most > 0 {
		gone, err = a.Cache.Evict(most, m)
	}
	if err != nil {
		a.fail(w, r, fmt.Errorf("evict: %w", err))
		return
	}
	a.Log.Info("evicted", "policy", e.Policy, "objects", gone.Objects, "bytes", gone.Bytes)
	answer(w, http.StatusOK, gone)
}
