package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// Tier says where a Reader's bytes come from, for Cache-Status.
type Tier string

// The tiers.
const (
	TierHot    Tier = "hot"    // memory
	TierDisk   Tier = "disk"   // a published file
	TierFill   Tier = "fill"   // a fill that this reader's Fetch started: a miss
	TierJoined Tier = "joined" // a fill that was running: a collapsed miss
	TierPass   Tier = "pass"   // the source itself: the object cannot be stored
)

// Reader reads one version of an object, an io.ReadSeekCloser for one goroutine at a time. Read
// blocks until verified bytes are there, or until the context given to Fetch ends.
type Reader struct {
	store  *Store
	ctx    context.Context // of the request that reads; a Reader lives no longer than that
	key    Key
	obj    Object
	meta   []byte
	tier   Tier
	offset int64
	closed bool

	// One of the three is where the bytes are. Only Fetch gives a src to fall back on.
	memory []byte
	file   *os.File
	pass   *passage

	fill     *fill   // that writes file; nil: file is whole
	readable segment // what the fill is known to have there
	at       int64   // where it last waited; guarded by fill.mu
	asked    segment // the last window it made the fill fetch; guarded by fill.mu
	until    int64   // see Expect
	left     bool    // the fill has been told that the reader is gone
	entry    *entry  // that file belongs to; nil if a fill's
	src      Source
}

// passage reads from the source itself, through one chunk of memory.
type passage struct {
	in    *transfer
	chunk []byte
	begin int64 // chunk's offset
}

// Object is the identity of what is read.
func (r *Reader) Object() Object { return r.obj }

// Meta is what the caller has kept with the object.
func (r *Reader) Meta() []byte { return r.meta }

// ended reports whether the offset is known to be at the object's end or behind.
func (r *Reader) ended() bool { return r.obj.Size >= 0 && r.offset >= r.obj.Size }

// Size in bytes; -1 while a fill does not know it.
func (r *Reader) Size() int64 { return r.obj.Size }

// Tier is where the reader began; TierPass once it had to leave a failing disk.
func (r *Reader) Tier() Tier { return r.tier }

// Ready blocks until the byte at the current offset can be read, or says why it never will. A caller
// that asks before it answers can still turn a failed transfer into a status, or into another version.
func (r *Reader) Ready() error {
	switch {
	case r.closed:
		return os.ErrClosed
	case r.ended():
		return nil
	case r.file != nil:
		_, err := r.readableAt()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if !r.leaves(err) {
			return err
		}
	}
	if r.pass != nil {
		_, err := r.passed()
		return err
	}
	return nil
}

// Stored blocks until the object is published, whole and durable, or says why it is not; a reader
// that need not be read is a prefetch. ErrNotStored does not keep it from being read.
func (r *Reader) Stored() error {
	switch {
	case r.fill != nil:
		r.fill.fillFront()
		select {
		case <-r.ctx.Done():
			return context.Cause(r.ctx)
		case <-r.fill.done:
			return r.fill.err
		}
	case r.pass != nil:
		return ErrNotStored
	}
	return nil
}

// File returns the reader's own descriptor if the object is whole in a file, so that the kernel
// can send it. Its offset is the caller's to use: the Reader's does not depend on it.
// Close closes it.
func (r *Reader) File() (*os.File, bool) {
	if r.file == nil || r.entry != nil && r.entry.bad.Load() > 0 || r.fill != nil && !r.fill.isWhole() {
		return nil, false
	}
	return r.file, true
}

// Failed tells of an error that using File has met. What the disk does not give is dropped, so that the next who asks
// has it fetched anew.
func (r *Reader) Failed(err error) {
	if r.entry == nil || !errors.Is(err, syscall.EIO) {
		return
	}
	r.store.diskError("send object", r.key, err)
	r.store.lose(r.entry)
}

// Sendable blocks as Read does, and returns a descriptor whose offset is the reader's and the number of bytes, at most
// most, that can be sent of it from there, so that the kernel can do it. The caller moves the reader on by Seek. Where
// the file is nil without an error, the bytes have to be Read. The descriptor stays the reader's own.
func (r *Reader) Sendable(most int64) (file *os.File, n int64, err error) {
	switch {
	case r.closed:
		return nil, 0, os.ErrClosed
	case r.ended():
		return nil, 0, io.EOF
	case r.file == nil || r.entry != nil && r.entry.bad.Load() > 0:
		return nil, 0, nil
	}
	end, err := r.readableAt()
	if r.relay() != nil || r.leaves(err) {
		return nil, 0, nil
	}
	if err == nil {
		_, err = r.file.Seek(r.offset, io.SeekStart)
	}
	return r.file, min(most, end-r.offset), err
}

