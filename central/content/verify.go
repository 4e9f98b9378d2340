package content

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/pureboot/pureboot/central/wire"
)

// Verdict says whether the disk still holds the bytes of a file.
type Verdict struct {
	wire.File
	Whole     bool   `json:"whole" doc:"Every byte is what was uploaded"`
	BadChunks []int  `json:"bad_chunks" nullable:"false" doc:"Numbers of the 256 KiB pieces that are damaged or missing, the first hundred of them"`
	Fault     string `json:"fault,omitempty" doc:"What is wrong"`
}

// maxBadChunks bounds what a verdict lists.
const maxBadChunks = 100

// Verify reads all of a file from the disk, in constant memory, and compares it with its digests. A file that is
// damaged is no error; uploading the same bytes again repairs it.
func (r *Repository) Verify(ctx context.Context, category, path string) (Verdict, error) {
	chunks, err := r.Chunks(ctx, category, path)
	if err != nil {
		return Verdict{}, err
	}
	v := Verdict{File: chunks.File, BadChunks: []int{}}
	f, err := r.openBlob(chunks.SHA256)
	if err != nil {
		v.Fault = "its blob cannot be opened"
		r.log.Error("content is damaged", "category", category, "path", path, "sha256", v.SHA256, "err", err)
		return v, nil
	}
	defer f.Close()
	size, err := v.read(ctx, f, chunks.Chunks)
	switch {
	case ctx.Err() != nil:
		return Verdict{}, fmt.Errorf("verify content: %w", context.Cause(ctx))
	case err != nil:
		v.Fault = "its blob cannot be read"
	case size != v.Size:
		v.Fault = fmt.Sprintf("its blob is %d bytes long", size)
	case len(v.BadChunks) > 0:
		v.Fault = "its blob holds other bytes"
	}
	if v.Whole = v.Fault == ""; !v.Whole {
		r.log.Error("content is damaged", "category", category, "path", path, "sha256", v.SHA256, "fault", v.Fault, "err", err)
	}
	return v, nil
}

// read compares a blob with the digests of its chunks and returns its length.
func (v *Verdict) read(ctx context.Context, f io.Reader, want []string) (size int64, err error) {
	chunk := make([]byte, wire.ChunkSize)
	for i := 0; ; i++ {
		n, err := fill(f, chunk)
		size += int64(n)
		ends := errors.Is(err, io.EOF)
		if i < len(want) && hexOf(sha256.Sum256(chunk[:n])) != want[i] && len(v.BadChunks) < maxBadChunks {
			v.BadChunks = append(v.BadChunks, i)
		}
		switch {
		case ends && i+1 >= len(want):
			return size, nil
		case ends:
			continue // all chunks that are missing are damaged
		case err != nil:
			return size, err
		case ctx.Err() != nil:
			return size, ctx.Err()
		}
	}
}
