package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/cenkalti/backoff/v5"
)

var (
	// ErrChanged ends a fill whose origin has another version by now. Bytes of two versions are never
	// put together: who has read none may call Stream again.
	ErrChanged = errors.New("origin has another version")
	// ErrNoResume ends a fill that was cut and whose bytes have no strong validator to go on by.
	ErrNoResume = errors.New("cut, and nothing to resume by")
)

// Arrival is an origin's answer about an opaque object: one whose digests nobody knows beforehand.
type Arrival struct {
	// Version names these very bytes: a hash of the origin's strong validator, or a random name
	// if it gives none. Not empty, the same again only for the same bytes.
	Version string
	// Strong says that Version comes from a strong validator and the origin serves ranges by it: a cut
	// is resumed, a range far ahead is fetched by itself. Otherwise a cut ends the fill.
	Strong   bool
	Size     int64     // of the whole, in bytes; -1: not known before its end
	SHA256   Digest    // of the whole, if the origin tells; readers get the last 64 KiB once it is checked
	Modified time.Time // kept, never interpreted
	Meta     []byte    // the caller's, kept with the object; see SetMeta
	Offset   int64     // where Body begins: 0 if a range was asked for and not given
	// Body is nil if the origin was not asked, because what an earlier transfer has left of Version is wanted and still
	// good enough (see Store.Held). Offset is then 0.
	Body io.ReadCloser
}

// Origin asks for an opaque object's bytes from offset on, to the end, or length of them if length > 0; for the last
// -offset bytes if offset < 0. If version is
// not "", the request should insist on it (If-Range): something of it is here, and a range of another version is of
// no use. The store
// calls it under a context of its own and closes every body.
//
// The error of the first call is what Stream returns, to all who wait for the same answer: a caller that
// finds something not to be stored, or not modified, makes it an error of its own. Later errors are cuts, and
// are tried again, unless wrapped by backoff.Permanent.
type Origin func(ctx context.Context, version string, offset, length int64) (*Arrival, error)

// Stream returns a reader of what key's origin has: of the published version if it is another than stale, which
// is the one the caller has seen and not found good enough ("" for none); else following the one running
// transfer of key, which is begun with origin if there is none. begin and length are what is wanted first
// (0, 0: all of it); what begins in the first MiB is asked for as the whole, and a begin below 0 is that of the last -begin
// bytes.
//
// It returns when the origin has answered, so that the reader's Object and Meta are known. ErrNotStored says that
// there is no room: nothing has been read, and the caller fetches for itself. ctx bounds the reader; the
// transfer goes on without it.
func (s *Store) Stream(ctx context.Context, key Key, stale string, begin, length int64, origin Origin) (*Reader, error) {
	if err := key.Validate(); err != nil {
		return nil, err
	}
	want := segment{begin, begin + length}
	switch {
	case begin < 0:
		want = segment{begin, begin}
	case begin < jump:
		want = segment{}
	}
	var tier Tier
	for ctx.Err() == nil {
		if obj, ok := s.Current(key); ok && obj.Version != "" && obj.Version != stale {
			r, err := s.lookup(key, obj.version())
			if tier == "" {
				r, err = s.warm(r, err)
			}
			if err != nil {
				return nil, fmt.Errorf("%w: %w", ErrNotStored, err)
			}
			if r != nil {
				r.ctx = ctx
				if tier != "" {
					r.tier = tier
				}
				return s.fetched(r), nil
			}
		}
		f, started, err := s.joinOpaque(key, stale, want, origin)
		if err != nil {
			return nil, err
		}
		if f == nil {
			continue
		}
		if tier == "" {
			tier = TierJoined
			if started {
				tier = TierFill
			}
		}
		if !started && !f.enter() {
			select {
			case <-ctx.Done():
			case <-f.done:
			}
			continue
		}
		select {
		case <-ctx.Done():
		case <-f.ready:
		case <-f.done:
		}
		file, running, err := s.open(f)
		if err != nil {
			f.leave(nil)
			return nil, fmt.Errorf("%w: %w", ErrNotStored, err)
		}
		if running {
			return s.fetched(f.reader(ctx, tier, file)), nil
		}
		f.leave(nil)
		select {
		case <-f.done:
			if f.err != nil && !errors.Is(f.err, errParked) && !errors.Is(f.err, errPurged) {
				return nil, f.err
			}
		default:
		}
	}
	return nil, context.Cause(ctx)
}

// joinOpaque returns the running transfer of key, begun if there is none; nil if one has just ended well.
func (s *Store) joinOpaque(key Key, stale string, want segment, origin Origin) (f *fill, started bool, err error) {
	id := fillID{key: key, opaque: true}
	if f := s.filling(id); f != nil {
		return f, false, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, false, ErrClosed
	}
	if f := s.fills[id]; f != nil {
		return f, false, nil
	}
	if e := s.entries[key]; e != nil && e.obj.Version != "" && e.obj.Version != stale {
		return nil, false, nil
	}
	if err := s.storable(); err != nil {
		return nil, false, err
	}
	f = s.newFill(id, Object{Size: -1}, nil)
	f.asked, f.origin = want, origin
	if j := s.parts[key]; j != nil && j.Version != "" {
		f.known = j.Version
		f.asked, f.continues = j.goOn(want)
	}
	s.begin(f)
	return f, true, nil
}

// goOn is what to ask an origin for, where want is wanted and j is here. The answer also says whether what is here still
// holds, so that something is asked for in any case. front says that it is where the whole goes on.
func (j *journal) goOn(want segment) (asked segment, front bool) {
	if want.Begin < 0 && j.Size >= 0 {
		want = segment{max(0, j.Size+want.Begin), j.Size}
	}
	next := j.Have.from(want.Begin)
	switch {
	case want.Begin < 0:
		return want, false
	case want.Begin == 0 && next == j.Size:
		return segment{j.Size - 1, j.Size}, true
	case want.Begin == 0:
		return segment{Begin: next}, true
	case next > want.Begin:
		return segment{want.Begin, want.Begin + 1}, false
	}
	return want, false
}

