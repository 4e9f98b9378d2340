package cache

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// Fetch returns a reader of exactly obj: from here if it is whole here, else following the one fill
// of (key, obj.SHA256), which is started with src if none runs. Once it is read from the front, or Stored is
// called, the fill brings the whole and goes on when ctx ends; readers of ranges further behind make it bring these
// alone, which are kept for the fill that goes on where it ends.
//
// Where the object cannot be stored (no space, a failing disk), also when that turns out half-way,
// the reader goes on straight from src, with the same verification: such a reader costs a transfer
// of its own, and its Tier is TierPass. ctx bounds every Read of the returned reader.
//
// Fetch itself fails only for a bad key or object, a closed store, the end of ctx, or a fill that had
// failed already; the errors of the transfer come from Ready and Read.
func (s *Store) Fetch(ctx context.Context, key Key, obj Object, src Source) (*Reader, error) {
	if err := errors.Join(key.Validate(), obj.Validate()); err != nil {
		return nil, err
	}
	if obj.Version != "" {
		return nil, fmt.Errorf("%w: Stream fetches what is opaque", ErrBadObject)
	}
	var tier Tier // set once a fill was needed
	for ctx.Err() == nil {
		r, err := s.lookup(key, obj.version())
		if tier == "" { // what a fill has just brought is no hit
			r, err = s.warm(r, err)
		}
		if err != nil {
			return s.fetched(s.passing(ctx, key, obj, src)), nil
		}
		if r != nil {
			r.ctx, r.src = ctx, src
			if tier != "" {
				r.tier = tier
			}
			return s.fetched(r), nil
		}
		f, started, err := s.join(fillID{key: key, digest: obj.SHA256}, obj, src)
		if errors.Is(err, ErrNotStored) {
			return s.fetched(s.passing(ctx, key, obj, src)), nil
		}
		if err != nil {
			return nil, err
		}
		if f == nil {
			continue // published since the lookup
		}
		if !started && !f.enter() {
			select {
			case <-ctx.Done():
			case <-f.done:
			}
			continue // takes up what it left
		}
		if tier == "" {
			tier = TierJoined
			if started {
				tier = TierFill
			}
		}
		select {
		case <-ctx.Done():
		case <-f.ready:
		case <-f.done:
		}
		file, running, err := s.open(f)
		switch {
		case err != nil:
			f.leave(nil)
			return s.fetched(s.passing(ctx, key, obj, src)), nil
		case running:
			r := &Reader{store: s, ctx: ctx, obj: f.obj, key: key, tier: tier, src: src, fill: f, file: file}
			f.follow(r)
			return s.fetched(r), nil
		}
		f.leave(nil)

		// The fill is over, or ctx is. If it was published, and evicted or replaced already, the
		// next round fetches it again.
		select {
		case <-f.done:
			switch err := f.err; {
			case errors.Is(err, errPurged): // before it was opened
			case errors.Is(err, ErrNotStored):
				return s.fetched(s.passing(ctx, key, obj, src)), nil
			case err != nil:
				return nil, err
			}
		default: // published, not yet durable
		}
	}
	return nil, context.Cause(ctx)
}

// filling returns the running fill, nil if there is none. A herd looks here first, sharing the lock: whoever wants it alone
// waits for all who open the part file at that moment, and all others wait behind him.
func (s *Store) filling(id fillID) *fill {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return nil
	}
	return s.fills[id]
}

// join returns the running fill, starting it if there is none; nil if the object is published.
func (s *Store) join(id fillID, obj Object, src Source) (f *fill, started bool, err error) {
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
	if e := s.entries[id.key]; e != nil && e.obj.version() == obj.version() {
		return nil, false, nil
	}
	if err := s.storable(); err != nil {
		return nil, false, err
	}
	f = s.newFill(id, obj, src)
	s.begin(f)
	return f, true, nil
}

// storable is ErrNotStored while the disk takes nothing. mu is held.
func (s *Store) storable() error {
	if s.folder == nil || s.readOnly.Load() || s.refusing() {
		return fmt.Errorf("%w: the disk takes nothing", ErrNotStored)
	}
	return nil
}

// begin runs f, whose first user is the caller. mu is held.
func (s *Store) begin(f *fill) {
	f.users = 1
	f.path = s.names.hold(f.id.key)
	s.began++
	f.began = s.began
	s.fills[f.id] = f
	s.running.Go(func() { s.run(f) })
}

// open opens f's part file for a reader. While f is among the fills its file has that name, so this
// is done under the lock that a commit needs to take it away.
func (s *Store) open(f *fill) (file *os.File, running bool, err error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	select {
	case <-f.ready:
	default:
		return nil, false, nil
	}
	if s.fills[f.id] != f {
		return nil, false, nil
	}
	file, err = s.folder.root.Open(f.partName)
	if err != nil {
		s.diskError("open part file", f.id.key, err)
	}
	return file, true, err
}

// passing returns a reader that is not served from here at all.
func (s *Store) passing(ctx context.Context, key Key, obj Object, src Source) *Reader {
	return &Reader{store: s, ctx: ctx, key: key, obj: obj, tier: TierPass, src: src, pass: s.newPassage(obj, src)}
}

func (s *Store) newPassage(obj Object, src Source) *passage {
	p := &passage{in: s.newTransfer(obj, src)}
	if s.opts.Admit != nil {
		p.in.admit = func(ctx context.Context, n int) error {
			return s.opts.Admit(ctx, n, Load{Foreground: true, Size: obj.Size})
		}
	}
	return p
}

// fetched counts what a reader was given.
func (s *Store) fetched(r *Reader) *Reader {
	switch r.tier {
	case TierHot:
		s.count.hotHits.Add(1)
	case TierDisk:
		s.count.diskHits.Add(1)
	case TierFill:
		s.count.misses.Add(1)
	case TierJoined:
		s.count.coalesced.Add(1)
	case TierPass:
		s.count.passThrough.Add(1)
	}
	return r
}
