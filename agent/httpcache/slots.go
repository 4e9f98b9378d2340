package httpcache

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pureboot/pureboot/agent/cache"
)

// Root begins the keys of all that is stored here.
const Root = "upstream/"

const (
	// variantMark parts a resource's key from the hash of what a variant of it was selected by. Neither it nor
	// queryMark, which stands for a slash in a query, has a place in a normalised URL.
	variantMark = "^"
	queryMark   = "|"
	variantLen  = 16
	longName    = variantMark + "long/"
	// maxPrimary is the length in bytes above which a resource's key is a hash; empty segments are not counted.
	maxPrimary = 500
	// maxVariants bounds the responses stored for one resource.
	maxVariants = 32
	maxGone     = 10_000
	slackSlots  = 1000
)

// ErrPath refuses a path with dot segments or control characters, plain or encoded: they mean different things
// to different servers.
var ErrPath = errors.New("the path has a dot segment or a control character")

// kept is what is stored beside a body.
type kept struct {
	Meta
	Origin string `json:"origin"` // see identity
}

// identity tells what is stored of one origin from what is stored of another that had the same prefix before.
func identity(o Options) string {
	id := PrimaryKey(o.Origin)
	if o.FollowRedirects {
		id += " following"
	}
	return id
}

// storeName begins the keys of an upstream's objects.
func storeName(prefix string) string { return Root + strings.TrimPrefix(prefix, "/") }

// slots knows where the responses of a resource are stored: in the resource's own key, or that and a hash of
// what selected them. The store alone knows what is there.
type slots struct {
	store  *cache.Store
	name   string
	origin string
	base   string // PrimaryKey of what all resources of the origin are below
	folder bool   // base ends with a slash

	mu    sync.RWMutex
	by    map[string][]*slot   // by primary key
	gone  map[string]time.Time // primary keys, and when they were invalidated
	count int
}

// slot is a place in the store.
type slot struct {
	key  cache.Key
	memo atomic.Pointer[memo]
}

// memo saves describing the same metadata again.
type memo struct {
	meta   []byte
	stale  bool
	stored *Stored // nil if it is not of this origin
}

// found is a response that is stored.
type found struct {
	*Stored
	slot    *slot
	version string
}

func newSlots(o Options) *slots {
	s := &slots{store: o.Cache, name: storeName(o.Prefix), origin: identity(o), base: PrimaryKey(o.Origin), by: map[string][]*slot{}, gone: map[string]time.Time{}}
	s.folder = strings.HasSuffix(s.base, "/")
	for e := range o.Cache.All() {
		if strings.HasPrefix(string(e.Key), s.name) {
			s.add(primaryOf(e.Key), e.Key)
		}
	}
	for _, e := range o.Cache.Unfinished() {
		if strings.HasPrefix(string(e.Key), s.name) {
			s.add(primaryOf(e.Key), e.Key)
		}
	}
	return s
}

// primaryOf undoes what key does.
func primaryOf(k cache.Key) string {
	if i := len(k) - variantLen - len(variantMark); i > 0 && strings.HasPrefix(string(k[i:]), variantMark) && isHex(string(k[i+1:])) {
		return string(k[:i])
	}
	return string(k)
}

func isHex(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return (c < '0' || c > '9') && (c < 'a' || c > 'f') })
}

// primary is the key of a resource of the origin: the path that its clients see, and the query. "" if it is none
// of the origin's.
func (s *slots) primary(u *url.URL) string {
	rest, ok := strings.CutPrefix(PrimaryKey(u), s.base)
	if !ok {
		return ""
	}
	path, query, asked := strings.Cut(rest, "?")
	if len(s.name)+len(rest) > maxPrimary {
		sum := sha256.Sum256([]byte(rest))
		return s.name + longName + hex.EncodeToString(sum[:])
	}
	if strings.Contains(path, "//") || strings.HasPrefix(path, "/") || strings.HasSuffix(path, "/") || path == "" {
		path = markEmpty(path, asked)
	}
	if !asked {
		return s.name + path
	}
	return s.name + path + "?" + strings.ReplaceAll(query, "/", queryMark)
}

// markEmpty makes of a path's empty segments what a key may have, but for the last if a query follows it.
func markEmpty(path string, asked bool) string {
	names := strings.Split(path, "/")
	for i, name := range names {
		if name == "" && !(asked && i == len(names)-1) {
			names[i] = variantMark
		}
	}
	return strings.Join(names, "/")
}

// key is where to store the answer to a request with header, whose resource's responses vary by vary if that is
// known.
func (s *slots) key(primary string, head bool, vary *Vary, header http.Header) cache.Key {
	secondary := ""
	if vary != nil {
		selected := Stored{Vary: *vary, Meta: Meta{Selecting: vary.Select(header)}}
		secondary = "GET " + selected.SecondaryKey()
		if head {
			secondary = "HEAD " + selected.SecondaryKey()
		}
	} else if head {
		secondary = "HEAD"
	}
	if secondary == "" {
		return cache.Key(primary)
	}
	sum := sha256.Sum256([]byte(secondary))
	return cache.Key(primary + variantMark + hex.EncodeToString(sum[:variantLen/2]))
}

