package cache

import (
	"cmp"
	"math"
	"slices"
)

// segment is the bytes [Begin, End) of an object.
type segment struct {
	Begin int64 `json:"begin"`
	End   int64 `json:"end"`
}

func (g segment) len() int64 { return g.End - g.Begin }

// segments are sorted, not empty, and do not touch each other. The zero value is none.
type segments []segment

// add adds g, which may overlap what is there.
func (s *segments) add(g segment) {
	if g.Begin >= g.End {
		return
	}
	// [i, j) are those that g touches.
	i, _ := slices.BinarySearchFunc(*s, g.Begin, func(have segment, begin int64) int { return cmp.Compare(have.End, begin) })
	j := i
	for j < len(*s) && (*s)[j].Begin <= g.End {
		g.Begin, g.End = min(g.Begin, (*s)[j].Begin), max(g.End, (*s)[j].End)
		j++
	}
	*s = slices.Replace(*s, i, j, g)
}

// cut takes g away.
func (s *segments) cut(g segment) {
	if g.Begin >= g.End {
		return
	}
	var left segments
	for _, have := range *s {
		left.add(segment{have.Begin, min(have.End, g.Begin)})
		left.add(segment{max(have.Begin, g.End), have.End})
	}
	*s = left
}

// from returns the end of the bytes that are there from offset on: offset itself if it is in a gap.
func (s segments) from(offset int64) int64 {
	if i := s.after(offset); i < len(s) && s[i].Begin <= offset {
		return s[i].End
	}
	return offset
}

// next returns the first offset >= offset that is there, math.MaxInt64 if none is.
func (s segments) next(offset int64) int64 {
	if i := s.after(offset); i < len(s) {
		return max(s[i].Begin, offset)
	}
	return math.MaxInt64
}

// after is the index of the first segment that ends behind offset.
func (s segments) after(offset int64) int {
	i, _ := slices.BinarySearchFunc(s, offset+1, func(have segment, end int64) int { return cmp.Compare(have.End, end) })
	return i
}

// covers reports whether all of g is there.
func (s segments) covers(g segment) bool { return g.len() <= 0 || s.from(g.Begin) >= g.End }

func (s segments) bytes() (n int64) {
	for _, g := range s {
		n += g.len()
	}
	return n
}
