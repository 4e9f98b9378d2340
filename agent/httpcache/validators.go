package httpcache

import (
	"net/http"
	"strings"
	"time"
)

// strongAfter is how much older than its response a Last-Modified has to be to be a strong validator
// (RFC 9110 section 8.8.2.2): a second at least, more where two clocks may have made the two dates.
const strongAfter = time.Minute

// ETag is an entity tag as it stands in a field: "xyzzy" with its quotes, or W/"xyzzy". Empty is none,
// and equals none.
type ETag string

// ParseETag reads one entity tag (RFC 9110 section 8.8.3). An origin's tag without quotes is none.
func ParseETag(s string) (ETag, bool) {
	tag, rest, ok := cutETag(s)
	return tag, ok && rest == ""
}

// Weak is whether two different contents may have the tag.
func (e ETag) Weak() bool { return strings.HasPrefix(string(e), "W/") }

// StrongEqual is strong comparison (RFC 9110 section 8.8.3.2).
func (e ETag) StrongEqual(other ETag) bool { return e != "" && e == other && !e.Weak() }

// WeakEqual is weak comparison (RFC 9110 section 8.8.3.2).
func (e ETag) WeakEqual(other ETag) bool {
	return e != "" && strings.TrimPrefix(string(e), "W/") == strings.TrimPrefix(string(other), "W/")
}

// cutETag reads the tag that s begins with. A backslash in it is a character as any other.
func cutETag(s string) (tag ETag, rest string, ok bool) {
	opaque, weak := strings.CutPrefix(s, "W/")
	if !strings.HasPrefix(opaque, `"`) {
		return "", s, false
	}
	for i := 1; i < len(opaque); i++ {
		switch c := opaque[i]; {
		case c == '"':
			if i++; weak {
				i += len("W/")
			}
			return ETag(s[:i]), s[i:], true
		case c <= ' ' || c == 0x7f:
			return "", s, false
		}
	}
	return "", s, false
}

// listed is whether a list of entity tags has e, by strong or by weak comparison. What is no tag is
// skipped up to the next comma.
func (e ETag) listed(lines []string, strong bool) bool {
	for _, line := range lines {
		for line != "" {
			line = strings.TrimLeft(line, " \t,")
			tag, rest, ok := cutETag(line)
			if ok && (strong && e.StrongEqual(tag) || !strong && e.WeakEqual(tag)) {
				return true
			}
			if !ok {
				_, rest, _ = strings.Cut(line, ",")
			}
			line = rest
		}
	}
	return false
}

// Validators are what a response says of its version (RFC 9110 section 8.8).
type Validators struct {
	ETag         ETag
	LastModified time.Time // in whole seconds; zero is none
	dateStrong   bool      // by LastModified alone two versions can be told apart
}

func parseValidators(h http.Header, date time.Time) Validators {
	var v Validators
	if value, ok := single(h, "Etag"); ok {
		if tag, ok := ParseETag(value); ok {
			v.ETag = tag
		}
	}
	if value, ok := single(h, "Last-Modified"); ok {
		if modified, ok := parseDate(value, date); ok {
			v.LastModified = modified
			v.dateStrong = date.Sub(modified) >= strongAfter
		}
	}
	return v
}

// None is whether there is nothing to ask the origin by.
func (v Validators) None() bool { return v.ETag == "" && v.LastModified.IsZero() }

// Strong is whether equal validators mean equal bytes.
func (v Validators) Strong() bool {
	if v.ETag != "" {
		return !v.ETag.Weak()
	}
	return v.dateStrong
}

// sameBytes is whether v and other are the same strong validator. Dates count only where neither
// has an entity tag: it would know better.
func (v Validators) sameBytes(other Validators) bool {
	if !v.Strong() || !other.Strong() {
		return false
	}
	if v.ETag != "" || other.ETag != "" {
		return v.ETag.StrongEqual(other.ETag)
	}
	return v.LastModified.Equal(other.LastModified)
}
