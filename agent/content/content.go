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
	"os"
	"sync"
	"sync/atomic"
	"time"

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
	Manifest(ctx context.Context, q wire.ManifestQuery) (wire.Manifest, error)
	Online() bool // whether it is worth waiting for an answer
}

// Options of Files.
type Options struct {
	Cache    *cache.Store
	Central  Central       // nil while the agent is not enrolled
	Dir      string        // of manifest.json
	Patience time.Duration // for central's word on what a file is now; zero means 10 seconds

	// Urgent is told when somebody begins to wait for central, and then calls what it returns. nil: nobody is told.
	Urgent    func() (release func())
	Reordered func() // is called when Files.Rank has changed, or may have; nil: nobody is
	Log       *slog.Logger
}

// Files are the boot files of the site. They are safe for concurrent use.
type Files struct {
	opt       Options
	manifest  *manifest
	described *descriptions
	variants  *variants
	corrupt   corrupt
	flight    singleflight.Group // questions to central, by key, and pulls
	unknown   *rate.Limiter      // of questions about names that the manifest does not have
	maxFiles  int                // of a manifest
	pulling   sync.Mutex         // one pull at a time
	policy    atomic.Pointer[Policy]
	distrust  atomic.Pointer[error] // why the last manifest was not believed; nil: it was
	renamed   atomic.Bool           // what NewNames says
	count     counters

	ctx  context.Context // of what is asked of central; ends with Close
	stop context.CancelFunc

	mu   sync.Mutex     // makes work.Add exclude Close
	work sync.WaitGroup // what is asked of central, and what is derived
}

var (
	// ErrUnavailable means that the file is not here and central does not give it now.
	ErrUnavailable = errors.New("not in the cache, and central does not give it")
	// ErrName refuses what cannot be a file's name. It is also fs.ErrInvalid.
	ErrName = fmt.Errorf("not a content name: %w", fs.ErrInvalid)
)

var (
	errSlow        = errors.New("central takes too long")
	errClosed      = errors.New("closed")
	errNotEnrolled = errors.New("not enrolled")
	errTooMany     = errors.New("too many unknown names at once")
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
	f := &Files{opt: opt, described: newDescriptions(), variants: newVariants(), maxFiles: maxFiles}
	f.policy.Store(&Policy{name: wire.PolicyMinimal})
	f.unknown = rate.NewLimiter(unknownPerSecond, unknownAtOnce)
	var err error
	if f.manifest, err = loadManifest(opt.Dir); err != nil {
		// What is lost is only when to ask: central has the truth, and the cache still has the bytes.
		opt.Log.Warn("manifest not readable, asking for all of it", "err", err)
	}
	f.ctx, f.stop = context.WithCancel(context.Background())
	return f, nil
}

// Close ends the questions to central, and waits for them and for the variants that are being derived.
func (f *Files) Close() {
	f.mu.Lock()
	f.stop()
	f.mu.Unlock()
	f.work.Wait()
}

// begin reports whether work that Close waits for may begin. It then ends with f.work.Done.
func (f *Files) begin() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ctx.Err() != nil {
		return false
	}
	f.work.Add(1)
	return true
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

	release func() // ends the reader's context
	corrupt *corrupt
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

// Read is the reader's.
func (f *File) Read(p []byte) (int, error) {
	n, err := f.Reader.Read(p)
	f.note(err)
	return n, err
}

// Sendable is the reader's.
func (f *File) Sendable(most int64) (file *os.File, n int64, err error) {
	file, n, err = f.Reader.Sendable(most)
	f.note(err)
	return file, n, err
}

// Stored is the reader's.
func (f *File) Stored() error {
	err := f.Reader.Stored()
	f.note(err)
	return err
}

func (f *File) note(err error) {
	if err != nil {
		f.corrupt.note(cache.Key(f.Category+"/"+f.Path), f.SHA256, err)
	}
}

// Close closes the reader.
func (f *File) Close() error {
	f.release()
	return f.Reader.Close()
}

// Open returns the file, the first of its bytes being there. It waits for a fill that has to begin, but not for its
// end, and not for long where it has an older version to serve instead. ctx bounds the reading too. Errors: ErrName,
// fs.ErrNotExist, ErrUnavailable, the end of ctx.
func (f *Files) Open(ctx context.Context, category, path string) (*File, error) {
	return f.OpenPart(ctx, category, path, func(size int64) (offset, length int64) { return 0, size })
}

// OpenPart is Open for whoever reads a part first, whose first byte is then there in place of the file's: of a file
// that is not here, that part is fetched alone. part is told the size of the file.
func (f *Files) OpenPart(ctx context.Context, category, path string, part func(size int64) (offset, length int64)) (*File, error) {
	file, err := f.open(ctx, category, path, part)
	f.count.opened(file, err)
	return file, err
}

