// Package content is the site's copy of central's boot files. A request's path is: the name, then the digest that
// the manifest gives it, then the cache's bytes of that digest, then a fill from central. The gateway and TFTP open
// files here; neither knows where the bytes come from.
package content

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"

	"github.com/pureboot/pureboot/agent/cache"
	"github.com/pureboot/pureboot/central/wire"
)

// Central is what the files need of central. An answer that is no success is a *wire.Refusal; any other error means
// that central was not reached.
type Central interface {
	Chunks(ctx context.Context, category, path string) (wire.Chunks, error)
	ReadContent(ctx context.Context, category, path, sha256 string, offset, length int64) (io.ReadCloser, error)
	Manifest(ctx context.Context, since wire.Epoch, cursor string) (wire.Manifest, error)
}

// Options of Files.
type Options struct {
	Cache    *cache.Store
	Central  Central       // nil while the agent is not enrolled
	Dir      string        // of manifest.json
	Patience time.Duration // for central's word on what a file is now; zero means 10 seconds
	Log      *slog.Logger
}

// Files are the boot files of the site. They are safe for concurrent use.
type Files struct {
	opt      Options
	manifest *manifest
	flight   singleflight.Group // questions to central, by key
	unknown  *rate.Limiter      // of questions about names that the manifest does not have

	ctx  context.Context // of what is asked of central; ends with Close
	stop context.CancelFunc
	work sync.WaitGroup
}

var (
	// ErrUnavailable means that the file is not here and central does not give it now.
	ErrUnavailable = errors.New("not in the cache, and central does not answer")
	// ErrName refuses what cannot be a file's name. It is also fs.ErrInvalid.
	ErrName = fmt.Errorf("not a content name: %w", fs.ErrInvalid)
)

// Names that nobody knows are asked for at this pace, so that a scanner at the site is not one at central.
const (
	unknownPerSecond = 20
	unknownAtOnce    = 200
)

// Open reads the manifest that an earlier run left.
func Open(opt Options) (*Files, error) {
	if opt.Patience == 0 {
		opt.Patience = 10 * time.Second
	}
	f := &Files{opt: opt, unknown: rate.NewLimiter(unknownPerSecond, unknownAtOnce)}
	var err error
	if f.manifest, err = loadManifest(opt.Dir); err != nil {
		// What is lost is only when to ask: central has the truth, and the cache still has the bytes.
		opt.Log.Warn("manifest not readable, asking for all of it", "err", err)
	}
	f.ctx, f.stop = context.WithCancel(context.Background())
	return f, nil
}

// Close ends the questions to central.
func (f *Files) Close() {
	f.stop()
	f.work.Wait()
}

// Status says how an answer came about, for Cache-Status (RFC 9211).
type Status string

// The ways of an answer.
const (
	Hit       Status = "hit"       // of the known digest, from the cache
	Miss      Status = "miss"      // a fill that this request began
	Collapsed Status = "collapsed" // a fill that was running
	Stale     Status = "stale"     // an older version, because central did not give the current one
	Pass      Status = "pass"      // straight from central: the cache cannot take it
)

// File is an open file. Who opens it closes it.
type File struct {
	*cache.Reader
	Info
	Status Status
}

// Info says what a file is.
type Info struct {
	Category, Path string
	Size           int64 // bytes
	SHA256         cache.Digest
	Modified       time.Time
}

// Size in bytes.
func (f *File) Size() int64 { return f.Info.Size }

