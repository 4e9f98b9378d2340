package main

import (
	"bytes"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"sync"
)

// period is after how many bytes the noise repeats. It is prime, so that no two pieces at round offsets are equal.
const period = 1<<23 + 9

// maxPiece is the most that text.at returns, in bytes.
const maxPiece = 256 << 10

// noise is what all content is cut from: checking a byte then costs a comparison, and making one costs nothing.
var noise = sync.OnceValue(func() []byte {
	table := make([]byte, period+maxPiece)
	rand.NewChaCha8([32]byte{}).Read(table[:period])
	copy(table[period:], table)
	return table
})

// text is the content of one version of an object: the noise from some point on. Two versions differ everywhere.
type text int64

func textOf(name string, version int) text {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s#%d", name, version)
	return text(h.Sum64() % period)
}

// at returns up to n bytes from offset on, and at most maxPiece. They are not to be written to.
func (t text) at(offset int64, n int) []byte {
	from := (int64(t) + offset) % period
	return noise()[from : from+int64(min(n, maxPiece))]
}

// matches says whether p is what the text has at offset.
func (t text) matches(p []byte, offset int64) bool {
	for len(p) > 0 {
		want := t.at(offset, len(p))
		if !bytes.Equal(p[:len(want)], want) {
			return false
		}
		p, offset = p[len(want):], offset+int64(len(want))
	}
	return true
}

// reader reads the first size bytes of the text.
func (t text) reader(size int64) io.Reader { return &textReader{text: t, left: size} }

type textReader struct {
	text
	offset, left int64
}

func (r *textReader) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.at(r.offset, int(min(int64(len(p)), r.left))))
	r.offset, r.left = r.offset+int64(n), r.left-int64(n)
	return n, nil
}

var errWrongBytes = errors.New("bytes of no version, or of two")

// checker compares what is written to it with each version it could be. A body that begins as one version and goes on
// as another is wrong.
type checker struct {
	texts  []text
	offset int64 // of the next byte
}

func (c *checker) check(p []byte) error {
	kept := c.texts[:0]
	for _, t := range c.texts {
		if t.matches(p, c.offset) {
			kept = append(kept, t)
		}
	}
	c.texts = kept
	if len(kept) == 0 {
		return fmt.Errorf("%w, at offset %d to %d", errWrongBytes, c.offset, c.offset+int64(len(p)))
	}
	c.offset += int64(len(p))
	return nil
}
