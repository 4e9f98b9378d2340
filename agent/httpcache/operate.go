package httpcache

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/pureboot/pureboot/agent/cache"
)

// ErrNotBelow refuses a URL that is not below a handler's origin.
var ErrNotBelow = errors.New("not below the origin of an upstream")

// Owns is whether a key is of the prefix of this handler. Of several that own a key it is that of the longest prefix.
func (h *Handler) Owns(key cache.Key) bool { return strings.HasPrefix(string(key), h.slots.name) }

// Resource is the key of what is at a URL of the origin; the keys of its variants begin with it (see ResourceOf).
func (h *Handler) Resource(u *url.URL) (cache.Key, bool) {
	primary := h.slots.primary(u)
	return cache.Key(primary), primary != ""
}

// ResourceOf is the key of the resource that an object is a response of.
func ResourceOf(key cache.Key) cache.Key { return cache.Key(primaryOf(key)) }

// URL is where the origin has what is stored at a key, as PrimaryKey writes it; false if that is not known. meta is what
// is kept with the object: the longest URLs are only there.
func (h *Handler) URL(key cache.Key, meta []byte) (string, bool) {
	rest, ok := strings.CutPrefix(primaryOf(key), h.slots.name)
	if !ok {
		return "", false
	}
	if strings.HasPrefix(rest, longName) {
		var k kept
		err := json.Unmarshal(meta, &k)
		return k.URL, err == nil && k.URL != ""
	}
	path, query, asked := strings.Cut(rest, "?")
	names := strings.Split(path, "/")
	for i, name := range names {
		if name == variantMark {
			names[i] = ""
		}
	}
	at := h.slots.base + strings.Join(names, "/")
	if asked {
		at += "?" + strings.ReplaceAll(query, queryMark, "/")
	}
	return at, true
}

// Below matches what this handler owns whose URL begins with a prefix, as PrimaryKey writes both.
func (h *Handler) Below(prefix *url.URL) func(cache.Entry) bool {
	wanted := PrimaryKey(prefix)
	if strings.HasPrefix(h.slots.base, wanted) {
		return func(e cache.Entry) bool { return h.Owns(e.Key) }
	}
	rest, ok := strings.CutPrefix(wanted, h.slots.base)
	if !ok {
		return func(cache.Entry) bool { return false }
	}
	begins, long := h.slots.name+rest, h.slots.name+longName
	// What has neither a query nor an empty segment is in the key as it is in the URL.
	plain := !strings.Contains(rest, "?") && !strings.Contains("/"+rest, "//")
	return func(e cache.Entry) bool {
		if plain && !strings.HasPrefix(string(e.Key), long) {
			return strings.HasPrefix(string(e.Key), begins)
		}
		at, ok := h.URL(e.Key, e.Meta)
		return ok && strings.HasPrefix(at, wanted)
	}
}

// Condition is what a stored response is good for.
type Condition struct {
	Method string
	Status int
	Usable bool          // it is of the origin that the prefix has now
	TTL    time.Duration // for how much longer it is fresh; 0 or less once it is stale
	Tags   []string      // see Tags
}

// Describe says what is known of a stored object.
func (h *Handler) Describe(e cache.Entry, now time.Time) Condition {
	s := parseKept(e.Meta, h.slots.origin)
	if s == nil {
		return Condition{}
	}
	if e.Stale {
		s = NewStored(s.Outdate())
	}
	return Condition{Method: s.Method, Status: s.Status, Usable: true, TTL: s.TTL(now), Tags: tags(s.Header)}
}

// Tagged matches the objects to which their origin gave that tag, in Cache-Tag (a list) or Surrogate-Key (words).
func Tagged(tag string) func(cache.Entry) bool {
	quoted, err := json.Marshal(tag)
	if err != nil {
		return func(cache.Entry) bool { return false }
	}
	text := quoted[1 : len(quoted)-1]
	text = text[rarest(text[:(len(text)+1)/2]):] // to see that a text is not there takes a third of the time if its first byte is rare
	return func(e cache.Entry) bool {
		if !IsKey(e.Key) || !bytes.Contains(e.Meta, text) {
			return false // most are told apart without being decoded
		}
		var k kept
		return json.Unmarshal(e.Meta, &k) == nil && slices.Contains(tags(k.Header), tag)
	}
}

