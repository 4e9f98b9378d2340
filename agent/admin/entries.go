package admin

import (
	"cmp"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pureboot/pureboot/agent/cache"
)

// PathEntries is where the objects are listed.
const PathEntries = PathCache + "/entries"

// Entry is an object of the cache.
type Entry struct {
	Key       string     `json:"key"`
	URL       string     `json:"url,omitempty"` // at its origin, of what an upstream brought
	Category  string     `json:"category"`
	SizeBytes int64      `json:"size_bytes"` // -1 while that is not known
	HaveBytes int64      `json:"have_bytes"` // that are here
	State     EntryState `json:"state"`
	Pinned    bool       `json:"pinned"` // never evicted, as bootloaders are
	SHA256    string     `json:"sha256,omitempty"`
	Status    int        `json:"status,omitempty"`      // that the origin answered
	TTL       *int64     `json:"ttl_seconds,omitempty"` // for which it is fresh, by what its origin said
	Tags      []string   `json:"tags,omitempty"`
	Modified  *time.Time `json:"modified,omitempty"`
	LastUsed  *time.Time `json:"last_used,omitempty"`
}

// EntryState is what an object is good for.
type EntryState string

// The states.
const (
	Fresh   EntryState = "fresh"   // served as it is
	Stale   EntryState = "stale"   // served only after its origin confirmed it, or while that cannot be asked
	Partial EntryState = "partial" // a transfer that ended has left it to a later one
	Filling EntryState = "filling" // being fetched
)

var entryStates = []EntryState{Fresh, Stale, Partial, Filling}

// Entries is a page of a list.
type Entries struct {
	Items      []Entry `json:"items"`
	NextCursor string  `json:"next_cursor,omitempty"` // of the page after it; "" for the last
}

// Bounds of a page.
const (
	defaultLimit = 100
	maxLimit     = 1000
)

// listEntries is GET cache/entries?category=&prefix=&tag=&state=&pinned=&limit=&cursor=, in the order of the keys. The
// cursor names the last key of a page, so what comes and goes meanwhile moves no other object.
func (a *API) listEntries(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	var faults invalid
	wanted := a.filter(q, &faults)
	limit := pageLimit(q, &faults)
	after, err := base64.RawURLEncoding.DecodeString(q.Get("cursor"))
	if err != nil {
		faults.add("query.cursor", "not a cursor of this list")
	}
	if faults.refuse(w) {
		return
	}
	all := a.Cache.Unfinished()
	for e := range a.Cache.All() {
		all = append(all, e)
	}
	all = slices.DeleteFunc(all, func(e cache.Entry) bool { return string(e.Key) <= string(after) || !wanted(e) })
	slices.SortFunc(all, func(x, y cache.Entry) int {
		return cmp.Or(cmp.Compare(x.Key, y.Key), cmp.Compare(btoi(x.Partial), btoi(y.Partial)))
	})
	page := Entries{Items: []Entry{}}
	for i, e := range all {
		if i >= limit && e.Key != all[i-1].Key { // what is here of one key is on one page
			page.NextCursor = base64.RawURLEncoding.EncodeToString([]byte(all[i-1].Key))
			break
		}
		page.Items = append(page.Items, a.describe(e))
	}
	answer(w, http.StatusOK, page)
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func pageLimit(q url.Values, faults *invalid) int {
	text := q.Get("limit")
	if text == "" {
		return defaultLimit
	}
	limit, err := strconv.Atoi(text)
	if err != nil || limit < 1 || limit > maxLimit {
		faults.add("query.limit", "want 1 to %d", maxLimit)
	}
	return limit
}

// filter matches what the query wants.
func (a *API) filter(q url.Values, faults *invalid) match {
	var all []match
	for name, by := range map[string]func(string) (match, error){
		"category": byCategory, "prefix": a.byPrefix, "tag": byTag, "state": a.byState, "pinned": a.byPinned,
	} {
		if value := q.Get(name); value != "" {
			m, err := by(value)
			if err != nil {
				faults.add("query."+name, "%v", err)
			}
			all = append(all, m)
		}
	}
	return func(e cache.Entry) bool {
		return !slices.ContainsFunc(all, func(m match) bool { return !m(e) })
	}
}

func (a *API) byState(state string) (match, error) {
	if !slices.Contains(entryStates, EntryState(state)) {
		return nil, errWant(entryStates)
	}
	return func(e cache.Entry) bool { return a.state(e) == EntryState(state) }, nil
}

func (a *API) byPinned(text string) (match, error) {
	want, err := strconv.ParseBool(text)
	return func(e cache.Entry) bool { return (a.rank(e.Key) == cache.Pinned) == want }, err
}

func (a *API) state(e cache.Entry) EntryState {
	switch h := a.owner(e.Key); {
	case e.Filling:
		return Filling
	case e.Partial:
		return Partial
	case h != nil:
		if c := h.Describe(e, time.Now()); c.Usable && c.TTL > 0 {
			return Fresh
		}
		return Stale
	case a.Files.Is(e.Key, e.Object):
		return Fresh
	}
	return Stale // central has replaced it, or it is of an upstream that is configured no longer
}

// describe says all that is known of an object.
func (a *API) describe(e cache.Entry) Entry {
	d := Entry{
		Key: string(e.Key), Category: categoryOf(e.Key), SizeBytes: e.Object.Size, HaveBytes: e.Have,
		State: a.state(e), Pinned: a.rank(e.Key) == cache.Pinned,
	}
	if e.Object.SHA256 != (cache.Digest{}) {
		d.SHA256 = e.Object.SHA256.String()
	}
	if !e.Object.Modified.IsZero() {
		d.Modified = &e.Object.Modified
	}
	if !e.LastUsed.IsZero() {
		d.LastUsed = &e.LastUsed
	}
	if h := a.owner(e.Key); h != nil {
		d.URL, _ = h.URL(e.Key, e.Meta)
		if c := h.Describe(e, time.Now()); c.Usable {
			ttl := int64(c.TTL / time.Second)
			d.Status, d.TTL, d.Tags = c.Status, &ttl, c.Tags
		}
	}
	return d
}

// errWant names what a value may be.
func errWant[T ~string](values []T) error {
	var names []string
	for _, v := range values {
		names = append(names, string(v))
	}
	return wantError("want one of " + strings.Join(names, ", "))
}

type wantError string

func (e wantError) Error() string { return string(e) }
