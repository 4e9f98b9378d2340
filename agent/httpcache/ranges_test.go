package httpcache

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestSelectRanges(t *testing.T) {
	const (
		whole         = http.StatusOK
		part          = http.StatusPartialContent
		unsatisfiable = http.StatusRequestedRangeNotSatisfiable
	)
	many := func(n int) string { return "bytes=" + strings.Repeat("0-0,", n-1) + "0-0" }
	for _, tt := range []struct {
		name   string
		ranges string
		size   int64
		status int
		spans  []Span
	}{
		{"14.1.2: first and last", "bytes=0-499", 10000, part, []Span{{0, 500}}},
		{"14.1.2: in the middle", "bytes=500-999", 10000, part, []Span{{500, 1000}}},
		{"14.1.2: one byte", "bytes=0-0", 10000, part, []Span{{0, 1}}},
		{"14.1.2: suffix", "bytes=-500", 10000, part, []Span{{9500, 10000}}},
		{"14.1.2: open end", "bytes=9500-", 10000, part, []Span{{9500, 10000}}},
		{"14.1.2: all of it", "bytes=0-", 10000, part, []Span{{0, 10000}}},
		{"14.1.2: last behind the end", "bytes=9990-20000", 10000, part, []Span{{9990, 10000}}},
		{"14.1.2: suffix larger than all", "bytes=-20000", 10000, part, []Span{{0, 10000}}},
		{"14.1.2: last beyond 2^63", "bytes=5-99999999999999999999999", 10000, part, []Span{{5, 10000}}},
		{"14.1.2: suffix beyond 2^63", "bytes=-99999999999999999999999", 10000, part, []Span{{0, 10000}}},
		{"14.1.2: first beyond 2^63", "bytes=99999999999999999999999-", 10000, unsatisfiable, nil},
		{"14.1.2: leading zeros beyond the digits of 2^63", "bytes=000000000000000000000000005-6", 10000, part, []Span{{5, 7}}},
		{"14.1.2: two", "bytes=0-0,-1", 10000, part, []Span{{0, 1}, {9999, 10000}}},
		{"14.1: unit in any case", "Bytes=0-499", 10000, part, []Span{{0, 500}}},
		{"5.6.1.2: empty members and whitespace", "bytes=, 0-0 ,\t, 500-600,", 10000, part, []Span{{0, 1}, {500, 601}}},

		{"14.1.2: first behind the end", "bytes=10000-", 10000, unsatisfiable, nil},
		{"14.1.2: suffix of nothing", "bytes=-0", 10000, unsatisfiable, nil},
		{"14.1.2: one of two can be satisfied", "bytes=10000-,0-0", 10000, part, []Span{{0, 1}}},
		{"14.1.2: none of two", "bytes=10000-,-0", 10000, unsatisfiable, nil},
		{"14.1.2: range of nothing", "bytes=0-0", 0, unsatisfiable, nil},
		{"14.1.2: suffix of what is empty is satisfied by nothing", "bytes=-5", 0, whole, nil},

		{"14.1.1: last before first", "bytes=5-4", 10000, whole, nil},
		{"14.1.1: last before first among others", "bytes=0-0,5-4", 10000, whole, nil},
		{"14.1.1: nothing", "bytes=", 10000, whole, nil},
		{"14.1.1: nothing but commas", "bytes=,,", 10000, whole, nil},
		{"14.1.1: dash alone", "bytes=-", 10000, whole, nil},
		{"14.1.1: no dash", "bytes=5", 10000, whole, nil},
		{"14.1.1: three numbers", "bytes=1-2-3", 10000, whole, nil},
		{"14.1.1: negative", "bytes=--5", 10000, whole, nil},
		{"14.1.1: signed", "bytes=+1-2", 10000, whole, nil},
		{"14.1.1: hexadecimal", "bytes=0x1-2", 10000, whole, nil},
		{"14.1.1: whitespace within", "bytes=1 -2", 10000, whole, nil},
		{"14.1.1: whitespace around the equals sign", "bytes = 1-2", 10000, whole, nil},
		{"14.1.1: no unit", "0-5", 10000, whole, nil},
		{"14.2: other unit", "lines=0-5", 10000, whole, nil},
		{"14.2: no such field", "", 10000, whole, nil},

		{"14.2: as many as are taken", many(maxRanges), 10000, part, []Span{{0, 1}}},
		{"14.2: more than are taken", many(maxRanges + 1), 10000, whole, nil},
		{"15.3.7.2: overlap", "bytes=0-99,50-149", 10000, part, []Span{{0, 150}}},
		{"15.3.7.2: one within another", "bytes=0-999,50-149", 10000, part, []Span{{0, 1000}}},
		{"15.3.7.2: touch", "bytes=0-99,100-199", 10000, part, []Span{{0, 200}}},
		{"15.3.7.2: gap smaller than a part's header", "bytes=0-99,179-199", 10000, part, []Span{{0, 200}}},
		{"15.3.7.2: gap as large as a part's header", "bytes=0-99,180-199", 10000, part, []Span{{0, 100}, {180, 200}}},
		{"15.3.7.2: in the order asked for", "bytes=5000-5099,0-99,9000-9099", 10000, part, []Span{{5000, 5100}, {0, 100}, {9000, 9100}}},
		{"15.3.7.2: made one where the first stood", "bytes=5000-5099,0-99,5050-5199", 10000, part, []Span{{5000, 5200}, {0, 100}}},
		{"15.3.7.2: made one by a third", "bytes=0-99,1000-1099,50-1050", 10000, part, []Span{{0, 1100}}},
		{"17.15: the same many times", "bytes=0-,0-,0-,0-,0-", 10000, part, []Span{{0, 10000}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := request()
			if tt.ranges != "" {
				r.Header["Range"] = []string{tt.ranges}
			}
			status, spans := SelectRanges(r, stored(), tt.size)
			same(t, "status", status, tt.status)
			if !slices.Equal(spans, tt.spans) {
				t.Errorf("spans = %v, want %v", spans, tt.spans)
			}
		})
	}
}