// typical is about what the metadata of an object looks like.
var typical = []byte(`{"method":"GET","requested":"2025-11-22T05:23:56.123456789Z","status":200,"header":{"Accept-Ranges":["bytes"],` +
	`"Cache-Control":["public, max-age=86400"],"Content-Type":["application/octet-stream"],"Date":["Sat, 22 Nov 2025 05:23:56 GMT"],` +
	`"Etag":["\"0123456789abcdef\""],"Last-Modified":["Wed, 01 Jan 2025 00:00:00 GMT"]},"origin":"http://mirror.example/debian/"}`)

// rarest returns which byte of a text metadata has least of.
func rarest(text []byte) (at int) {
	for i := range text {
		if bytes.Count(typical, text[i:i+1]) < bytes.Count(typical, text[at:at+1]) {
			at = i
		}
	}
	return at
}

func tags(h http.Header) []string {
	var all []string
	for m := range members(h["Cache-Tag"]) {
		all = append(all, m)
	}
	for _, line := range h["Surrogate-Key"] {
		all = append(all, strings.Fields(line)...)
	}
	return all
}

// Forget has what is being received at this moment, of the objects that match accepts, not used for later requests: it
// was asked for before somebody purged it. What is stored is for cache.Store.Purge, afterwards.
func (h *Handler) Forget(match func(cache.Entry) bool) {
	for _, e := range h.Cache.Unfinished() {
		if e.Filling && h.Owns(e.Key) && match(e) {
			h.slots.disown(primaryOf(e.Key))
		}
	}
}

// Prefetch has the store bring what is at a URL of the origin, and waits until it is stored. What is stored and fresh is
// left alone, what is stale is validated. It returns the object's size in bytes. Nobody's request waits for it, so that
// it comes after all that somebody waits for.
func (h *Handler) Prefetch(ctx context.Context, u *url.URL) (int64, error) {
	primary := h.slots.primary(u)
	if primary == "" {
		return 0, ErrNotBelow
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return 0, err
	}
	v := &visit{Request: r, original: r, began: time.Now(), target: u, primary: primary, crowd: primary}
	stored := h.slots.stored(primary)
	verdict := Evaluate(r, responses(stored), time.Now())
	chosen := owner(stored, verdict.Stored)
	if verdict.Action == Serve {
		return h.prefetched(primary, chosen.slot.key)
	}
	h.choose(v, stored, chosen, nil)
	if err := h.slots.reserve(primary, v.key); err != nil {
		return 0, err
	}
	a := h.newAsk(v, verdict)
	a.left = true // nobody takes what is not stored
	reader, err := h.Cache.Stream(ctx, a.key, a.version, 0, 0, a.origin)
	if _, confirmed := errors.AsType[*confirmation](err); confirmed {
		return h.prefetched(primary, v.key)
	}
	if err != nil {
		return 0, err
	}
	defer reader.Close()
	if err := reader.Stored(); err != nil {
		return 0, err
	}
	return h.prefetched(primary, v.key)
}

// prefetched is the size of what is stored. That there is no such thing may be stored too, but nobody wants it fetched.
func (h *Handler) prefetched(primary string, key cache.Key) (int64, error) {
	for _, f := range h.slots.stored(primary) {
		if f.slot.key == key && f.Status >= 400 {
			return 0, fmt.Errorf("the origin answered %d", f.Status)
		}
	}
	return h.stored(key), nil
}

// stored is the size of what is published.
func (h *Handler) stored(key cache.Key) int64 {
	e, _ := h.Cache.Lookup(key)
	return e.Object.Size
}

// IsKey is whether a key is that of an upstream's object.
func IsKey(key cache.Key) bool { return strings.HasPrefix(string(key), Root) }
