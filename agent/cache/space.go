package cache

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
)

// ErrNotStored says that an object could not be kept: it does not fit, or the disk fails. It ends a
// fill but none of its readers.
var ErrNotStored = errors.New("object cannot be stored")

// reserve makes room for all of f before its first byte, evicting what it must; if even that would
// not do, it evicts nothing and returns ErrNotStored.
func (s *Store) reserve(f *fill) error {
	var freed closers
	defer freed.close() // after mu
	s.mu.Lock()
	defer s.mu.Unlock()
	size := f.object().Size
	if size < 0 {
		size = growth
		f.room = growth
	}
	if !f.purged.Load() {
		f.resumes = s.takePart(f.id.key, f.object(), &freed)
	}
	if err := s.promise(f, size, &freed); err != nil {
		if f.resumes != nil {
			s.rememberPart(f.resumes, &freed)
			f.resumes = nil
		}
		return err
	}
	f.partName = newPart(f.id.key, f.object())
	if f.resumes != nil {
		f.partName = f.resumes.part
	}
	return nil
}

// promise makes room for f to have size bytes. mu is held; freed is closed after it.
func (s *Store) promise(f *fill, size int64, freed *closers) error {
	size -= f.reserved
	over, low, err := s.shortage(size)
	if err != nil {
		return s.notStored(f, "measure free space", err)
	}
	short := max(over, low)
	if can := s.bytes - s.pinned + s.partBytes; short > can {
		if low-max(0, size-growth) > can { // it is not only this object that is too large
			s.unwell(DiskFull, errLowSpace.Error(), false)
		}
		return fmt.Errorf("%w: %d bytes too large", ErrNotStored, short-can)
	}
	s.evict(short, s.reason(over, low), freed)
	f.reserved += size
	return nil
}

// squeeze evicts what f has yet to write, although it was reserved. It reports false if that is not to be had.
func (s *Store) squeeze(f *fill) bool {
	var freed closers
	defer freed.close()
	s.mu.Lock()
	defer s.mu.Unlock()
	need := max(f.reserved-f.verified(), ChunkSize)
	if need > s.bytes-s.pinned+s.partBytes {
		return false
	}
	s.evict(need, &s.count.evictedFree, &freed)
	return true
}

// shortage is by how many bytes size more would be over the cap, and how many the filesystem would
// be low of. Running fills count in full against the cap, and against the free space with what
// they have yet to write. mu is held.
func (s *Store) shortage(size int64) (over, low int64, err error) {
	promised, unwritten := s.promised(func(Key) bool { return true })
	free, err := s.folder.free()
	if err != nil {
		return 0, 0, err
	}
	if s.opts.MaxBytes > 0 {
		over = max(0, s.bytes+s.partBytes+promised+size-s.opts.MaxBytes)
	}
	return over, max(0, s.opts.MinFreeBytes+unwritten+size-free), nil
}

// promised is what the running fills of some keys hold, and how much of it they have yet to write. mu is held.
func (s *Store) promised(of func(Key) bool) (all, unwritten int64) {
	running := func(f *fill) {
		if of(f.id.key) {
			all += f.reserved
			unwritten += max(0, f.reserved-f.verified())
		}
	}
	for _, f := range s.fills {
		running(f)
	}
	for f := range s.adrift {
		running(f)
	}
	return all, unwritten
}

// evict unpublishes the least needed until n bytes are gone, or nothing evictable is left. Their open
// readers keep them readable, and the filesystem keeps their blocks for as long. mu is held.
func (s *Store) evict(n int64, count *atomic.Int64, freed *closers) {
	for _, j := range s.parts { // which nobody reads
		if n <= 0 {
			return
		}
		n -= j.Have.bytes()
		count.Add(1)
		s.dropPart(j, freed)
	}
	for n > 0 {
		e := s.lru.oldest()
		if e == nil {
			return
		}
		n -= e.obj.Size
		count.Add(1)
		s.unpublish(e, freed)
	}
}

// unpublish takes e out of the index and off the disk, its data before its record: a crash in
// between leaves no data that nobody can name. mu is held; freed is closed after it.
func (s *Store) unpublish(e *entry, freed *closers) {
	freed.add(s.folder.linger(e.path))
	s.forget(e)
	s.hot.drop(e.key)
	err := errors.Join(s.folder.remove(e.path), s.folder.remove(e.recordName()))
	if err != nil {
		s.diskError("remove object", e.key, err)
	}
	s.release(e.key)
}

// forget takes e out of the index alone; the hot tier serves it no more, but still has it. mu is held.
func (s *Store) forget(e *entry) {
	e.gone.Store(true)
	delete(s.entries, e.key)
	s.lru.drop(e)
	s.bytes -= e.obj.Size
	s.tally(e, -1)
	if e.rank == Pinned {
		s.pinned -= e.obj.Size
	}
}

// remember puts e into the index, which holds its name already. mu is held.
func (s *Store) remember(e *entry) {
	s.entries[e.key] = e
	s.order(e)
	s.bytes += e.obj.Size
	s.tally(e, 1)
}

// release gives up one hold on key's name, and the directories that only it needed. mu is held, so
// that nobody makes them again meanwhile. A directory that somebody put a file of his own in stays
// until the next Open.
func (s *Store) release(key Key) {
	for _, dir := range s.names.release(key) {
		s.folder.remove(dir)
	}
}

// SetLimits changes MaxBytes and MinFreeBytes and evicts down to them.
func (s *Store) SetLimits(maxBytes, minFreeBytes int64) {
	var freed closers
	defer freed.close()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.opts.MaxBytes, s.opts.MinFreeBytes = maxBytes, minFreeBytes
	if s.folder != nil {
		s.fitLimits(&freed)
	}
}

// fitLimits evicts down to the limits. A filesystem that somebody else has filled is no reason to
// empty the cache: if all of it would not free enough, none of it goes. mu is held.
func (s *Store) fitLimits(freed *closers) {
	if s.readOnly.Load() {
		return
	}
	over, low, err := s.shortage(0)
	if err != nil {
		s.diskError("measure free space", "", err)
	}
	if low > s.bytes-s.pinned+s.partBytes {
		s.log.Warn("too little free space, and the cache cannot make it", "bytes", low)
		low = 0
	}
	s.evict(max(over, low), s.reason(over, low), freed)
}

// reason returns the counter of evictions for the larger of two shortages.
func (s *Store) reason(over, low int64) *atomic.Int64 {
	if low > over {
		return &s.count.evictedFree
	}
	return &s.count.evictedSize
}

// closers are files to be closed once a lock is released.
type closers []*os.File

func (c *closers) add(f *os.File) {
	if f != nil {
		*c = append(*c, f)
	}
}

func (c *closers) close() {
	for _, f := range *c {
		f.Close()
	}
}
