package cache

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"path"
	"sync"
	"time"
)

// fillID is what one transfer serves: a version of a key.
type fillID struct {
	key    Key
	digest Digest
}

// fill brings one version of one key from its source to the disk. It belongs to the store, whose
// context it runs under, and is handed round as a handle: its readers share nothing but the part
// file and wait for wake.
type fill struct {
	id    fillID
	obj   Object
	src   Source
	path  string // where it will be published; the fill holds the name
	began uint64 // grows with every fill

	ready    chan struct{} // closed when part can be opened
	done     chan struct{} // closed when the fill is over
	part     part          // these two are set before ready
	partName string
	reserved bool // guarded by Store.mu

	mu   sync.Mutex
	have int64         // bytes on disk and verified, from the start
	err  error         // why it is over; nil if published, or while it runs
	wake chan struct{} // closed and replaced at every change of the above
}

func newFill(id fillID, obj Object, src Source) *fill {
	return &fill{
		id: id, obj: obj, src: src,
		ready: make(chan struct{}), done: make(chan struct{}), wake: make(chan struct{}),
	}
}

// wait blocks until the byte at offset, which is within the object, can be read from the part
// file, and returns the end of what can.
func (f *fill) wait(ctx context.Context, offset int64) (end int64, err error) {
	for {
		f.mu.Lock()
		have, err, wake := f.have, f.err, f.wake
		f.mu.Unlock()
		if offset < have {
			return have, nil
		}
		if err != nil {
			return 0, err
		}
		select {
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		case <-wake:
		}
	}
}

func (f *fill) verified() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.have
}

func (f *fill) advance(have int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.have = have
	close(f.wake)
	f.wake = make(chan struct{})
}

func (f *fill) end(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
	close(f.wake)
	f.wake = make(chan struct{})
	close(f.done)
}

// run carries f from its reservation to its end.
func (s *Store) run(f *fill) {
	begin := time.Now()
	published := false
	err := s.prepare(f)
	if err == nil {
		close(f.ready)
		if err = s.stream(f); err == nil {
			published, err = s.publish(f)
		}
	}
	s.finish(f, err)

	if f.part != nil {
		f.part.Close()
		if !published {
			if err := s.folder.remove(f.partName); err != nil {
				s.diskError("remove part file", f.id.key, err)
			}
		}
	}
	log := s.log.With("key", f.id.key, "bytes", f.obj.Size, "took", time.Since(begin))
	switch {
	case err == nil:
		log.Debug("object fetched", "stored", published)
	case errors.Is(err, ErrClosed):
	case errors.Is(err, ErrNotStored):
		log.Warn("object cannot be stored and is passed through", "err", err)
	default:
		log.Warn("fill failed", "err", err)
	}
}

// finish ends f for its readers and for those who look for it at once: a fill that is not among the
// fills any more was published, or is over and says why.
func (s *Store) finish(f *fill, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.fills, f.id)
	s.release(f.id.key)
	if err == nil {
		s.count.fills.Add(1)
	} else {
		s.count.fillErrors.Add(1)
	}
	f.end(err)
}

func (s *Store) prepare(f *fill) error {
	if err := s.reserve(f); err != nil {
		return err
	}
	name, p, err := s.createPart()
	if err != nil {
		return s.notStored(f, "create part file", err)
	}
	f.partName, f.part = name, p
	return nil
}

// stream brings f's chunks to the part file. The last one is kept back until the whole digest is
// right: no reader ever holds a whole body that is not the object.
func (s *Store) stream(f *fill) error {
	in := s.newTransfer(f.obj, f.src)
	defer in.close()
	whole := sha256.New()
	for i := range f.obj.Chunks {
		chunk, err := in.chunk(s.ctx, int64(i))
		if err != nil {
			return err
		}
		whole.Write(chunk)
		if i == len(f.obj.Chunks)-1 && Digest(whole.Sum(nil)) != f.obj.SHA256 {
			s.count.corruptions.Add(1)
			return fmt.Errorf("%w: the chunks are right but not the whole", ErrCorrupt)
		}
		offset := int64(i) * ChunkSize
		if _, err := f.part.WriteAt(chunk, offset); err != nil {
			return s.notStored(f, "write part file", err)
		}
		f.advance(offset + int64(len(chunk)))
	}
	return nil
}

// publish makes the part file the key's object: data and record reach the disk first, then one
// rename is the commit, and what it replaced goes last. A crash at any point leaves the old
// version or the new one, whole. It reports whether the part file has got its name.
func (s *Store) publish(f *fill) (published bool, err error) {
	if err := f.part.Sync(); err != nil {
		return false, s.notStored(f, "sync part file", err)
	}
	info, err := f.part.Stat()
	if err != nil {
		return false, s.notStored(f, "sync part file", err)
	}
	rec := newRecord(f.id.key, f.path, f.obj, info.ModTime())
	defer func() {
		if !published {
			s.folder.remove(rec.name) // an orphan: the next Open would find it too
		}
	}()
	if err := s.folder.writeRecord(rec); err != nil {
		return false, s.notStored(f, "write record", err)
	}
	if err := s.folder.parents(f.path); err != nil {
		return false, s.notStored(f, "make directories", err)
	}
	e := newEntry(rec, f.obj, s.rank(f.id.key), time.Now())
	e.began = f.began
	old, published, err := s.commit(f, e)
	if !published {
		return false, err
	}
	if err := s.folder.sync(path.Dir(f.path)); err != nil {
		s.lose(e)
		return true, s.notStored(f, "sync directory", err)
	}
	if old != nil {
		if err := s.folder.remove(old.record); err != nil {
			s.diskError("remove old record", old.key, err)
		}
	}
	return true, nil
}

// commit gives the part file its name and the index the entry, in one critical section with the
// end of the fill: whoever looks under mu finds the running fill or the published object, never
// neither, so no Fetch that comes at the end of a fill starts another. A version whose fill
// began later stays; this one then was only for its readers.
func (s *Store) commit(f *fill, e *entry) (old *entry, published bool, err error) {
	var freed closers
	defer freed.close() // after mu
	s.mu.Lock()
	defer s.mu.Unlock()
	old = s.entries[e.key]
	if old != nil {
		if old.began > e.began {
			return nil, false, nil
		}
		freed.add(s.folder.linger(old.path))
	}
	if err := s.folder.root.Rename(f.partName, f.path); err != nil {
		return nil, false, s.notStored(f, "publish", err)
	}
	s.names.hold(e.key)
	if old != nil {
		s.forget(old)
		s.release(old.key)
	}
	s.remember(e)
	delete(s.fills, f.id)
	return old, true, nil
}

// notStored turns a failing disk into the end of a fill that its readers survive.
func (s *Store) notStored(f *fill, action string, err error) error {
	s.diskError(action, f.id.key, err)
	return fmt.Errorf("%w: %s: %w", ErrNotStored, action, err)
}
