package cache

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

// TestSegmentsAgainstBitmap compares the bookkeeping with a byte per offset.
func TestSegmentsAgainstBitmap(t *testing.T) {
	const size = 48
	rapid.Check(t, func(t *rapid.T) {
		var s segments
		var bitmap [size]bool
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			g := segment{rapid.Int64Range(0, size).Draw(t, "begin"), rapid.Int64Range(0, size).Draw(t, "end")}
			add := rapid.Bool().Draw(t, "add")
			if add {
				s.add(g)
			} else {
				s.cut(g)
			}
			for i := g.Begin; i < g.End; i++ {
				bitmap[i] = add
			}
			checkSegments(t, s, bitmap[:])
		}
	})
}

func checkSegments(t *rapid.T, s segments, bitmap []bool) {
	n := int64(0)
	for i, g := range s {
		if g.Begin >= g.End || i > 0 && s[i-1].End >= g.Begin {
			t.Fatalf("not sorted and apart: %v", s)
		}
	}
	for i := range int64(len(bitmap)) {
		from, next := i, int64(math.MaxInt64)
		for from < int64(len(bitmap)) && bitmap[from] {
			from++
		}
		for j := int64(len(bitmap)) - 1; j >= i; j-- {
			if bitmap[j] {
				next = j
			}
		}
		if bitmap[i] {
			n++
		}
		if got := s.from(i); got != from {
			t.Fatalf("%v from %d reaches %d, want %d", s, i, got, from)
		}
		if got := s.next(i); got != next {
			t.Fatalf("%v next of %d is %d, want %d", s, i, got, next)
		}
		if got := s.covers(segment{i, i + 1}); got != bitmap[i] {
			t.Fatalf("%v covers %d: %v", s, i, got)
		}
	}
	if got := s.bytes(); got != n {
		t.Fatalf("%v has %d bytes, want %d", s, got, n)
	}
}