// TestRangeApplies is about when Range counts at all.
func TestRangeApplies(t *testing.T) {
	old := []string{`ETag: "a"`, "Last-Modified: DATE-3600", "Date: DATE+0"}
	for _, tt := range []struct {
		name   string
		method string // GET if empty
		status int    // 200 if zero
		stored []string
		sent   []string // beside Range
		want   int
	}{
		{"14.2: GET", "", 0, old, nil, 206},
		{"14.2: HEAD", "HEAD", 0, old, nil, 200},
		{"14.2: on a 404", "", 404, old, nil, 404},
		{"14.2: on a 203", "", 203, old, nil, 203},
		{"14.2: two fields", "", 0, old, []string{"Range: bytes=5-6"}, 200},
		{"13.1.5: same tag", "", 0, old, []string{`If-Range: "a"`}, 206},
		{"13.1.5: another tag", "", 0, old, []string{`If-Range: "b"`}, 200},
		{"13.1.5: the tag as a weak one", "", 0, old, []string{`If-Range: W/"a"`}, 200},
		{"13.1.5: weak tag", "", 0, []string{`ETag: W/"a"`}, []string{`If-Range: W/"a"`}, 200},
		{"13.1.5: a list of tags", "", 0, old, []string{`If-Range: "a", "b"`}, 200},
		{"13.1.5: any", "", 0, old, []string{"If-Range: *"}, 200},
		{"13.1.5: tag without quotes", "", 0, old, []string{"If-Range: a"}, 200},
		{"13.1.5: two fields", "", 0, old, []string{`If-Range: "a"`, `If-Range: "a"`}, 200},
		{"13.1.5: same date", "", 0, old, []string{"If-Range: DATE-3600"}, 206},
		{"13.1.5: later date", "", 0, old, []string{"If-Range: DATE-3599"}, 200},
		{"13.1.5: earlier date", "", 0, old, []string{"If-Range: DATE-3601"}, 200},
		{"13.1.5: weak date", "", 0, []string{"Last-Modified: DATE-1", "Date: DATE+0"}, []string{"If-Range: DATE-1"}, 200},
		{"13.1.5: date where none is stored", "", 0, []string{`ETag: "a"`}, []string{"If-Range: DATE-3600"}, 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.status == 0 {
				tt.status = 200
			}
			r := request(append([]string{"Range: bytes=0-9"}, tt.sent...)...)
			if tt.method != "" {
				r.Method = tt.method
			}
			status, _ := SelectRanges(r, NewStored(Keep(exchange(tt.status, tt.stored...))), 100)
			same(t, "status", status, tt.want)
		})
	}
	t.Run("13.1.5: If-Range without Range", func(t *testing.T) {
		status, _ := SelectRanges(request(`If-Range: "b"`), stored(old...), 100)
		same(t, "status", status, 200)
	})
}