func (f *Files) open(ctx context.Context, category, path string, part func(size int64) (offset, length int64)) (*File, error) {
	key, err := keyOf(category, path)
	if err != nil {
		return nil, err
	}
	if known, ok := f.manifest.get(key); ok {
		if r, ok := f.opt.Cache.Get(key, known.SHA256); ok {
			return f.newFile(key, r, Hit, func() {}), nil
		}
	}
	file, err := f.fetch(ctx, key, part)
	if errors.Is(err, errReplaced) {
		file, err = f.fetch(ctx, key, part) // what it was replaced by
	}
	if err == nil || errors.Is(err, fs.ErrNotExist) || ctx.Err() != nil {
		return file, err
	}
	if old, ok := f.opt.Cache.Current(key); ok {
		if r, ok := f.opt.Cache.Get(key, old.SHA256); ok {
			f.opt.Log.Warn("serving an old version", "key", key, "err", err, "request", wire.RequestID(ctx))
			return f.newFile(key, r, Stale, func() {}), nil
		}
	}
	return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// Hot returns the current version of the file that the key names if it is in memory, else nil. Who serves it says so by
// ServedHot.
func (f *Files) Hot(key cache.Key) *cache.Hot {
	known, ok := f.manifest.get(key)
	if !ok {
		return nil
	}
	if hot := f.opt.Cache.Hot(key); hot != nil && hot.Object().SHA256 == known.SHA256 {
		return hot
	}
	return nil
}

// ServedHot counts a hit.
func (f *Files) ServedHot(hot *cache.Hot) {
	hot.Use()
	f.count.hits.Add(1)
}

// InfoOf says what a file in memory is.
func InfoOf(hot *cache.Hot) Info { return infoOf(hot.Key(), *hot.Object()) }

// Stat says what the file is without fetching it. Errors as for Open.
func (f *Files) Stat(ctx context.Context, category, path string) (Info, Status, error) {
	key, err := keyOf(category, path)
	if err != nil {
		return Info{}, "", err
	}
	if known, ok := f.manifest.get(key); ok {
		return Info{Category: category, Path: path, Size: known.Size, SHA256: known.SHA256, Modified: known.Modified}, Hit, nil
	}
	asking, _, release := f.hurry(ctx, key)
	obj, err := f.identify(asking, key)
	release()
	switch {
	case err == nil:
		return infoOf(key, obj), Miss, nil
	case errors.Is(err, fs.ErrNotExist) || ctx.Err() != nil:
		return Info{}, "", err
	}
	if old, ok := f.opt.Cache.Current(key); ok {
		return infoOf(key, old), Stale, nil
	}
	return Info{}, "", fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// fetch finds out what the file is and reads that version, from the cache if it has it.
func (f *Files) fetch(ctx context.Context, key cache.Key, part func(int64) (int64, int64)) (*File, error) {
	if f.opt.Urgent != nil {
		defer f.opt.Urgent()()
	}
	reading, inTime, release := f.hurry(ctx, key)
	r, err := f.read(reading, key, part)
	if !inTime() && err == nil {
		err = errors.Join(errSlow, r.Close())
	}
	if err != nil {
		release()
		return nil, err
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
	return f.newFile(key, r, status, release), nil
}

// read returns a reader at the part, whose first byte is there.
func (f *Files) read(ctx context.Context, key cache.Key, part func(int64) (int64, int64)) (*cache.Reader, error) {
	obj, err := f.identify(ctx, key)
	if err != nil {
		return nil, err
	}
	r, err := f.opt.Cache.Fetch(ctx, key, obj, f.patched(key, obj, f.source(key, obj, nil)))
	if err == nil {
		offset, length := part(obj.Size)
		if _, err = r.Seek(offset, io.SeekStart); err == nil {
			if length < obj.Size {
				r.Expect(length)
			}
			err = r.Ready()
		}
		if err == nil {
			return r, nil
		}
		f.corrupt.note(key, obj.SHA256, err)
		err = errors.Join(err, r.Close())
	}
	f.described.forget(key) // central may describe it better the next time
	return nil, err
}

// hurry returns a context that ends with errSlow when central takes too long for a file of which an older version
// could be served. inTime takes that back, and reports false if it is too late. release ends the context.
func (f *Files) hurry(ctx context.Context, key cache.Key) (hurried context.Context, inTime func() bool, release func()) {
	hurried, stop := context.WithCancelCause(ctx)
	release = func() { stop(nil) }
	if _, ok := f.opt.Cache.Current(key); !ok {
		return hurried, func() bool { return true }, release
	}
	patience := f.opt.Patience / 5
	if f.opt.Central != nil && !f.opt.Central.Online() {
		patience = f.opt.Patience / 50 // the answer still comes to be kept, if there is one
	}
	timer := time.AfterFunc(patience, func() { stop(errSlow) })
	return hurried, timer.Stop, func() { timer.Stop(); stop(nil) }
}

func (f *Files) newFile(key cache.Key, r *cache.Reader, status Status, release func()) *File {
	return &File{Reader: r, Info: infoOf(key, r.Object()), Status: status, release: release, corrupt: &f.corrupt}
}

func infoOf(key cache.Key, obj cache.Object) Info {
	category, path := Split(key)
	return Info{Category: category, Path: path, Size: obj.Size, SHA256: obj.SHA256, Modified: obj.Modified}
}
