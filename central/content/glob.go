package content

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/bmatcuk/doublestar/v4"
)

// ErrGlob says that a pattern cannot be matched.
var ErrGlob = errors.New("not a glob")

// Bounds of a glob. Braces stand for every combination of what they hold, so they are written out and counted: to
// match them as they are takes time that doubles with each.
const (
	maxGlob  = maxPath
	maxPlain = 32
)

// Glob selects names, CATEGORY/PATH: * and ? stay within an element, ** goes across, [a-z] and {a,b} choose, and a
// backslash takes the next character as it is.
type Glob struct {
	plain  []string // without braces; a name is selected by any
	prefix string   // of all that it selects
}

// ParseGlob reads a glob.
func ParseGlob(pattern string) (Glob, error) {
	switch {
	case pattern == "" || len(pattern) > maxGlob:
		return Glob{}, fmt.Errorf("%w: want 1 to %d bytes", ErrGlob, maxGlob)
	case !utf8.ValidString(pattern) || !doublestar.ValidatePattern(pattern):
		return Glob{}, fmt.Errorf("%w: %.80q: a bracket, a brace or a backslash is without its other half", ErrGlob, pattern)
	}
	plain, ok := expand(nil, "", pattern)
	if !ok {
		return Glob{}, fmt.Errorf("%w: %.80q: its braces stand for more than %d patterns", ErrGlob, pattern, maxPlain)
	}
	g := Glob{plain: plain, prefix: literal(plain[0])}
	for _, p := range plain[1:] {
		g.prefix = common(g.prefix, literal(p))
	}
	return g, nil
}

// Match says whether the glob selects a name.
func (g Glob) Match(name string) bool {
	for _, p := range g.plain {
		if doublestar.MatchUnvalidated(p, name) {
			return true
		}
	}
	return false
}

// expand appends to list what a valid pattern, begun by done, stands for without braces. It gives up when the list
// grows too long.
func expand(list []string, done, rest string) ([]string, bool) {
	from, to, commas := braces(rest)
	if from < 0 {
		return append(list, done+rest), len(list) < maxPlain
	}
	ok := true
	start := from + 1
	for _, end := range append(commas, to) {
		// What was chosen may hold braces of its own.
		if list, ok = expand(list, done, rest[:from]+rest[start:end]+rest[to+1:]); !ok {
			return list, false
		}
		start = end + 1
	}
	return list, true
}

// braces returns where the first pair of braces is, and the commas that belong to it; from is -1 if there is none.
func braces(s string) (from, to int, commas []int) {
	from = -1
	depth, class := 0, false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\':
			i++
		case class:
			class = c != ']'
		case c == '[':
			class = true
		case c == '{':
			if depth++; depth == 1 {
				from = i
			}
		case c == ',' && depth == 1:
			commas = append(commas, i)
		case c == '}' && depth > 0:
			if depth--; depth == 0 {
				return from, i, commas
			}
		}
	}
	return -1, 0, nil
}

// literal returns what a pattern begins with as it is.
func literal(pattern string) string {
	before := pattern
	if i := strings.IndexAny(pattern, `*?[\`); i >= 0 {
		before = pattern[:i]
	}
	if len(before) < len(pattern) {
		// a/** selects a as well: the slash is not part of what all have.
		before = strings.TrimSuffix(before, "/")
	}
	return before
}

// common returns what a and b both begin with, whole characters only.
func common(a, b string) string {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	for n > 0 && n < len(a) && !utf8.RuneStart(a[n]) {
		n--
	}
	return a[:n]
}