func TestContentRange(t *testing.T) {
	for _, tt := range []struct {
		name, value string
		want        ContentRange
		ok          bool
	}{
		{"14.4: with size", "bytes 42-1233/1234", ContentRange{Span: Span{42, 1234}, Size: 1234}, true},
		{"14.4: without size", "bytes 42-1233/*", ContentRange{Span: Span{42, 1234}, Size: -1}, true},
		{"14.4: unsatisfied", "bytes */1234", ContentRange{Size: 1234, Unsatisfied: true}, true},
		{"14.4: unsatisfied, empty", "bytes */0", ContentRange{Unsatisfied: true}, true},
		{"14.4: unit in any case", "BYTES 0-0/1", ContentRange{Span: Span{0, 1}, Size: 1}, true},
		{"14.4: unsatisfied without size", "bytes */*", ContentRange{}, false},
		{"14.4: other unit", "lines 0-9/10", ContentRange{}, false},
		{"14.4: last before first", "bytes 5-4/10", ContentRange{}, false},
		{"14.4: last behind the end", "bytes 0-10/10", ContentRange{}, false},
		{"14.4: something of nothing", "bytes 0-0/0", ContentRange{}, false},
		{"14.4: beyond 2^63", "bytes 0-9223372036854775807/*", ContentRange{}, false},
		{"14.4: size beyond 2^63", "bytes 0-9/99999999999999999999", ContentRange{}, false},
		{"14.4: as Range writes it", "bytes=0-9/10", ContentRange{}, false},
		{"14.4: no size", "bytes 0-9", ContentRange{}, false},
		{"14.4: no last", "bytes 0-/10", ContentRange{}, false},
		{"14.4: no first", "bytes -9/10", ContentRange{}, false},
		{"14.4: no dash", "bytes 9/10", ContentRange{}, false},
		{"14.4: two spaces", "bytes  0-9/10", ContentRange{}, false},
		{"14.4: negative size", "bytes 0-9/-10", ContentRange{}, false},
		{"14.4: nothing", "", ContentRange{}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := ParseContentRange(http.Header{"Content-Range": {tt.value}})
			same(t, "ok", ok, tt.ok)
			same(t, "range", got, tt.want)
			if ok && !strings.EqualFold(got.String(), tt.value) {
				t.Errorf("prints as %q, want %q", got, tt.value)
			}
		})
	}
	t.Run("14.4: two fields", func(t *testing.T) {
		_, ok := ParseContentRange(fields("Content-Range: bytes 0-9/10", "Content-Range: bytes 0-9/10"))
		same(t, "ok", ok, false)
	})
	t.Run("14.4: no field", func(t *testing.T) {
		_, ok := ParseContentRange(nil)
		same(t, "ok", ok, false)
	})
}

