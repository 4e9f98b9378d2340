package httpcache

import (
	"cmp"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

const (
	// tooFar is what a position that does not fit is taken for: no representation reaches it.
	tooFar = math.MaxInt64
	// maxRanges bounds the ranges of a request: nobody needs more, and each costs a part's header.
	maxRanges = 200
	// partOverhead is about what the header of one part of multipart/byteranges takes, in bytes. Gaps that are
	// smaller are sent along (RFC 9110 section 15.3.7.2).
	partOverhead = 80
)

// Span is a part of a representation: the bytes from Start to before End.
type Span struct{ Start, End int64 }

// Length is the number of bytes.
func (p Span) Length() int64 { return p.End - p.Start }

// Range asks for the span: bytes=0-99.
func (p Span) Range() string {
	return "bytes=" + strconv.FormatInt(p.Start, 10) + "-" + strconv.FormatInt(p.End-1, 10)
}

// RangeSpec is one range as a client writes it. Either First and Last, both inclusive, Last being
// 2^63-1 if it was left out; or the last Suffix bytes, First being -1 then.
type RangeSpec struct{ First, Last, Suffix int64 }

// ParseRange reads Range (RFC 9110 section 14.2). It is false, and the field to be ignored, if it is
// missing, doubled, malformed, of another unit than bytes, or has more than 200 ranges.
func ParseRange(h http.Header) ([]RangeSpec, bool) {
	value, _ := single(h, "Range")
	unit, set, ok := strings.Cut(value, "=")
	if !ok || !strings.EqualFold(unit, "bytes") {
		return nil, false
	}
	var specs []RangeSpec
	for member := range strings.SplitSeq(set, ",") {
		if member = trim(member); member == "" {
			continue // section 5.6.1.2
		}
		spec, ok := parseRangeSpec(member)
		if !ok || len(specs) == maxRanges {
			return nil, false
		}
		specs = append(specs, spec)
	}
	return specs, len(specs) > 0
}

func parseRangeSpec(s string) (RangeSpec, bool) {
	first, last, ok := strings.Cut(s, "-")
	if !ok {
		return RangeSpec{}, false
	}
	if first == "" {
		n, ok := parsePosition(last)
		return RangeSpec{First: -1, Suffix: n}, ok
	}
	spec := RangeSpec{Last: tooFar}
	if spec.First, ok = parsePosition(first); ok && last != "" {
		spec.Last, ok = parsePosition(last)
	}
	return spec, ok && spec.First <= spec.Last
}

// parsePosition reads digits of any number.
func parsePosition(s string) (int64, bool) {
	if s == "" {
		return 0, false
	}
	var n int64
	for i := range len(s) {
		d := int64(s[i]) - '0'
		switch {
		case d < 0 || d > 9:
			return 0, false
		case n > (tooFar-d)/10:
			n = tooFar
		default:
			n = n*10 + d
		}
	}
	return n, true
}

// span is what the range means of size bytes. It is empty if it cannot be satisfied.
func (r RangeSpec) span(size int64) Span {
	if r.First < 0 {
		return Span{size - min(r.Suffix, size), size}
	}
	if r.First >= size {
		return Span{}
	}
	return Span{r.First, min(r.Last, size-1) + 1}
}

// Resolve turns ranges into spans of a representation of size bytes, those that overlap, touch or
// nearly do made one, each where the first of its ranges stood (RFC 9110 section 15.3.7.2). None
// means 416 (section 15.5.17).
func Resolve(specs []RangeSpec, size int64) []Span {
	type placed struct {
		Span
		place int
	}
	var wanted []placed
	for i, spec := range specs {
		if s := spec.span(size); s.Length() > 0 {
			wanted = append(wanted, placed{s, i})
		}
	}
	slices.SortFunc(wanted, func(a, b placed) int { return cmp.Compare(a.Start, b.Start) })
	merged := wanted[:0]
	for _, w := range wanted {
		if n := len(merged); n > 0 && w.Start-merged[n-1].End < partOverhead {
			last := &merged[n-1]
			last.End, last.place = max(last.End, w.End), min(last.place, w.place)
			continue
		}
		merged = append(merged, w)
	}
	slices.SortFunc(merged, func(a, b placed) int { return cmp.Compare(a.place, b.place) })
	var spans []Span
	for _, m := range merged {
		spans = append(spans, m.Span)
	}
	return spans
}

// SelectRanges is what of s, being of size bytes, a request gets that Proceeds: 200 and the whole, 206
// and these spans, or 416 (RFC 9110 section 14.2). Range counts with GET on a 200 only, and where
// If-Range does not speak against it.
func SelectRanges(r *http.Request, s *Stored, size int64) (status int, spans []Span) {
	if r.Method != http.MethodGet || s.Status != http.StatusOK || len(r.Header["Range"]) == 0 {
		return s.Status, nil
	}
	specs, ok := ParseRange(r.Header)
	if !ok || !ifRange(r.Header, s) {
		return s.Status, nil
	}
	spans = Resolve(specs, size)
	switch {
	case len(spans) > 0:
		return http.StatusPartialContent, spans
	case size == 0 && slices.ContainsFunc(specs, func(r RangeSpec) bool { return r.Suffix > 0 }):
		return http.StatusOK, nil // satisfied by nothing, which no Content-Range can say
	}
	return http.StatusRequestedRangeNotSatisfiable, nil
}

// ContentRange says which part of a representation a message has (RFC 9110 section 14.4).
type ContentRange struct {
	Span
	Size        int64 // of the whole; -1 if it was not told
	Unsatisfied bool  // of a 416: there is no Span
}

// ParseContentRange reads Content-Range. It is false if it is missing, doubled, malformed, contradicts
// itself or is of another unit than bytes.
func ParseContentRange(h http.Header) (ContentRange, bool) {
	value, _ := single(h, "Content-Range")
	unit, rest, _ := strings.Cut(value, " ")
	span, size, ok := strings.Cut(rest, "/")
	if !ok || !strings.EqualFold(unit, "bytes") {
		return ContentRange{}, false
	}
	c := ContentRange{Size: -1}
	if size != "*" {
		if c.Size, ok = parsePosition(size); !ok || c.Size == tooFar {
			return ContentRange{}, false
		}
	}
	if span == "*" && c.Size >= 0 {
		c.Unsatisfied = true
		return c, true
	}
	first, last, ok := strings.Cut(span, "-")
	if !ok {
		return ContentRange{}, false
	}
	start, ok1 := parsePosition(first)
	end, ok2 := parsePosition(last)
	if !ok1 || !ok2 || start > end || end == tooFar || c.Size >= 0 && end >= c.Size {
		return ContentRange{}, false
	}
	c.Span = Span{start, end + 1}
	return c, true
}

// String is the field's value.
func (c ContentRange) String() string {
	size := "*"
	if c.Size >= 0 {
		size = strconv.FormatInt(c.Size, 10)
	}
	if c.Unsatisfied {
		return "bytes */" + size
	}
	return fmt.Sprintf("bytes %d-%d/%s", c.Start, c.End-1, size)
}
