package cache

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
)

// Scrub reads every published object once, at most bytesPerSecond (0: as fast as it goes), and
// compares it with its digests. A wrong chunk is kept from Readers at once, then fetched from Options.Repair's source and put
// right in place; without a source, or if that fails, the object is dropped, the files that Reader.File has given out end
// before the chunk, and the next Fetch brings it anew.
// It never makes a reader wait. It ends with the pass, or with ctx and its error.
func (s *Store) Scrub(ctx context.Context, bytesPerSecond int64) error {
	return s.ScrubSome(ctx, bytesPerSecond, func(Entry) bool { return true })
}

// ScrubSome is Scrub of the objects that match accepts, each of which it is asked about when its turn comes.
func (s *Store) ScrubSome(ctx context.Context, bytesPerSecond int64, match func(Entry) bool) error {
	pace := NewBudget(bytesPerSecond)
	for e := range s.published() {
		if e.obj.SHA256 == (Digest{}) || !match(e.describe()) {
			continue
		}
		if err := s.scrub(ctx, e, pace); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// scrub checks one object. Its errors are ctx's.
func (s *Store) scrub(ctx context.Context, e *entry, pace *Budget) error {
	found, file, err := s.openObject(e.key, e.obj.version())
	if found != e || err != nil {
		if file != nil {
			file.Close()
		}
		return nil // replaced or gone, or reported already
	}
	defer file.Close()
	buf := s.buffers.Get().(*[ChunkSize]byte)
	defer s.buffers.Put(buf)
	whole := sha256.New()
	for i := range chunkCount(e.obj.Size) {
		if e.gone.Load() {
			return nil
		}
		chunk := buf[:e.obj.chunkLen(i)]
		if err := pace.Admit(ctx, len(chunk), Load{Size: e.obj.Size}); err != nil {
			return err
		}
		if _, err := file.ReadAt(chunk, i*ChunkSize); err != nil && !errors.Is(err, io.EOF) {
			s.diskError("scrub object", e.key, err)
			s.lose(e)
			return nil
		}
		s.count.scrubbed.Add(int64(len(chunk)))
		switch {
		case e.obj.Chunks == nil:
			whole.Write(chunk)
		case Digest(sha256.Sum256(chunk)) != e.obj.Chunks[i]:
			if !s.mend(ctx, e, i) {
				return ctx.Err()
			}
		}
	}
	if e.obj.Chunks == nil && Digest(whole.Sum(nil)) != e.obj.SHA256 {
		s.count.corruptions.Add(1)
		s.count.scrubCorruptions.Add(1)
		s.log.Warn("published file is damaged, dropping it", "key", e.key)
		s.cutShort(e, 0)
	}
	return nil
}

// mend puts chunk i of e right, or drops e and reports false. Readers end or wait from here on; but what the kernel is
// sending by a file that Reader.File gave out earlier it sends as it finds it, until the chunk is written again: as
// wrong as a moment before, when nobody knew. To cut the file there would cost all the good chunks behind.
func (s *Store) mend(ctx context.Context, e *entry, i int64) bool {
	e.bad.Store(i + 1)
	s.count.corruptions.Add(1)
	s.count.scrubCorruptions.Add(1)
	err := s.refetch(ctx, e, i)
	if err != nil {
		s.log.Warn("published file is damaged, dropping it", "key", e.key, "chunk", i, "err", err)
		s.cutShort(e, i*ChunkSize) // bad stays: its open readers are not to read that chunk
		return false
	}
	e.bad.Store(0)
	s.count.repaired.Add(1)
	s.log.Warn("published file was damaged and is repaired", "key", e.key, "chunk", i)
	return true
}

// cutShort drops e, whose bytes from size on are not to be read any more, not even by those who have its file open:
// the kernel, which may be sending it, finds its end there.
func (s *Store) cutShort(e *entry, size int64) {
	file, err := s.openForRepair(e)
	s.lose(e)
	if err == nil {
		err = errors.Join(file.Truncate(size), file.Close())
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		s.diskError("cut damaged object", e.key, err)
	}
}

var errNoRepair = errors.New("no source to repair it from")

func (s *Store) refetch(ctx context.Context, e *entry, i int64) error {
	if s.opts.Repair == nil {
		return errNoRepair
	}
	src := s.opts.Repair(e.key, e.obj)
	if src == nil {
		return errNoRepair
	}
	p := s.newPassage(e.obj, src)
	defer p.in.close()
	p.in.until = i*ChunkSize + e.obj.chunkLen(i)
	chunk, err := p.in.chunk(ctx, i)
	if err != nil {
		return err
	}
	file, err := s.openForRepair(e)
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := file.WriteAt(chunk, i*ChunkSize); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	// The record knows the file by its time. A crash before this makes the next Open hash it.
	return s.retime(e)
}

// openForRepair opens e's file to be written, if the name is still its own.
func (s *Store) openForRepair(e *entry) (*os.File, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if e.gone.Load() {
		return nil, os.ErrNotExist
	}
	return s.folder.root.OpenFile(e.path, os.O_RDWR, 0)
}

func (s *Store) retime(e *entry) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if e.gone.Load() {
		return os.ErrNotExist
	}
	return s.folder.touched(e.path, e.stored)
}

// damagedAt reports whether [begin, end) holds bytes that are known to be wrong.
func (e *entry) damagedAt(begin, end int64) bool {
	bad := e.bad.Load()
	return bad > 0 && begin < bad*ChunkSize && end > (bad-1)*ChunkSize
}