// TestResolveCoversWhatWasAsked compares Resolve with marking every byte.
func TestResolveCoversWhatWasAsked(t *testing.T) {
	spec := rapid.Custom(func(t *rapid.T) RangeSpec {
		if rapid.Bool().Draw(t, "suffix") {
			return RangeSpec{First: -1, Suffix: rapid.Int64Range(0, 700).Draw(t, "length")}
		}
		first := rapid.Int64Range(0, 700).Draw(t, "first")
		last := rapid.OneOf(rapid.Just[int64](tooFar), rapid.Int64Range(first, first+200)).Draw(t, "last")
		return RangeSpec{First: first, Last: last}
	})
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.Int64Range(0, 600).Draw(t, "size")
		specs := rapid.SliceOfN(spec, 1, 8).Draw(t, "ranges")
		asked := make([]bool, size)
		for _, r := range specs {
			first, last := r.First, min(r.Last, size-1)
			if first < 0 {
				first, last = max(0, size-r.Suffix), size-1
			}
			for i := first; i <= last; i++ {
				asked[i] = true
			}
		}
		spans := Resolve(specs, size)
		sent := make([]int, size)
		for _, s := range spans {
			if s.Start < 0 || s.End > size || s.Length() <= 0 {
				t.Fatalf("span %v of %d bytes", s, size)
			}
			if !asked[s.Start] || !asked[s.End-1] {
				t.Fatalf("span %v begins or ends with what was not asked for", s)
			}
			for i := s.Start; i < s.End; i++ {
				sent[i]++
			}
		}
		gap := 0
		for i := range sent {
			switch {
			case sent[i] > 1:
				t.Fatalf("byte %d is in %d spans of %v", i, sent[i], spans)
			case asked[i] && sent[i] == 0:
				t.Fatalf("byte %d is missing in %v", i, spans)
			case asked[i] || sent[i] == 0:
				gap = 0
			default:
				gap++
			}
			if gap >= partOverhead {
				t.Fatalf("%d bytes up to %d are sent for nothing in %v", gap, i, spans)
			}
		}
	})
}

// FuzzRange holds for whatever a client sends: spans lie within the size and apart, and asking for one
// of them gives that one.
func FuzzRange(f *testing.F) {
	for _, seed := range []string{
		"bytes=0-0,-1", "bytes=9-", "bytes=99999999999999999999-", "bytes=,", "bytes=5-4", "lines=1-2", "bytes=-9223372036854775807, 0-9223372036854775807",
	} {
		f.Add(seed, int64(1000))
		f.Add(seed, int64(tooFar))
	}
	f.Fuzz(func(t *testing.T, value string, size int64) {
		size = max(size, 0)
		specs, ok := ParseRange(http.Header{"Range": {value}})
		if ok == (len(specs) == 0) || len(specs) > maxRanges {
			t.Fatalf("%q: %d ranges, %v", value, len(specs), ok)
		}
		spans := Resolve(specs, size)
		for i, s := range spans {
			if s.Start < 0 || s.Length() <= 0 || s.End > size {
				t.Fatalf("%q of %d: %v", value, size, s)
			}
			for _, other := range spans[:i] {
				if s.Start < other.End && other.Start < s.End {
					t.Fatalf("%q of %d: %v and %v overlap", value, size, s, other)
				}
			}
			again, ok := ParseRange(http.Header{"Range": {s.Range()}})
			if !ok || !slices.Equal(Resolve(again, size), []Span{s}) {
				t.Fatalf("%q of %d: %v asked for as %q is %v", value, size, s, s.Range(), again)
			}
		}
	})
}

// FuzzContentRange holds that what is read is possible, and prints as what reads the same.
func FuzzContentRange(f *testing.F) {
	for _, seed := range []string{"bytes 0-9/10", "bytes */10", "bytes 0-9/*", "bytes 0-9223372036854775806/9223372036854775807"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		c, ok := ParseContentRange(http.Header{"Content-Range": {value}})
		if !ok {
			return
		}
		if !c.Unsatisfied && (c.Start < 0 || c.Length() <= 0 || c.Size >= 0 && c.End > c.Size) {
			t.Fatalf("%q read as %+v", value, c)
		}
		if again, ok := ParseContentRange(http.Header{"Content-Range": {c.String()}}); !ok || again != c {
			t.Errorf("%q printed as %q, read as %+v", value, c, again)
		}
	})
}
