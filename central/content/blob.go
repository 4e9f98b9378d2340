package content

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/ent/blob"
)

// bytesOf describes the bytes of a blob.
type bytesOf struct {
	size   int64
	sha256 [sha256.Size]byte
	chunks []byte // the SHA-256 of each wire.ChunkSize bytes, one after the other
}

func (b bytesOf) digest() string { return hexOf(b.sha256) }

func hexOf(sum [sha256.Size]byte) string { return hex.EncodeToString(sum[:]) }

// blobFile is where the blob with a digest, in hexadecimal, is.
func blobFile(digest string) string { return "blobs/" + digest[:2] + "/" + digest }

// tmpFile is a file of tmp/ that belongs to an upload under way: it is locked for as long as it is open, so that no
// other process takes it for abandoned.
type tmpFile struct {
	r    *Repository
	f    *os.File
	name string
}

func (r *Repository) newTmp(ctx context.Context) (*tmpFile, error) {
	release, err := guard{r}.share(ctx) // between its making and its locking nobody sweeps
	if err != nil {
		return nil, err
	}
	defer release()
	t := &tmpFile{r: r, name: "tmp/" + rand.Text()}
	if t.f, err = r.root.OpenFile(t.name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o640); err != nil {
		return nil, err
	}
	if err := flock(t.f, syscall.LOCK_EX); err != nil {
		t.discard()
		return nil, err
	}
	return t, nil
}

// discard ends the use of the file and deletes it, unless it was renamed.
func (t *tmpFile) discard() {
	t.f.Close()
	if err := t.r.root.Remove(t.name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.r.log.Error("an upload's file is left over until the next start", "file", t.name, "err", err)
	}
}

// receive stores what body holds in a file of its own and returns when it has reached the disk. Of its content only
// one chunk is in memory at a time. The caller discards the file. Bytes that are in place already are written again
// all the same: that costs nothing but the time, and repairs a blob that a failing disk has damaged.
func (r *Repository) receive(ctx context.Context, body io.Reader, want *[sha256.Size]byte) (_ *tmpFile, _ bytesOf, err error) {
	tmp, err := r.newTmp(ctx)
	if err != nil {
		return nil, bytesOf{}, fmt.Errorf("begin an upload: %w", noSpace(err))
	}
	defer func() {
		if err != nil {
			tmp.discard()
		}
	}()
	b, err := digestTo(ctx, tmp.f, body)
	if err != nil {
		return nil, bytesOf{}, err
	}
	if want != nil && *want != b.sha256 {
		return nil, bytesOf{}, fmt.Errorf("%w: received %d bytes with SHA-256 %s", ErrDigest, b.size, b.digest())
	}
	if err := tmp.f.Sync(); err != nil {
		return nil, bytesOf{}, fmt.Errorf("store an upload: %w", noSpace(err))
	}
	return tmp, b, nil
}

// digestTo copies body to w by whole chunks, and digests them on the way.
func digestTo(ctx context.Context, w io.Writer, body io.Reader) (bytesOf, error) {
	b := bytesOf{chunks: []byte{}}
	whole, chunk := sha256.New(), make([]byte, wire.ChunkSize)
	for {
		n, readErr := fill(body, chunk)
		if n > 0 {
			part := sha256.Sum256(chunk[:n])
			b.chunks = append(b.chunks, part[:]...)
			b.size += int64(n)
			whole.Write(chunk[:n])
			if _, err := w.Write(chunk[:n]); err != nil {
				return bytesOf{}, fmt.Errorf("store an upload: %w", noSpace(err))
			}
		}
		switch {
		case readErr == io.EOF:
			b.sha256 = [sha256.Size]byte(whole.Sum(nil))
			return b, nil
		case readErr != nil:
			return bytesOf{}, fmt.Errorf("receive an upload: %w", readErr)
		case ctx.Err() != nil:
			return bytesOf{}, fmt.Errorf("receive an upload: %w", context.Cause(ctx))
		}
	}
}

// fill reads until buf is full or r ends, with io.EOF, or fails. Unlike io.ReadFull it keeps the io.ErrUnexpectedEOF
// of a request that broke off apart from a body that ends here.
func fill(r io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		var m int
		m, err = r.Read(buf[n:])
		n += m
	}
	return n, err
}

// place gives a complete file its name for good.
func (r *Repository) place(file, digest string) error {
	dir := "blobs/" + digest[:2]
	if err := r.root.Mkdir(dir, 0o750); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := r.root.Rename(file, blobFile(digest)); err != nil {
		return err
	}
	return errors.Join(r.syncDir(dir), r.syncDir("blobs"))
}

// errNoBlob says that a blob is not on the disk.
var errNoBlob = errors.New("no such blob")

// present says errNoBlob unless a blob is on the disk, at its length.
func (r *Repository) present(b bytesOf) error {
	info, err := r.root.Stat(blobFile(b.digest()))
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() != b.size {
		return errNoBlob
	}
	return err
}

// blob returns what the database knows of a blob, or ent's error that there is none.
func (r *Repository) blob(ctx context.Context, digest string) (bytesOf, error) {
	row, err := r.st.Read().Blob.Query().Where(blob.Sha256(digest)).Only(ctx)
	if err != nil {
		return bytesOf{}, err
	}
	sum, err := hex.DecodeString(row.Sha256)
	if err != nil {
		return bytesOf{}, err
	}
	return bytesOf{size: row.Size, sha256: [sha256.Size]byte(sum), chunks: row.Chunks}, nil
}

func (r *Repository) syncDir(name string) error {
	dir, err := r.root.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// room says ErrNoSpace if so many bytes more cannot be stored.
func (r *Repository) room(bytes int64) error {
	free, err := r.free()
	if err != nil {
		return err
	}
	if bytes > free {
		return fmt.Errorf("%w: %d bytes are free, %d are needed", ErrNoSpace, free, bytes)
	}
	return nil
}

// freeBytes returns how many bytes the disk of a folder has left.
func freeBytes(dir string) (int64, error) {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		return 0, fmt.Errorf("look at the disk of the content: %w", err)
	}
	return int64(fs.Bavail) * fs.Bsize, nil
}

// noSpace marks the errors of a full disk or quota as ErrNoSpace.
func noSpace(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return err
}