// knows is whether a place is known.
func (s *slots) knows(primary string, key cache.Key) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return known(s.by[primary], key)
}

func known(places []*slot, key cache.Key) bool {
	return slices.ContainsFunc(places, func(p *slot) bool { return p.key == key })
}

// add makes a place known, unless it is.
func (s *slots) add(primary string, key cache.Key) bool {
	if s.knows(primary, key) {
		return false // a herd is not to queue for the lock
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	places := s.by[primary]
	if known(places, key) {
		return false
	}
	// Readers may have the old slice: it is not appended to in place.
	s.by[primary] = append(slices.Clone(places), &slot{key: key})
	if s.count++; s.count%slackSlots == 0 {
		s.sweep()
	}
	return true
}

// sweep forgets the places where nothing is stored. mu is held.
func (s *slots) sweep() {
	if int64(s.count) < 2*s.store.Stats().Entries+slackSlots {
		return
	}
	s.count = 0
	for primary, places := range s.by {
		left := slices.DeleteFunc(slices.Clone(places), func(p *slot) bool {
			_, ok := s.store.Current(p.key)
			return !ok
		})
		if s.count += len(left); len(left) == 0 {
			delete(s.by, primary)
		} else {
			s.by[primary] = left
		}
	}
}

// stored returns what is stored for a resource.
func (s *slots) stored(primary string) []found {
	s.mu.RLock()
	places, gone := s.by[primary], s.gone[primary]
	s.mu.RUnlock()
	var all []found
	for _, p := range places {
		e, ok := s.store.Lookup(p.key)
		if !ok {
			continue
		}
		r := p.describe(e.Meta, e.Stale, s.origin)
		if r == nil || !gone.IsZero() && !r.Requested.After(gone) {
			r = absent
		}
		all = append(all, found{Stored: r, slot: p, version: e.Object.Version})
	}
	return all
}

// absent stands for what is in the store but must not be used: it selects no request, and is replaced.
var absent = NewStored(Meta{Method: "", Header: http.Header{"Vary": {"*"}}})

// responses are the stored ones that may be used.
func responses(all []found) []*Stored {
	var stored []*Stored
	for _, f := range all {
		if f.Stored != absent {
			stored = append(stored, f.Stored)
		}
	}
	return stored
}

func owner(all []found, s *Stored) *found {
	for i := range all {
		if s != nil && all[i].Stored == s {
			return &all[i]
		}
	}
	return nil
}

// describe reads metadata, once for all who ask for the same.
func (p *slot) describe(meta []byte, stale bool, origin string) *Stored {
	if m := p.memo.Load(); m != nil && m.stale == stale && sameSlice(m.meta, meta) {
		return m.stored
	}
	m := &memo{meta: meta, stale: stale, stored: parseKept(meta, origin)}
	if stale && m.stored != nil {
		m.stored = NewStored(m.stored.Outdate())
	}
	p.memo.Store(m)
	return m.stored
}

func sameSlice(a, b []byte) bool { return len(a) == len(b) && len(a) > 0 && &a[0] == &b[0] }

// parseKept is nil for what this handler has not written for this origin.
func parseKept(meta []byte, origin string) *Stored {
	var k kept
	if err := json.Unmarshal(meta, &k); err != nil || k.Origin != origin || k.Status == 0 {
		return nil
	}
	return NewStored(k.Meta)
}

// describe is what a reader's metadata says.
func (s *slots) describe(key cache.Key, meta []byte) *Stored {
	s.mu.RLock()
	places := s.by[primaryOf(key)]
	s.mu.RUnlock()
	for _, p := range places {
		if p.key == key {
			return p.describe(meta, false, s.origin)
		}
	}
	return parseKept(meta, s.origin)
}

func (s *slots) encode(m Meta) []byte {
	text, err := json.Marshal(kept{Meta: m, Origin: s.origin})
	if err != nil {
		panic(err) // strings and numbers
	}
	return text
}

// reserve makes a place known in which something is about to be stored. Of too many variants the one received first
// goes.
func (s *slots) reserve(primary string, key cache.Key) error {
	if !s.add(primary, key) {
		return nil
	}
	all := s.stored(primary)
	if len(all) < maxVariants {
		return nil
	}
	oldest := slices.MinFunc(all, func(a, b found) int { return a.Received.Compare(b.Received) })
	return s.store.Remove(oldest.slot.key)
}

// invalidate has no response of a resource used again that was asked for until now.
func (s *slots) invalidate(primary string) error {
	places := s.disown(primary)
	var errs []error
	for _, p := range places {
		errs = append(errs, s.store.Remove(p.key))
	}
	return errors.Join(errs...)
}

// disown is invalidate without what is stored, whose places it returns.
func (s *slots) disown(primary string) []*slot {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.gone) >= maxGone {
		clear(s.gone) // what is stored goes anyway: this is about what is being received
	}
	s.gone[primary] = time.Now()
	return s.by[primary]
}

// invalid is whether a response that was asked for at that time has been invalidated since.
func (s *slots) invalid(primary string, requested time.Time) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	gone := s.gone[primary]
	return !gone.IsZero() && !requested.After(gone)
}
