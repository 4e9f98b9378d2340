package main

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

func TestTextReaderAgreesWithAt(t *testing.T) {
	const size = period + 3*maxPiece + 17 // round the end of the noise
	v := textOf("object", 0)
	all, err := io.ReadAll(v.reader(size))
	if err != nil || len(all) != size {
		t.Fatalf("%d bytes, %v", len(all), err)
	}
	if !v.matches(all, 0) || !v.matches(all[12345:], 12345) {
		t.Error("what was read is not the text")
	}
}

func TestCheckerNotices(t *testing.T) {
	const size = 3 << 20
	old, young := textOf("object", 0), textOf("object", 1)
	read := func(v text) []byte {
		all, err := io.ReadAll(v.reader(size))
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	flipped := read(old)
	flipped[size-1] ^= 0x80
	zeroes := read(old)
	clear(zeroes[size/2 : size/2+1])
	for name, body := range map[string][]byte{
		"a flipped bit":           flipped,
		"a byte of a hole":        zeroes,
		"two versions":            append(read(old)[:size/2], read(young)[size/2:]...),
		"a chunk left out":        append(read(old)[:256<<10], read(old)[512<<10:]...),
		"a chunk sent twice":      append(read(old)[:256<<10], read(old)...),
		"another object":          read(textOf("other", 0)),
		"a body one byte too far": read(old)[1:],
	} {
		c := checker{texts: []text{old, young}}
		var err error
		for piece := range chunks(body) {
			if err = c.check(piece); err != nil {
				break
			}
		}
		if !errors.Is(err, errWrongBytes) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, v := range map[string]text{"the old": old, "the young": young} {
		c := checker{texts: []text{old, young}}
		for piece := range chunks(read(v)) {
			if err := c.check(piece); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// chunks cuts a body as a network would.
func chunks(body []byte) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		r, buf := bytes.NewReader(body), make([]byte, 40_001)
		for {
			n, err := r.Read(buf)
			if err != nil || !yield(buf[:n]) {
				return
			}
		}
	}
}