// reader returns f's user as a reader.
func (f *fill) reader(ctx context.Context, tier Tier, file *os.File) *Reader {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := &Reader{store: f.store, ctx: ctx, obj: f.obj, key: f.id.key, tier: tier, meta: f.meta, fill: f, file: file}
	if f.strong && f.obj.Size >= 0 {
		r.src = f.source
	}
	f.readers[r] = struct{}{}
	return r
}

// arrive asks f's origin for the first time, and learns from its answer what f is a fill of.
func (s *Store) arrive(f *fill) error {
	body, err := watch(f.ctx, s.opts.Stall, func(ctx context.Context) (io.ReadCloser, error) {
		a, err := f.origin(ctx, f.known, f.asked.Begin, f.asked.len())
		if err != nil {
			return nil, err
		}
		f.first = a
		if a.Body == nil {
			return io.NopCloser(nil), nil // never read
		}
		return a.Body, nil
	})
	if err != nil {
		return err
	}
	a := f.first
	held := a.Body == nil
	a.Body = body
	if a.Version == "" || a.Size < -1 || a.Offset < 0 || a.Size >= 0 && a.Offset > a.Size {
		return fmt.Errorf("%w: version %q, %d bytes from %d", ErrBadObject, a.Version, a.Size, a.Offset)
	}
	if a.Offset > 0 && (!a.Strong || a.Size < 0 && (!f.continues || a.Version != f.known)) {
		return fmt.Errorf("%w: a range of what cannot be fetched in parts", ErrBadObject)
	}
	if a.Offset > 0 && f.known != "" && a.Version != f.known {
		return ErrChanged
	}
	if held {
		body.Close()
		f.first = nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.obj = Object{Size: a.Size, SHA256: a.SHA256, Version: a.Version, Modified: a.Modified}
	f.meta, f.strong, f.ranges = a.Meta, a.Strong, a.Strong && a.Size >= 0
	f.vouched = a.SHA256 == Digest{}
	f.source = f.resume
	return nil
}

// receive lets the first answer's body be read, also if all who asked for it have left.
func (f *fill) receive() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.begun = true
	if f.settled {
		return
	}
	if f.first == nil {
		f.park()
		return
	}
	if begin := f.first.Offset; begin > 0 && !f.continues {
		end := f.obj.Size
		if n := f.asked.len(); n > 0 {
			end = min(begin+n, end)
		}
		f.start(&stream{begin: begin, pos: begin, end: end})
		return
	}
	f.start(&stream{front: true, pos: f.first.Offset})
}

// resume is the Source of an opaque object: the first answer's body, later what belongs to the same version.
func (f *fill) resume(ctx context.Context, offset, length int64) (io.ReadCloser, error) {
	f.mu.Lock()
	first, obj, strong := f.first, f.obj, f.strong
	if first != nil && first.Offset == offset {
		f.first = nil
		f.mu.Unlock()
		return closeAfter(ctx, first.Body), nil
	}
	f.mu.Unlock()
	if !strong {
		return nil, backoff.Permanent(ErrNoResume)
	}
	a, err := f.origin(ctx, obj.Version, offset, length)
	if err != nil {
		return nil, err
	}
	switch {
	case a.Version != obj.Version || a.Size >= 0 && obj.Size >= 0 && a.Size != obj.Size:
		err = backoff.Permanent(ErrChanged)
	case a.Offset > offset:
		err = backoff.Permanent(fmt.Errorf("%w: asked for %d, got %d", errNoRanges, offset, a.Offset))
	case a.Offset < offset && length > 0:
		err = backoff.Permanent(errNoRanges)
	}
	if err != nil {
		a.Body.Close()
		return nil, err
	}
	if a.Offset < offset { // of an origin that ignores ranges the front takes what it needs
		return &skipping{ReadCloser: a.Body, skip: offset - a.Offset}, nil
	}
	return a.Body, nil
}

// skipping is a body without its first bytes. They are read a piece at a time, as the others are: they cost as much, and
// are no silence.
type skipping struct {
	io.ReadCloser
	skip     int64
	received int64
}

// Read implements io.Reader; of what is skipped it returns 0 bytes.
func (s *skipping) Read(p []byte) (int, error) {
	if s.skip == 0 {
		n, err := s.ReadCloser.Read(p)
		s.received += int64(n)
		return n, err
	}
	n, err := s.ReadCloser.Read(p[:min(int64(len(p)), s.skip)])
	s.received += int64(n)
	s.skip -= int64(n)
	if errors.Is(err, io.EOF) && s.skip > 0 {
		err = io.ErrUnexpectedEOF // it is shorter than what has come of it before
	}
	return 0, err
}

// Received returns how many bytes have come over the wire.
func (s *skipping) Received() int64 { return s.received }

// closeAfter closes body also when ctx ends, under which it was not opened.
func closeAfter(ctx context.Context, body io.ReadCloser) io.ReadCloser {
	stop := context.AfterFunc(ctx, func() { body.Close() })
	return &lateBody{body, stop}
}

type lateBody struct {
	io.ReadCloser
	stop func() bool
}

func (b *lateBody) Close() error {
	if !b.stop() {
		return nil
	}
	return b.ReadCloser.Close()
}

// grow makes room for an object of unknown size to reach end.
func (s *Store) grow(f *fill, end int64) error {
	var freed closers
	defer freed.close() // after mu
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.promise(f, end, &freed)
}
