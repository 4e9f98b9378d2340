package content

import (
	"context"
	"io"
	"os"
	"sync"

	"github.com/pureboot/pureboot/agent/cache"
)

// patched returns a source of a file that copies what it can from the version that is here: only chunks that this one
// has not are asked of central, each run of them at once. A copy that turns out to be damaged is asked for like the
// rest, since no chunk is copied twice.
func (f *Files) patched(key cache.Key, obj cache.Object, src cache.Source) cache.Source {
	p := &patch{files: f, key: key, obj: obj, src: src, copied: map[int64]bool{}}
	return p.open
}

// patch is one fill's. Its bodies may be read at the same time.
type patch struct {
	files *Files
	key   cache.Key
	obj   cache.Object
	src   cache.Source

	mu     sync.Mutex
	copied map[int64]bool // chunks that were taken from the old version
}

func (p *patch) open(ctx context.Context, offset, length int64) (io.ReadCloser, error) {
	old, file, ok := p.files.opt.Cache.CurrentFile(p.key)
	if !ok {
		return p.src(ctx, offset, length)
	}
	end := p.obj.Size
	if length > 0 {
		end = min(offset+length, end)
	}
	runs, shared := p.plan(old, offset, end)
	if !shared {
		file.Close()
		return p.src(ctx, offset, length)
	}
	b := &patchBody{patch: p, ctx: ctx, old: file, runs: runs, at: offset}
	if err := b.begin(); err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

// run is a stretch of the new version.
type run struct {
	begin, end int64
	from       int64 // where it is in the old version; -1: it is not
}

// plan says where each stretch is to come from, and whether any is in the old version.
func (p *patch) plan(old cache.Object, begin, end int64) (runs []run, shared bool) {
	where := make(map[cache.Digest]int64, len(old.Chunks))
	for i, digest := range old.Chunks {
		where[digest] = int64(i) * cache.ChunkSize
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for begin < end {
		i := begin / cache.ChunkSize
		next := min((i+1)*cache.ChunkSize, end)
		from, ok := where[p.obj.Chunks[i]]
		whole := begin%cache.ChunkSize == 0 && next == min((i+1)*cache.ChunkSize, p.obj.Size)
		if !ok || !whole || p.copied[i] {
			from = -1
		}
		shared = shared || from >= 0
		if last := len(runs) - 1; from < 0 && last >= 0 && runs[last].from < 0 {
			runs[last].end = next
		} else {
			runs = append(runs, run{begin, next, from})
		}
		begin = next
	}
	return runs, shared
}

// patchBody reads its runs one after the other.
type patchBody struct {
	*patch
	ctx    context.Context // of the body
	old    *os.File
	runs   []run // the one that is read, and those after it
	at     int64
	remote io.ReadCloser // of the run that is read; nil: it is copied, or there is none
	before int64         // bytes that earlier runs have received
}

// begin prepares to read the first run.
func (b *patchBody) begin() error {
	if len(b.runs) == 0 {
		return nil
	}
	r := b.runs[0]
	if r.from >= 0 {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.copied[r.begin/cache.ChunkSize] = true
		return nil
	}
	var err error
	b.remote, err = b.src(b.ctx, b.at, r.end-b.at)
	return err
}

// Read ends each run where it ends, so that an error of the next one does not spoil its bytes.
func (b *patchBody) Read(p []byte) (n int, err error) {
	for {
		if len(b.runs) == 0 {
			return 0, io.EOF
		}
		r := b.runs[0]
		if b.at < r.end {
			break
		}
		b.hangUp()
		b.runs = b.runs[1:]
		if err := b.begin(); err != nil {
			return 0, err
		}
	}
	r := b.runs[0]
	p = p[:min(int64(len(p)), r.end-b.at)]
	if r.from < 0 {
		n, err = b.remote.Read(p)
		if err == io.EOF && b.at+int64(n) == r.end { //nolint:errorlint // a reader's end is io.EOF itself
			err = nil
		}
	} else {
		n, err = b.old.ReadAt(p, r.from+b.at-r.begin)
		if n > 0 {
			err = nil
		}
		b.files.count.copied.Add(int64(n))
	}
	b.at += int64(n)
	return n, err
}

// Received returns how many bytes have come over the wire.
func (b *patchBody) Received() int64 { return b.before + receivedBy(b.remote) }

func (b *patchBody) hangUp() {
	if b.remote != nil {
		b.before += receivedBy(b.remote)
		b.remote.Close()
		b.remote = nil
	}
}

// Close ends the use of the old version.
func (b *patchBody) Close() error {
	b.hangUp()
	return b.old.Close()
}

// receivedBy is what has come over the wire for a body of Files.source.
func receivedBy(body io.ReadCloser) int64 {
	if r, ok := body.(*received); ok {
		return r.Received()
	}
	return 0
}
