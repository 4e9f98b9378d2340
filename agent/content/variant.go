package content

import (
	"bytes"
	"container/list"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/pureboot/pureboot/agent/cache"
	"github.com/pureboot/pureboot/central/wire"
)

// Variants are kept in memory alone: after a restart they are derived again when somebody asks, which costs less than
// the disk would, and no crash leaves half of one.
const (
	maxNegotiable   = 8 << 20  // bytes of a file that has variants; this many has none
	maxVariantBytes = 32 << 20 // of all variants
	maxVariants     = 4096     // what was found not to be worth it included
	maxDeriving     = 2        // at once; each holds a file and its variant
	minSaved        = 512      // bytes; a variant that saves no more than these, or a tenth, is not worth decoding

	variantPatience = 50 * time.Millisecond // for one that is being derived, before the file itself is sent
)

// IsText is whether a file's name says that it is plain text.
func IsText(name string) bool {
	switch strings.ToLower(path.Ext(name)) {
	case ".ipxe", ".cfg", ".txt", ".conf", ".yaml", ".yml", ".ks", ".sh":
		return true
	}
	return false
}

// Negotiable is whether the file is one that may have variants: small, text or JSON by its name or category, and not
// compressed as it is. It depends on what the file is alone, so that every answer about it can say so (Vary).
func (i Info) Negotiable() bool {
	if i.Size <= minSaved || i.Size >= maxNegotiable {
		return false
	}
	switch strings.ToLower(path.Ext(i.Path)) {
	case ".json", ".xml":
		return true
	case ".gz", ".tgz", ".xz", ".txz", ".zst", ".bz2", ".tbz2", ".br", ".lz", ".lz4", ".lzma", ".lzo", ".zip", ".7z", ".rar",
		".deb", ".rpm", ".apk", ".jar", ".squashfs", ".sfs", ".wim", ".cab", ".png", ".jpg", ".jpeg", ".gif", ".webp", ".woff2":
		return false
	}
	return IsText(i.Path) || i.Category == wire.Scripts || i.Category == wire.Templates
}

// Variant returns the file's bytes in that coding, which are not to be changed. It reports false if there are none: they
// would be hardly smaller, this version of the file is not whole in the cache, or no longer, or they are not derived yet,
// which it waits for only briefly. They are derived once, however many ask.
func (f *Files) Variant(ctx context.Context, file Info, coding Coding) ([]byte, bool) {
	if coding == Identity || !file.Negotiable() {
		return nil, false
	}
	id, key := variantID{file.SHA256, coding}, cache.Key(file.Category+"/"+file.Path)
	if !f.holds(key, id.digest) {
		return nil, false
	}
	if data, ok := f.variants.get(id); ok {
		return data, data != nil
	}
	done, first := f.variants.begin(id)
	if done == nil {
		return nil, false
	}
	if first && !f.deriveVariant(key, id) {
		return nil, false
	}
	patience := time.NewTimer(variantPatience)
	defer patience.Stop()
	select {
	case <-done:
		data, _ := f.variants.get(id)
		return data, data != nil
	case <-patience.C:
	case <-ctx.Done():
	}
	return nil, false
}

// holds is whether this version of a file is here, whole.
func (f *Files) holds(key cache.Key, digest cache.Digest) bool {
	obj, ok := f.opt.Cache.Current(key)
	return ok && obj.SHA256 == digest
}

// dropVariants lets go of the variants of files that are no longer here, or are of another version.
func (f *Files) dropVariants() {
	f.variants.retain(func(v *variant) bool { return f.holds(v.key, v.id.digest) })
}

// deriveVariant derives what was begun, in a goroutine that Close waits for. It reports false if the files are closed.
func (f *Files) deriveVariant(key cache.Key, id variantID) bool {
	if !f.begin() {
		f.variants.end(key, id, nil, errClosed)
		return false
	}
	go func() {
		defer f.work.Done()
		data, err := f.derive(key, id)
		f.variants.end(key, id, data, err)
		if err != nil {
			f.opt.Log.Warn("variant not derived", "key", key, "coding", id.coding, "err", err)
		}
	}()
	return true
}

// derive returns nil if the variant is not worth it. The digest is checked, because whoever gets a variant cannot.
func (f *Files) derive(key cache.Key, id variantID) ([]byte, error) {
	file, ok := f.opt.Cache.Get(key, id.digest)
	if !ok {
		return nil, errors.New("no longer in the cache")
	}
	defer file.Close()
	text, err := io.ReadAll(file)
	if err != nil {
		return nil, err
	}
	if sha256.Sum256(text) != id.digest {
		return nil, cache.ErrCorrupt
	}
	coded, err := encode(text, id.coding)
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	if saved := len(text) - len(coded); saved <= minSaved || saved < len(text)/10 {
		return nil, nil
	}
	return bytes.Clone(coded), nil // without the room that it grew into
}

