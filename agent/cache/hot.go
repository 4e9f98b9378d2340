package cache

import (
	"sync"
	"sync/atomic"

	"github.com/dgraph-io/ristretto/v2"
)

// hotTier keeps small objects in memory. It only accelerates: ristretto may drop what it is given, and
// shows it a moment late, so nobody counts on finding anything. A nil tier is empty.
type hotTier struct {
	largest int64

	// mu is held for reading by every use, which never waits for another; for writing only by
	// close, because ristretto panics if it is used while it closes.
	mu     sync.RWMutex
	closed bool
	cache  *ristretto.Cache[string, *Hot]
}

// Hot is a published object in memory. Once it is unpublished it is not found any more, which makes
// removal exact however late ristretto is. It is safe for concurrent use.
type Hot struct {
	store *Store
	entry *entry
	data  []byte
	memo  atomic.Pointer[any]
}

// Hot returns the published version of key if it is in memory, else nil: then it may be on disk all the same. Who
// serves it says so by Use.
func (s *Store) Hot(key Key) *Hot { return s.hot.find(key) }

// Key names the object.
func (o *Hot) Key() Key { return o.entry.key }

// Object is the identity of what is in memory.
func (o *Hot) Object() *Object { return &o.entry.obj }

// Bytes are the object, not to be changed.
func (o *Hot) Bytes() []byte { return o.data }

// Meta is what the caller has kept with the object.
func (o *Hot) Meta() []byte { return *o.entry.meta.Load() }

// Stale is what MarkStale has said of it.
func (o *Hot) Stale() bool { return o.entry.stale.Load() }

// Use counts a hit.
func (o *Hot) Use() {
	o.store.use(o.entry)
	o.store.count.hotHits.Add(1)
}

// Memo returns what SetMemo was given last, or nil. It goes when the object leaves the memory.
func (o *Hot) Memo() any {
	if m := o.memo.Load(); m != nil {
		return *m
	}
	return nil
}

// SetMemo keeps what a caller has worked out from the object, so that it need not be for the next one.
func (o *Hot) SetMemo(m any) { o.memo.Store(&m) }

func newHotTier(bytes, largest int64) (*hotTier, error) {
	if bytes <= 0 {
		return nil, nil
	}
	cache, err := ristretto.NewCache(&ristretto.Config[string, *Hot]{
		MaxCost:     bytes,
		NumCounters: max(10*bytes/(16<<10), 1000), // ten per object of 16 KiB
		BufferItems: 64,
	})
	if err != nil {
		return nil, err
	}
	return &hotTier{largest: largest, cache: cache}, nil
}

// get returns key's object if it is of that version.
func (h *hotTier) get(key Key, version objectVersion) *Hot {
	if o := h.find(key); o != nil && o.entry.obj.version() == version {
		return o
	}
	return nil
}

// find looks by the key alone, to which a version adds nothing: of a key's versions only the published
// one is kept.
func (h *hotTier) find(key Key) *Hot {
	if h == nil {
		return nil
	}
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.closed {
		return nil
	}
	o, ok := h.cache.Get(string(key))
	if !ok || o.entry.gone.Load() || o.entry.key != key {
		return nil
	}
	return o
}

func (h *hotTier) takes(size int64) bool { return h != nil && size <= h.largest }

func (h *hotTier) put(s *Store, e *entry, data []byte) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if !h.closed && !e.gone.Load() {
		h.cache.Set(string(e.key), &Hot{store: s, entry: e, data: data}, int64(len(data)))
	}
}

// drop frees the memory of what is gone.
func (h *hotTier) drop(key Key) {
	if h == nil {
		return
	}
	h.mu.RLock()
	defer h.mu.RUnlock()
	if !h.closed {
		h.cache.Del(string(key))
	}
}

// bytes returns how much memory the objects take.
func (h *hotTier) bytes() int64 {
	if h == nil {
		return 0
	}
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.closed {
		return 0
	}
	return h.cache.MaxCost() - h.cache.RemainingCost()
}

func (h *hotTier) close() {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	h.cache.Close()
}