// Read implements io.Reader.
func (r *Reader) Read(p []byte) (n int, err error) {
	switch {
	case r.closed:
		return 0, os.ErrClosed
	case r.ended():
		return 0, io.EOF
	case len(p) == 0:
		return 0, nil
	case r.memory != nil:
		n = copy(p, r.memory[r.offset:])
	case r.file != nil:
		n, err = r.readFile(p)
		if r.leaves(err) {
			n, err = r.readPassed(p)
		}
	default:
		n, err = r.readPassed(p)
	}
	r.offset += int64(n)
	return n, err
}

// readFile reads what is verified and never beyond: a hole in a part file reads as zeros.
func (r *Reader) readFile(p []byte) (int, error) {
	end, err := r.readableAt()
	if err != nil {
		return 0, err
	}
	p = p[:min(int64(len(p)), end-r.offset)]
	if relay := r.relay(); relay != nil {
		return r.fill.relayed(relay, r, p)
	}
	if e := r.entry; e != nil && e.damagedAt(r.offset, r.offset+int64(len(p))) {
		p = p[:min(int64(len(p)), ChunkSize-r.offset%ChunkSize)]
	}
	n, err := r.file.ReadAt(p, r.offset)
	if e := r.entry; n > 0 && e != nil && e.damagedAt(r.offset, r.offset+int64(n)) {
		return 0, fmt.Errorf("%w: it is damaged on disk", ErrNotStored)
	}
	if n > 0 {
		return n, nil
	}
	if !errors.Is(err, io.EOF) { // else somebody has cut it
		r.store.diskError("read object", r.key, err)
	}
	if r.entry != nil {
		r.store.lose(r.entry)
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return 0, fmt.Errorf("%w: read: %w", ErrNotStored, err)
}

// relay is what has the byte at the offset in place of the file; nil: the file has it.
func (r *Reader) relay() *relay {
	if r.fill == nil {
		return nil
	}
	if relay := r.fill.relay.Load(); relay != nil && r.offset >= relay.from {
		return relay
	}
	return nil
}

// readableAt waits for the byte at the offset, and returns the end of what can be read.
func (r *Reader) readableAt() (int64, error) {
	if r.fill == nil {
		return r.obj.Size, nil
	}
	if r.readable.Begin <= r.offset && r.offset < r.readable.End {
		return r.readable.End, nil
	}
	end, err := r.fill.wait(r)
	switch {
	case err == nil:
		r.readable = segment{r.offset, end}
	case errors.Is(err, io.EOF):
		r.obj.Size = r.fill.object().Size
	}
	return end, err
}

// leaves turns the reader from a disk that fails to its source, if it has one.
func (r *Reader) leaves(err error) bool {
	if r.src == nil || !errors.Is(err, ErrNotStored) {
		return false
	}
	r.file.Close()
	r.abandon()
	r.file, r.tier = nil, TierPass
	r.pass = r.store.newPassage(r.obj, r.src)
	r.store.fetched(r)
	return true
}

func (r *Reader) readPassed(p []byte) (int, error) {
	chunk, err := r.passed()
	return copy(p, chunk), err
}

// passed returns what is left at the offset of its chunk.
func (r *Reader) passed() ([]byte, error) {
	p := r.pass
	at := r.offset - p.begin
	if at < 0 || at >= int64(len(p.chunk)) {
		p.begin, p.chunk = r.offset, nil
		if len(r.obj.Chunks) > 0 {
			p.begin -= r.offset % ChunkSize
		}
		chunk, err := p.in.piece(r.ctx, p.begin)
		if err != nil {
			return nil, err
		}
		p.chunk, at = chunk, r.offset-p.begin
	}
	return p.chunk[at:], nil
}

// Seek implements io.Seeker. It never blocks.
func (r *Reader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekStart:
	case io.SeekCurrent:
		offset += r.offset
	case io.SeekEnd:
		if r.obj.Size < 0 {
			return r.offset, errors.New("seek from an end that is not known")
		}
		offset += r.obj.Size
	default:
		return r.offset, fmt.Errorf("seek: bad whence %d", whence)
	}
	if offset < 0 {
		return r.offset, fmt.Errorf("seek to %d", offset)
	}
	r.offset = offset
	return offset, nil
}

// Close releases the descriptor. A fill goes on without the reader.
func (r *Reader) Close() error {
	if r.closed {
		return os.ErrClosed
	}
	r.closed = true
	r.abandon()
	switch {
	case r.pass != nil:
		r.pass.in.close()
	case r.file != nil:
		return r.file.Close()
	}
	return nil
}

// abandon tells the fill that the reader needs it no longer.
func (r *Reader) abandon() {
	if r.fill != nil && !r.left {
		r.left = true
		r.fill.leave(r)
	}
}

// Expect says that n bytes from the current offset on will be read, so that a range far ahead of the
// fill is asked for at once and not by degrees. It is a hint: less or more may be read.
func (r *Reader) Expect(n int64) {
	if r.fill != nil { // which looks at what its readers want
		r.fill.mu.Lock()
		defer r.fill.mu.Unlock()
	}
	r.until = min(r.offset+n, r.obj.Size)
}
