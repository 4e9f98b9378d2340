package httpcache

import (
	"iter"
	"net/http"
	"strings"
	"time"
)

// maxDelta is what any longer time is taken for: 2^31 seconds (RFC 9111 section 1.2.2). A few of them
// can be added up without leaving the range of time.Duration.
const maxDelta = (1 << 31) * time.Second

// parseDelta reads delta-seconds (RFC 9111 section 1.2.2): digits only, of any number.
func parseDelta(s string) (time.Duration, bool) {
	if s == "" {
		return 0, false
	}
	var n int64
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		if n < 1<<31 {
			n = n*10 + int64(s[i]-'0')
		}
	}
	return time.Duration(min(n, 1<<31)) * time.Second, true
}

// clampDelta brings d between 0 and maxDelta.
func clampDelta(d time.Duration) time.Duration { return min(max(d, 0), maxDelta) }

// wholeSeconds rounds down, also below zero: half a second after its time a response is a second stale.
func wholeSeconds(d time.Duration) int64 {
	s := int64(d / time.Second)
	if d%time.Second < 0 {
		s--
	}
	return s
}

// members yields the members of a list-based field (RFC 9110 section 5.6.1), all lines of it in
// order, without the empty ones. A comma in a quoted string does not separate; a quote that is never
// closed is no quote, so that it cannot hide the rest of its line.
func members(lines []string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, line := range lines {
			start, quotes := 0, true
			for i := 0; i <= len(line); i++ {
				switch {
				case i == len(line) || line[i] == ',':
					if m := trim(line[start:i]); m != "" && !yield(m) {
						return
					}
					start = i + 1
				case line[i] == '"' && quotes:
					end := closingQuote(line[i+1:])
					quotes = end >= 0 // where one is not closed, none after it is
					i += end + 1
				}
			}
		}
	}
}

// closingQuote finds the end of a quoted string's text, -1 if there is none.
func closingQuote(s string) int {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			return i
		case '\\':
			i++
		}
	}
	return -1
}

// trim removes optional whitespace (RFC 9110 section 5.6.3).
func trim(s string) string { return strings.Trim(s, " \t") }

// unquote reads what is a token or a quoted string as a whole (RFC 9110 sections 5.6.2 and 5.6.4).
func unquote(s string) (string, bool) {
	if isToken(s) {
		return s, true
	}
	if len(s) < 2 || s[0] != '"' || closingQuote(s[1:]) != len(s)-2 {
		return "", false
	}
	s = s[1 : len(s)-1]
	if !strings.Contains(s, `\`) {
		return s, true
	}
	text := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' {
			i++ // there is one more byte, or the closing quote would have been escaped
		}
		text = append(text, s[i])
	}
	return string(text), true
}

func isToken(s string) bool { return s != "" && tokenLen(s) == len(s) }

// tokenLen is the length of the token that s begins with (RFC 9110 section 5.6.2).
func tokenLen(s string) int {
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9':
		case strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0:
		default:
			return i
		}
	}
	return len(s)
}

// parseDate reads the three forms of an HTTP-date (RFC 9110 section 5.6.7). The two digits of an
// rfc850-date's year are read in the century of now, or in the one before if that would be more than
// 50 years ahead.
func parseDate(s string, now time.Time) (time.Time, bool) {
	if t, err := time.Parse(http.TimeFormat, s); err == nil {
		return t, true
	}
	if t, err := time.Parse("Monday, 02-Jan-06 15:04:05 GMT", s); err == nil {
		now = now.UTC()
		t = t.AddDate(now.Year()/100*100+t.Year()%100-t.Year(), 0, 0)
		if t.After(now.AddDate(50, 0, 0)) {
			t = t.AddDate(-100, 0, 0)
		}
		return t, true
	}
	t, err := time.Parse(time.ANSIC, s)
	return t, err == nil
}

// formatDate writes an IMF-fixdate.
func formatDate(t time.Time) string { return t.UTC().Format(http.TimeFormat) }

// single returns the value of a field that is no list if it was sent exactly once.
func single(h http.Header, name string) (string, bool) {
	if lines := h[name]; len(lines) == 1 {
		return trim(lines[0]), true
	}
	return "", false
}
