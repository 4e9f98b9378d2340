package api

import (
	"bytes"
	"net/http"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/pureboot/pureboot/central/wire"
)

const (
	minCompact = 1 << 10   // bytes from which on JSON is worth compressing
	jsonWindow = 512 << 10 // bytes that an encoder looks back
)

// compact returns where the answer to an agent goes: JSON that is not short leaves in zstd, if the agent takes it (RFC
// 9110, section 12.5.3). The manifest of a large repository would else be the largest thing that a site without new
// content fetches. end ends the answer.
func (a *api) compact(w http.ResponseWriter, r *http.Request, p principal) (out http.ResponseWriter, end func()) {
	if p.role != "" || wire.PreferredCoding(r.Header.Values("Accept-Encoding"), "zstd") != "zstd" {
		return w, func() {}
	}
	c := &compacted{ResponseWriter: w, encoders: &a.encoders}
	return c, func() {
		if err := c.end(); err != nil {
			panic(http.ErrAbortHandler) // so that what has left does not look whole
		}
	}
}

// compacted holds an answer back until it is known whether it is JSON and long enough. All others pass.
type compacted struct {
	http.ResponseWriter
	status int // held back; 0: none
	passes bool
	held   bytes.Buffer
	enc    *zstd.Encoder // nil: not compressed, or not yet

	encoders *sync.Pool // of *zstd.Encoder
}

func (c *compacted) WriteHeader(status int) {
	h := c.Header()
	switch {
	case c.status != 0:
	case c.passes || status != http.StatusOK || h.Get("Content-Type") != "application/json" || h.Get("ETag") != "" || h.Get("Content-Encoding") != "":
		c.passes = c.passes || status >= 200
		c.ResponseWriter.WriteHeader(status)
	default:
		c.status = status
	}
}

func (c *compacted) Write(p []byte) (int, error) {
	if !c.passes && c.status == 0 {
		c.WriteHeader(http.StatusOK)
	}
	switch {
	case c.passes:
		return c.ResponseWriter.Write(p)
	case c.enc != nil:
		return c.enc.Write(p)
	}
	c.held.Write(p)
	if c.held.Len() < minCompact {
		return len(p), nil
	}
	h := c.Header()
	h.Set("Content-Encoding", "zstd")
	h.Add("Vary", "Accept-Encoding")
	h.Del("Content-Length")
	c.ResponseWriter.WriteHeader(c.status)
	if c.enc, _ = c.encoders.Get().(*zstd.Encoder); c.enc == nil {
		var err error
		// With one encoder there are no goroutines: what the pool drops is freed.
		c.enc, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(jsonWindow))
		if err != nil {
			return 0, err
		}
	}
	c.enc.Reset(c.ResponseWriter)
	_, err := c.enc.Write(c.held.Bytes())
	return len(p), err
}

func (c *compacted) end() error {
	switch {
	case c.enc != nil:
		err := c.enc.Close()
		c.enc.Reset(nil)
		c.encoders.Put(c.enc)
		return err
	case c.status != 0:
		c.Header().Add("Vary", "Accept-Encoding")
		c.ResponseWriter.WriteHeader(c.status)
		_, err := c.ResponseWriter.Write(c.held.Bytes())
		return err
	}
	return nil
}

// Unwrap is for http.ResponseController.
func (c *compacted) Unwrap() http.ResponseWriter { return c.ResponseWriter }