// Open returns the file, the first of its bytes being there. It waits for a fill that has to begin, but not for its
// end. Errors: ErrName, fs.ErrNotExist, ErrUnavailable, the end of ctx.
func (f *Files) Open(ctx context.Context, category, path string) (*File, error) {
	key, err := keyOf(category, path)
	if err != nil {
		return nil, err
	}
	if known, ok := f.manifest.get(key); ok {
		if r, ok := f.opt.Cache.Get(key, known.SHA256); ok {
			return open(category, path, r, Hit), nil
		}
	}
	// A file that is replaced between the question and the fill is asked for once more.
	for try := 0; ; try++ {
		file, err := f.fetch(ctx, category, path, key)
		switch {
		case err == nil, errors.Is(err, fs.ErrNotExist), ctx.Err() != nil:
			return file, err
		case errors.Is(err, errReplaced) && try == 0:
			continue
		}
		if current, ok := f.opt.Cache.Current(key); ok {
			if r, ok := f.opt.Cache.Get(key, current.SHA256); ok {
				f.opt.Log.Warn("serving an old version", "category", category, "path", path, "err", err)
				return open(category, path, r, Stale), nil
			}
		}
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
}

// fetch asks central what the file is and reads that version, from the cache if it has it.
func (f *Files) fetch(ctx context.Context, category, path string, key cache.Key) (*File, error) {
	obj, err := f.identify(ctx, category, path, key)
	if err != nil {
		return nil, err
	}
	r, err := f.opt.Cache.Fetch(ctx, key, obj, f.source(category, path, obj))
	if err != nil {
		return nil, err
	}
	if err := r.Ready(); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	status := Hit
	switch r.Tier() {
	case cache.TierFill:
		status = Miss
	case cache.TierJoined:
		status = Collapsed
	case cache.TierPass:
		status = Pass
	}
	return open(category, path, r, status), nil
}

func open(category, path string, r *cache.Reader, status Status) *File {
	obj := r.Object()
	return &File{Reader: r, Status: status, Info: Info{
		Category: category, Path: path, Size: obj.Size, SHA256: obj.SHA256, Modified: obj.Modified,
	}}
}

// Stat says what the file is without fetching it. Errors as for Open.
func (f *Files) Stat(ctx context.Context, category, path string) (Info, Status, error) {
	key, err := keyOf(category, path)
	if err != nil {
		return Info{}, "", err
	}
	info := Info{Category: category, Path: path}
	if known, ok := f.manifest.get(key); ok {
		info.Size, info.SHA256, info.Modified = known.Size, known.SHA256, known.Modified
		return info, Hit, nil
	}
	obj, err := f.identify(ctx, category, path, key)
	status := Miss
	if err != nil {
		current, ok := f.opt.Cache.Current(key)
		if !ok || errors.Is(err, fs.ErrNotExist) || ctx.Err() != nil {
			return Info{}, "", err
		}
		obj, status = current, Stale
	}
	info.Size, info.SHA256, info.Modified = obj.Size, obj.SHA256, obj.Modified
	return info, status, nil
}

// identify asks central what the file is now, once for all who ask at the same time.
func (f *Files) identify(ctx context.Context, category, path string, key cache.Key) (cache.Object, error) {
	if f.opt.Central == nil {
		return cache.Object{}, ErrUnavailable
	}
	if _, ok := f.manifest.get(key); !ok && !f.unknown.Allow() {
		return cache.Object{}, fmt.Errorf("%w: too many unknown names at once", ErrUnavailable)
	}
	result := f.flight.DoChan(string(key), func() (any, error) {
		f.work.Add(1)
		defer f.work.Done()
		ctx, cancel := context.WithTimeout(wire.WithRequestID(f.ctx, wire.RequestID(ctx)), f.opt.Patience)
		defer cancel()
		answer, err := f.opt.Central.Chunks(ctx, category, path)
		if r, ok := errors.AsType[*wire.Refusal](err); ok && r.Gone() {
			f.manifest.remove(key)
			return nil, errors.Join(fs.ErrNotExist, f.opt.Cache.Remove(key))
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		obj, err := objectOf(answer)
		if err != nil {
			return nil, fmt.Errorf("%w: central describes %s wrongly: %w", ErrUnavailable, key, err)
		}
		f.manifest.learn(key, known{Size: obj.Size, SHA256: obj.SHA256, Modified: obj.Modified})
		return obj, nil
	})
	select {
	case <-ctx.Done():
		return cache.Object{}, context.Cause(ctx)
	case r := <-result:
		obj, _ := r.Val.(cache.Object)
		return obj, r.Err
	}
}

// errReplaced means that central has another version by now.
var errReplaced = errors.New("replaced at central meanwhile")

// source reads one version of a file from central.
func (f *Files) source(category, path string, obj cache.Object) cache.Source {
	sha := obj.SHA256.String()
	return func(ctx context.Context, offset, length int64) (io.ReadCloser, error) {
		body, err := f.opt.Central.ReadContent(ctx, category, path, sha, offset, length)
		if r, ok := errors.AsType[*wire.Refusal](err); ok && r.Final() {
			return nil, backoff.Permanent(fmt.Errorf("%w: %w", errReplaced, err))
		}
		return body, err
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

// keyOf checks a name that a stranger sent.
func keyOf(category, path string) (cache.Key, error) {
	if !slices.Contains(wire.Categories, category) || !fs.ValidPath(path) || path == "." || len(path) > 512 {
		return "", ErrName
	}
	for _, c := range []byte(path) {
		if c < ' ' || c == 0x7f || c == '\\' {
			return "", ErrName
		}
	}
	for part := range strings.SplitSeq(path, "/") {
		if len(part) > 255 {
			return "", ErrName
		}
	}
	return cache.Key(category + "/" + path), nil
}

// Split takes a key apart: its category, and the path in it.
func Split(key cache.Key) (category, path string) {
	category, path, _ = strings.Cut(string(key), "/")
	return category, path
}

// Rank orders the eviction of the cache: images go first, then scripts, then templates, and bootloaders never, since
// without them no machine gets as far as asking for anything else.
func Rank(key cache.Key) int {
	switch category, _ := Split(key); category {
	case wire.Bootloaders:
		return cache.Pinned
	case wire.Templates:
		return 2
	case wire.Scripts:
		return 1
	}
	return 0
}
