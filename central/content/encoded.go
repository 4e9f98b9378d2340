package content

import (
	"cmp"
	"container/list"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pureboot/pureboot/central/wire"
)

// Bounds of what is kept encoded.
const (
	minEncodable = 1 << 10  // bytes of a file; a smaller one goes out in a packet or two as it is
	maxEncodable = 64 << 20 // bytes of a file; a larger one is an image, which is compressed already

	maxEncodings = 10_000          // those that were found not to be worth it included
	maxQueued    = 256             // to be made, or being made
	maxEncoding  = 2               // being made; each takes a processor
	encodedTime  = 1 * time.Second // for one that is being made, before the file goes out as it is
)

// Encodings keeps the zstd form of files where it is smaller, so that each is encoded once and not for every agent that
// fetches it. It is a cache on this central's own disk, bounded, the least recently used going first; the folder may be
// deleted while no central runs. A form is named by the digests of both, the file's and its own: FILE-FORM.zst. Its
// methods may be called at once from many goroutines.
type Encodings struct {
	root     *os.Root
	log      *slog.Logger
	maxBytes int64

	ctx  context.Context // of what is being made
	stop context.CancelFunc
	work sync.WaitGroup
	turn chan struct{} // holds a value for each that is being made

	mu      sync.Mutex               // makes work.Add exclude Close, too
	running map[string]chan struct{} // by digest of the file; closed when it is made, or is not
	kept    map[string]*list.Element // of *Encoding, likewise
	recent  *list.List               // the most recently used first
	bytes   int64
	made    int // since the start, in vain included
}

// Encoding is a file in the coding zstd (RFC 8878).
type Encoding struct {
	Size   int64             // bytes; 0: not worth it
	SHA256 [sha256.Size]byte // of the encoded bytes
	of     string            // digest of the file
}

func (e *Encoding) name() string { return e.of + "-" + hex.EncodeToString(e.SHA256[:]) + ".zst" }

// OpenEncodings opens the folder, which is made if it is missing and belongs to this process alone. What is kept in it
// takes at most maxBytes.
func OpenEncodings(dir string, maxBytes int64, log *slog.Logger) (*Encodings, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("open the encoded files: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open the encoded files: %w", err)
	}
	e := &Encodings{
		root: root, log: log.With("room", "content"), maxBytes: maxBytes,
		running: map[string]chan struct{}{}, kept: map[string]*list.Element{}, recent: list.New(),
		turn: make(chan struct{}, maxEncoding),
	}
	e.ctx, e.stop = context.WithCancel(context.Background())
	if err := e.load(); err != nil {
		root.Close()
		return nil, fmt.Errorf("open the encoded files: %w", err)
	}
	return e, nil
}

// load takes up what an earlier process left, and deletes what is not whole.
func (e *Encodings) load() error {
	files, err := fs.ReadDir(e.root.FS(), ".")
	if err != nil {
		return err
	}
	type found struct {
		*Encoding
		at time.Time
	}
	var all []found
	for _, file := range files {
		form, ok := parseEncoding(file.Name())
		info, err := file.Info()
		if err != nil {
			return err
		}
		if form.Size = info.Size(); ok && form.Size > 0 {
			all = append(all, found{form, info.ModTime()})
		} else if err := e.root.RemoveAll(file.Name()); err != nil {
			return err
		}
	}
	slices.SortFunc(all, func(a, b found) int { return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.of, b.of)) })
	for _, f := range all {
		e.keep(f.Encoding)
	}
	return nil
}

func parseEncoding(name string) (*Encoding, bool) {
	of, form, _ := strings.Cut(strings.TrimSuffix(name, ".zst"), "-")
	enc := &Encoding{of: of}
	file, err := hex.DecodeString(of)
	sum, sumErr := hex.DecodeString(form)
	if err != nil || sumErr != nil || len(file) != sha256.Size || len(sum) != sha256.Size {
		return enc, false
	}
	enc.SHA256 = [sha256.Size]byte(sum)
	return enc, enc.name() == name
}

// Close ends what is being made. Forms that were opened stay readable.
func (e *Encodings) Close() error {
	e.mu.Lock()
	e.stop()
	e.mu.Unlock()
	e.work.Wait()
	return e.root.Close()
}

// Open returns the form of a file, opened. It reports false if there is none: it would be hardly smaller, or is not made
// yet, which Open waits for only briefly. It is made once, however many ask, from what source reads, which has to be the
// file. The caller closes the form.
func (e *Encodings) Open(ctx context.Context, f wire.File, source func(context.Context) (io.ReadSeekCloser, error)) (*os.File, Encoding, bool) {
	if e == nil || f.Size < minEncodable || f.Size > maxEncodable {
		return nil, Encoding{}, false
	}
	form, ok := e.get(f.SHA256)
	if !ok {
		done := e.begin(f, source)
		if done == nil {
			return nil, Encoding{}, false
		}
		patience := time.NewTimer(encodedTime)
		defer patience.Stop()
		select {
		case <-done:
			form, ok = e.get(f.SHA256)
		case <-patience.C:
		case <-ctx.Done():
		}
	}
	if !ok || form.Size == 0 {
		return nil, Encoding{}, false
	}
	file, err := e.root.Open(form.name())
	if err != nil {
		e.lose(form) // somebody has deleted it
		return nil, Encoding{}, false
	}
	return file, *form, true
}

func (e *Encodings) get(digest string) (*Encoding, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	element := e.kept[digest]
	if element == nil {
		return nil, false
	}
	e.recent.MoveToFront(element)
	return element.Value.(*Encoding), true
}

// begin returns what is closed when the form has been made, or has not. It is nil if too many wait.
func (e *Encodings) begin(f wire.File, source func(context.Context) (io.ReadSeekCloser, error)) <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	if done := e.running[f.SHA256]; done != nil {
		return done
	}
	done := make(chan struct{})
	switch {
	case e.kept[f.SHA256] != nil: // since the caller looked
		close(done)
		return done
	case e.ctx.Err() != nil || len(e.running) >= maxQueued:
		return nil
	}
	e.running[f.SHA256] = done
	e.work.Go(func() {
		e.turn <- struct{}{}
		defer func() { <-e.turn }()
		form, err := e.encode(f, source)
		if err != nil && e.ctx.Err() == nil {
			// The file goes out as it is until this is forgotten: trying again for each agent would cost more.
			e.log.Warn("file not encoded", "path", f.Category+"/"+f.Path, "err", err)
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		e.made++
		delete(e.running, f.SHA256)
		e.keep(form)
		close(done)
	})
	return done
}

// keep takes a form in, and lets others go if there are too many. mu is held, or nobody else is there yet.
func (e *Encodings) keep(form *Encoding) {
	if old := e.kept[form.of]; old != nil {
		e.forget(old)
	}
	e.kept[form.of] = e.recent.PushFront(form)
	e.bytes += form.Size
	for e.bytes > e.maxBytes || len(e.kept) > maxEncodings {
		e.forget(e.recent.Back())
	}
}

// forget deletes a form. Who reads it reads on. mu is held.
func (e *Encodings) forget(element *list.Element) {
	form := e.recent.Remove(element).(*Encoding)
	delete(e.kept, form.of)
	e.bytes -= form.Size
	if form.Size == 0 {
		return
	}
	if err := e.root.Remove(form.name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		e.log.Warn("encoded file not deleted", "file", form.name(), "err", err)
	}
}

// lose forgets a form that cannot be opened, so that it is made again.
func (e *Encodings) lose(form *Encoding) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if element := e.kept[form.of]; element != nil && element.Value == form {
		e.forget(element)
	}
}
