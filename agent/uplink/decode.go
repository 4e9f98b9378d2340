package uplink

import (
	"fmt"
	"io"
	"net/http"

	"github.com/klauspost/compress/zstd"
)

// maxWindow bounds what decoding keeps in memory, in bytes: no sender may want more (RFC 9659).
const maxWindow = 8 << 20

// decoded returns the body of an answer as what it was made from. It comes in the coding zstd, or in none; in one that
// was not asked for it is an error.
func decoded(res *http.Response, asked bool) (io.ReadCloser, error) {
	switch coding := res.Header.Get("Content-Encoding"); {
	case coding == "":
		return res.Body, nil
	case coding != "zstd" || !asked:
		return nil, fmt.Errorf("central answered in the coding %.40q, which was not asked for", coding)
	}
	b := &zstdBody{ReadCloser: res.Body}
	var err error
	// With one decoder there are no goroutines: what it holds is freed with it, and closing the body ends its reading.
	b.decoder, err = zstd.NewReader(received{b}, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
	return b, err
}

// zstdBody is a body in the coding zstd (RFC 8878), decoded as it arrives.
type zstdBody struct {
	io.ReadCloser // as it comes over the wire
	decoder       *zstd.Decoder
	received      int64
}

func (b *zstdBody) Read(p []byte) (int, error) {
	n, err := b.decoder.Read(p)
	if err != nil && err != io.EOF { //nolint:errorlint // a reader's end is io.EOF itself
		err = fmt.Errorf("decode zstd: %w", err)
	}
	return n, err
}

// Received returns how many bytes have come over the wire.
func (b *zstdBody) Received() int64 { return b.received }

// received is what the decoder reads from.
type received struct{ *zstdBody }

func (r received) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	r.zstdBody.received += int64(n)
	return n, err
}
