package cache

import (
	"sync"

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
	cache  *ristretto.Cache[string, *hotObject]
}

// hotObject is an entry's bytes. Once the entry is gone they are not served any more, which makes
// removal exact however late ristretto is.
type hotObject struct {
	entry *entry
	data  []byte
}

func newHotTier(bytes, largest int64) (*hotTier, error) {
	if bytes <= 0 {
		return nil, nil
	}
	cache, err := ristretto.NewCache(&ristretto.Config[string, *hotObject]{
		MaxCost:     bytes,
		NumCounters: max(10*bytes/(16<<10), 1000), // ten per object of 16 KiB
		BufferItems: 64,
	})
	if err != nil {
		return nil, err
	}
	return &hotTier{largest: largest, cache: cache}, nil
}

// get is keyed by the key alone, to which a version adds nothing: of a key's versions only the
// published one is kept.
func (h *hotTier) get(key Key, version objectVersion) *hotObject {
	if h == nil {
		return nil
	}
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.closed {
		return nil
	}
	o, ok := h.cache.Get(string(key))
	if !ok || o.entry.gone.Load() || o.entry.key != key || o.entry.obj.version() != version {
		return nil
	}
	return o
}

func (h *hotTier) takes(size int64) bool { return h != nil && size <= h.largest }

func (h *hotTier) put(e *entry, data []byte) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if !h.closed && !e.gone.Load() {
		h.cache.Set(string(e.key), &hotObject{entry: e, data: data}, int64(len(data)))
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
