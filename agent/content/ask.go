package content

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"sync/atomic"

	"github.com/cenkalti/backoff/v5"

	"github.com/pureboot/pureboot/agent/cache"
	"github.com/pureboot/pureboot/central/wire"
)

// errReplaced means that central has another version by now, or none.
var errReplaced = errors.New("replaced at central meanwhile")

// identify returns what the manifest's version of the file is made of. If that is not known here, central is asked,
// once for all who ask at the same time, and its answer is the newer truth.
func (f *Files) identify(ctx context.Context, key cache.Key) (cache.Object, error) {
	if obj, ok := f.describe(key); ok {
		return obj, nil
	}
	if f.opt.Central == nil {
		return cache.Object{}, errNotEnrolled
	}
	result := f.flight.DoChan(string(key), func() (any, error) {
		if !f.begin() {
			return nil, errClosed
		}
		defer f.work.Done()
		// An answer may have come after the look above and before this flight: whoever came late asks no more.
		if obj, ok := f.describe(key); ok {
			return obj, nil
		}
		return f.ask(wire.WithRequestID(f.ctx, wire.RequestID(ctx)), key)
	})
	select {
	case <-ctx.Done():
		return cache.Object{}, context.Cause(ctx)
	case r := <-result:
		obj, _ := r.Val.(cache.Object)
		return obj, r.Err
	}
}

// describe returns what the manifest's version of the file is made of, if that is known here.
func (f *Files) describe(key cache.Key) (cache.Object, bool) {
	known, ok := f.manifest.get(key)
	if !ok {
		return cache.Object{}, false
	}
	return f.described.get(key, known.SHA256)
}

// ask puts the question. ctx is the files' own: whoever waits for the answer may have gone, and others not.
func (f *Files) ask(ctx context.Context, key cache.Key) (cache.Object, error) {
	if _, ok := f.manifest.get(key); !ok && !f.unknown.Allow() {
		return cache.Object{}, errTooMany
	}
	ctx, cancel := context.WithTimeoutCause(ctx, f.opt.Patience, errSlow)
	defer cancel()
	category, path := Split(key)
	f.count.questions.Add(1)
	answer, err := f.opt.Central.Chunks(ctx, category, path)
	if r, ok := errors.AsType[*wire.Refusal](err); ok && r.Gone() {
		f.manifest.remove(key)
		return cache.Object{}, errors.Join(fs.ErrNotExist, f.opt.Cache.Remove(key))
	}
	if err != nil {
		return cache.Object{}, err
	}
	obj, err := objectOf(answer)
	if err != nil {
		return cache.Object{}, fmt.Errorf("central describes %s wrongly: %w", key, err)
	}
	f.manifest.learn(key, known{Size: obj.Size, SHA256: obj.SHA256, Modified: obj.Modified}, answer.Epoch)
	f.described.put(key, obj)
	f.notice(answer.Epoch)
	return obj, nil
}

// source reads one version of a file from central. The whole may come compressed; what follows a try at that which brought
// nothing is asked for as a range, which comes as it is. own, if it is not nil, counts the bytes too.
func (f *Files) source(key cache.Key, obj cache.Object, own *atomic.Int64) cache.Source {
	category, path := Split(key)
	sha := obj.SHA256.String()
	var tried atomic.Bool
	return func(ctx context.Context, offset, length int64) (io.ReadCloser, error) {
		if offset == 0 && length == 0 && tried.Swap(true) {
			length = obj.Size
		}
		if f.opt.Central == nil {
			return nil, backoff.Permanent(errNotEnrolled)
		}
		f.count.requests.Add(1)
		body, err := f.opt.Central.ReadContent(ctx, category, path, sha, offset, length)
		if err == nil {
			return &received{ReadCloser: body, count: &f.count, own: own}, nil
		}
		f.count.failures.Add(1)
		if r, ok := errors.AsType[*wire.Refusal](err); ok && r.Final() {
			return nil, backoff.Permanent(fmt.Errorf("%w: %w", errReplaced, err))
		}
		return nil, err
	}
}

// objectOf checks what central says of a file.
func objectOf(c wire.Chunks) (cache.Object, error) {
	obj := cache.Object{Size: c.Size, Modified: c.Modified, Chunks: make([]cache.Digest, len(c.Chunks))}
	var err error
	if obj.SHA256, err = cache.ParseDigest(c.SHA256); err != nil {
		return obj, err
	}
	if c.ChunkSize != cache.ChunkSize {
		return obj, fmt.Errorf("chunks of %d bytes, want %d", c.ChunkSize, cache.ChunkSize)
	}
	for i, s := range c.Chunks {
		if obj.Chunks[i], err = cache.ParseDigest(s); err != nil {
			return obj, err
		}
	}
	return obj, obj.Validate()
}

// descriptions are the digests of the chunks of files that are being fetched, so that who comes while a fill runs
// need not ask central, which may be gone by then. They are safe for concurrent use.
type descriptions struct {
	mu     sync.Mutex
	byKey  map[cache.Key]cache.Object
	chunks int // of all of them
}

// maxDescribed bounds the chunks remembered: 32 MiB of digests, of 256 GiB of files.
const maxDescribed = 1 << 20

func newDescriptions() *descriptions { return &descriptions{byKey: map[cache.Key]cache.Object{}} }

// get returns the description if it is of that version.
func (d *descriptions) get(key cache.Key, digest cache.Digest) (cache.Object, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	obj, ok := d.byKey[key]
	return obj, ok && obj.SHA256 == digest
}

// put remembers a description, in place of others if there are too many.
func (d *descriptions) put(key cache.Key, obj cache.Object) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.drop(key)
	for other := range d.byKey {
		if d.chunks+len(obj.Chunks) <= maxDescribed && len(d.byKey) < maxDescribed/64 {
			break
		}
		d.drop(other)
	}
	d.byKey[key] = obj
	d.chunks += len(obj.Chunks)
}

func (d *descriptions) forget(key cache.Key) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.drop(key)
}

func (d *descriptions) drop(key cache.Key) {
	d.chunks -= len(d.byKey[key].Chunks)
	delete(d.byKey, key)
}
