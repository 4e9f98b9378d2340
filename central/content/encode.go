package content

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"

	"github.com/klauspost/compress/zstd"

	"github.com/pureboot/pureboot/central/wire"
)

const (
	samples    = 3        // of a file, from its begin to its end
	sampleSize = 64 << 10 // bytes

	// encodingWindow is what an agent has to keep in memory to decode, in bytes. Little is gained by more, and an agent
	// may decode many files at once.
	encodingWindow = 1 << 20
)

// worthIt is whether encoded bytes are enough fewer than those of the file: by a tenth.
func worthIt(encoded, size int64) bool { return encoded < size-size/10 }

// encode makes the form of a file. What is not worth it, and what goes wrong, becomes a form without bytes.
func (e *Encodings) encode(f wire.File, source func(context.Context) (io.ReadSeekCloser, error)) (*Encoding, error) {
	none := &Encoding{of: f.SHA256}
	in, err := source(e.ctx)
	if err != nil {
		return none, err
	}
	defer in.Close()
	if shrinks, err := sample(in, f.Size); err != nil || !shrinks {
		return none, err
	}
	tmp := "tmp-" + rand.Text()
	out, err := e.root.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o640)
	if err != nil {
		return none, err
	}
	form := &Encoding{of: f.SHA256}
	err = form.write(out, stopping{e.ctx, in}, f)
	// Its name says what is in it, so it must be there when the name is, whatever happens to the power.
	err = errors.Join(err, out.Sync(), out.Close())
	if err == nil && worthIt(form.Size, f.Size) {
		if err = e.root.Rename(tmp, form.name()); err == nil {
			return form, nil
		}
	}
	return none, errors.Join(err, e.root.Remove(tmp))
}

// sample is whether parts of a file shrink. It tells what is compressed already, whatever its name says, from a few
// milliseconds of work.
func sample(in io.ReadSeeker, size int64) (shrinks bool, err error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(sampleSize))
	if err != nil {
		return false, err
	}
	defer enc.Close()
	var read, encoded int64
	piece := make([]byte, min(sampleSize, size))
	for i := range int64(samples) {
		if _, err := in.Seek((size-int64(len(piece)))*i/(samples-1), io.SeekStart); err != nil {
			return false, err
		}
		if _, err := io.ReadFull(in, piece); err != nil {
			return false, err
		}
		read += int64(len(piece))
		encoded += int64(len(enc.EncodeAll(piece, nil)))
	}
	_, err = in.Seek(0, io.SeekStart)
	return worthIt(encoded, read), err
}

// write encodes a file and notes what came of it. Bytes that are not the file's are an error: a damaged blob must not
// live on in another form.
func (form *Encoding) write(out io.Writer, in io.Reader, f wire.File) error {
	encoded, whole := &measured{w: out, sum: sha256.New()}, sha256.New()
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(encodingWindow))
	if err != nil {
		return err
	}
	enc.ResetContentSize(encoded, f.Size)
	_, err = io.Copy(enc, io.TeeReader(in, whole))
	if err = errors.Join(err, enc.Close()); err != nil {
		return fmt.Errorf("encode: %w", noSpace(err))
	}
	if got := hex.EncodeToString(whole.Sum(nil)); got != f.SHA256 {
		return fmt.Errorf("%w: its bytes have the SHA-256 %s", ErrDigest, got)
	}
	form.Size, form.SHA256 = encoded.n, [sha256.Size]byte(encoded.sum.Sum(nil))
	return nil
}

// measured counts and digests what passes.
type measured struct {
	w   io.Writer
	sum hash.Hash
	n   int64
}

func (m *measured) Write(p []byte) (int, error) {
	n, err := m.w.Write(p)
	m.n += int64(n)
	m.sum.Write(p[:n])
	return n, err
}

// stopping is a reader that ends with a context.
type stopping struct {
	ctx context.Context // of the work that reads
	io.Reader
}

func (s stopping) Read(p []byte) (int, error) {
	if s.ctx.Err() != nil {
		return 0, context.Cause(s.ctx)
	}
	return s.Reader.Read(p)
}