func encode(text []byte, coding Coding) ([]byte, error) {
	if coding == Zstd {
		// Clients need not take a window above 8 MB (RFC 9659).
		enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(maxNegotiable))
		if err != nil {
			return nil, err
		}
		return enc.EncodeAll(text, nil), enc.Close()
	}
	var coded bytes.Buffer
	enc := gzip.NewWriter(&coded)
	_, err := enc.Write(text)
	err = errors.Join(err, enc.Close()) // which writes the last of it
	return coded.Bytes(), err
}

// variantID names a variant by what it is derived from, so that files of the same bytes share it.
type variantID struct {
	digest cache.Digest
	coding Coding
}

// variants keeps the most recently used ones. It is safe for concurrent use.
type variants struct {
	mu      sync.Mutex
	running map[variantID]chan struct{} // closed when it is derived, or is not
	kept    map[variantID]*list.Element // of *variant
	recent  *list.List                  // the most recently used first
	bytes   int
	derived int // since the start, in vain included

	served, saved atomic.Int64
}

type variant struct {
	id   variantID
	key  cache.Key // of the file that it was derived from
	data []byte    // nil: not worth it
}

// VariantStats counts since Open; Entries and Bytes are of now.
type VariantStats struct {
	Entries int64 `json:"entries"` // kept, those that are not worth it included
	Bytes   int64 `json:"bytes"`   // of them
	Derived int64 `json:"derived"` // in vain included
	Served  int64 `json:"served"`  // answers
	Saved   int64 `json:"saved"`   // bytes that these were shorter than the files
}

// VariantStats returns a snapshot.
func (f *Files) VariantStats() VariantStats {
	v := f.variants
	v.mu.Lock()
	defer v.mu.Unlock()
	return VariantStats{Entries: int64(len(v.kept)), Bytes: int64(v.bytes), Derived: int64(v.derived), Served: v.served.Load(), Saved: v.saved.Load()}
}

// ServedVariant counts an answer with a variant of the file.
func (f *Files) ServedVariant(file Info, variant []byte) {
	f.variants.served.Add(1)
	f.variants.saved.Add(file.Size - int64(len(variant)))
}

func newVariants() *variants {
	return &variants{running: map[variantID]chan struct{}{}, kept: map[variantID]*list.Element{}, recent: list.New()}
}

// get returns nil and true for what is not worth it.
func (v *variants) get(id variantID) ([]byte, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	e := v.kept[id]
	if e == nil {
		return nil, false
	}
	v.recent.MoveToFront(e)
	return e.Value.(*variant).data, true
}

// begin returns what is closed when the variant's derivation ends, and whether the caller is the one to do it. It
// returns nil if too many run.
func (v *variants) begin(id variantID) (done <-chan struct{}, first bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if c := v.running[id]; c != nil {
		return c, false
	}
	c := make(chan struct{})
	switch {
	case v.kept[id] != nil: // since the caller looked
		close(c)
		return c, false
	case len(v.running) >= maxDeriving:
		return nil, false
	}
	v.running[id] = c
	return c, true
}

// end keeps what was derived of a file, in place of what was of another version of it. After an error the next who asks
// begins again.
func (v *variants) end(key cache.Key, id variantID, data []byte, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	close(v.running[id])
	delete(v.running, id)
	v.derived++
	if err != nil {
		return
	}
	v.retainLocked(func(old *variant) bool { return old.key != key || old.id.digest == id.digest })
	v.kept[id] = v.recent.PushFront(&variant{id, key, data})
	v.bytes += len(data)
	for v.bytes > maxVariantBytes || len(v.kept) > maxVariants {
		v.drop(v.recent.Back())
	}
}

// retain drops the others.
func (v *variants) retain(keep func(*variant) bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.retainLocked(keep)
}

func (v *variants) retainLocked(keep func(*variant) bool) {
	for e := v.recent.Front(); e != nil; {
		next := e.Next()
		if !keep(e.Value.(*variant)) {
			v.drop(e)
		}
		e = next
	}
}

// drop forgets a variant. mu is held.
func (v *variants) drop(e *list.Element) {
	dropped := v.recent.Remove(e).(*variant)
	delete(v.kept, dropped.id)
	v.bytes -= len(dropped.data)
}
