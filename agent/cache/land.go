package cache

import (
	"fmt"
	"io"
)

// zeros are what a block is laid out with.
var zeros [ChunkSize]byte

// lay writes zeros to the block that st's data opens and does not fill. The kernel then keeps the block in memory in one
// piece, where it would have kept it in the many small ones that a network brings, and sends it for a fifth less
// work each time. No reader sees the zeros, which are not in have, and no other stream writes there: st alone has claimed
// the block. If they cannot be written, then neither can data, and who writes that deals with it.
func (f *fill) lay(st *stream, data []byte) {
	end := st.pos + int64(len(data))
	begin := end - end%ChunkSize
	if begin < st.pos || begin == end || f.relay.Load() != nil {
		return
	}
	f.mu.Lock()
	block := segment{begin, min(begin+ChunkSize, f.obj.Size)}
	if !st.front {
		block.End = min(block.End, st.end)
	}
	free := block.End > end && f.covered(st).next(begin) >= block.End
	f.mu.Unlock()
	if free {
		_, _ = f.part.WriteAt(zeros[:block.len()], begin)
	}
}

// land writes data, verified if the object has chunk digests, to the part file, and lets it be read. Before the
// last of it, the whole digest comes first: no reader ever holds a whole body that is not the object.
func (f *fill) land(offset int64, data []byte) error {
	if f.relay.Load() == nil {
		if err := f.keep(offset, data); err == nil {
			return f.mark(segment{offset, offset + int64(len(data))}, data)
		} else if err = f.unstored(offset, err); err != nil {
			return err
		}
	}
	return f.pass(f.relay.Load(), data)
}

// keep writes data to the part file.
func (f *fill) keep(offset int64, data []byte) error {
	if end := offset + int64(len(data)); end > f.room && f.object().Size < 0 {
		if err := f.store.grow(f, end+growth); err != nil {
			return err
		}
		f.room = end + growth
	}
	if err := f.write(data, offset); err != nil {
		return f.store.notStored(f, "write part file", err)
	}
	return nil
}

// write makes room on a disk that somebody else has filled, if that is to be had by evicting.
func (f *fill) write(data []byte, offset int64) error {
	_, err := f.part.WriteAt(data, offset)
	if err != nil && isFull(err) && f.store.squeeze(f) {
		_, err = f.part.WriteAt(data, offset)
	}
	return err
}

// mark lets g be read, which is on disk, data being its bytes.
func (f *fill) mark(g segment, data []byte) error {
	f.hash(g.Begin, data)
	f.mu.Lock()
	defer f.mu.Unlock()
	last := append(segments(nil), f.have...)
	last.add(g)
	if f.obj.Size >= 0 && last.covers(segment{0, f.obj.Size}) {
		return f.finishWhole(last)
	}
	f.have = last
	f.arrived()
	f.fresh, f.unjotted = f.fresh+g.len(), f.unjotted+g.len()
	if f.fresh >= journalBytes {
		f.fresh = 0
		nudge(f.due)
	}
	if f.unjotted >= jotBytes {
		f.unjotted = 0
		nudge(f.jotDue)
	}
	return nil
}

// nudge asks once, however often before it is heard.
func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// finishWhole checks the digest of the whole, all of which is on disk, and makes the last of it
// readable. mu is held, but not while it reads.
func (f *fill) finishWhole(all segments) error {
	if want := f.obj.SHA256; want != (Digest{}) {
		f.mu.Unlock()
		got, err := f.digest()
		f.mu.Lock()
		if err != nil {
			return err
		}
		if got != want {
			f.store.count.corruptions.Add(1)
			return fmt.Errorf("%w: the whole is %v, want %v", ErrCorrupt, got, want)
		}
	}
	f.have, f.vouched = all, true
	f.changed()
	f.settleLocked(nil)
	return nil
}

// ended is told that the source has no more at offset.
func (f *fill) ended(offset int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.obj.Size = offset
	if r := f.relay.Load(); r != nil {
		return f.finishRelay(r)
	}
	return f.finishWhole(f.have)
}

// hash takes in data while it comes in order.
func (f *fill) hash(offset int64, data []byte) {
	f.hashing.Lock()
	defer f.hashing.Unlock()
	if offset == f.hashed {
		f.whole.Write(data)
		f.hashed += int64(len(data))
	}
}

// digest returns the digest of all that is on disk, reading what came out of order.
func (f *fill) digest() (Digest, error) {
	f.hashing.Lock()
	defer f.hashing.Unlock()
	n, err := io.Copy(f.whole, io.NewSectionReader(f.part, f.hashed, f.object().Size-f.hashed))
	f.hashed += n
	if err != nil {
		return Digest{}, f.store.notStored(f, "read part file", err)
	}
	return Digest(f.whole.Sum(nil)), nil
}
