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
)

// bytesOf describes the bytes of a blob.
type bytesOf struct {
	size   int64
	sha256 [sha256.Size]byte
	chunks []byte // the SHA-256 of each wire.ChunkSize bytes, one after the other
}

func (b bytesOf) digest() string { return hex.EncodeToString(b.sha256[:]) }

// blobFile is where the blob with a digest, in hexadecimal, is.
func blobFile(digest string) string { return "blobs/" + digest[:2] + "/" + digest }

// writeBlob stores what body holds and returns when it has reached the disk. Of its content only one chunk is in
// memory at a time. Bytes that are already there are written again all the same: that costs nothing but the time,
// and repairs a blob that a failing disk has damaged.
func (r *Repository) writeBlob(ctx context.Context, body io.Reader, want *[sha256.Size]byte) (_ bytesOf, err error) {
	tmp := "tmp/" + rand.Text()
	f, err := r.root.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o640)
	if err != nil {
		return bytesOf{}, fmt.Errorf("begin an upload: %w", noSpace(err))
	}
	defer func() {
		f.Close() // a second time after success, to no effect
		if err != nil {
			err = errors.Join(err, r.discard(tmp))
		}
	}()

	b, err := digestTo(ctx, f, body)
	if err != nil {
		return bytesOf{}, err
	}
	if want != nil && *want != b.sha256 {
		return bytesOf{}, fmt.Errorf("%w: received %d bytes with SHA-256 %s", ErrDigest, b.size, b.digest())
	}
	if err := f.Sync(); err != nil {
		return bytesOf{}, fmt.Errorf("store an upload: %w", noSpace(err))
	}
	if err := f.Close(); err != nil {
		return bytesOf{}, fmt.Errorf("store an upload: %w", noSpace(err))
	}
	if err := r.publish(tmp, b.digest()); err != nil {
		return bytesOf{}, fmt.Errorf("store an upload: %w", noSpace(err))
	}
	return b, nil
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

// publish gives a complete file its name for good.
func (r *Repository) publish(tmp, digest string) error {
	dir := "blobs/" + digest[:2]
	if err := r.root.Mkdir(dir, 0o750); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := r.root.Rename(tmp, blobFile(digest)); err != nil {
		return err
	}
	return errors.Join(r.syncDir(dir), r.syncDir("blobs"))
}

func (r *Repository) syncDir(name string) error {
	dir, err := r.root.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// discard deletes the file of a failed upload, unless it was renamed already.
func (r *Repository) discard(tmp string) error {
	if err := r.root.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// noSpace marks the errors of a full disk or quota as ErrNoSpace.
func noSpace(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return err
}
