package content

import (
	"fmt"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/pureboot/pureboot/agent/cache"
)

// Bounds of a glob. What stands in braces is tried in every combination.
const (
	maxGlob         = 512 // bytes
	maxAlternatives = 1024
)

// Glob selects names, as CATEGORY/PATH: * and ? stay within an element, ** crosses slashes, [a-z] and {a,b} choose, and a
// backslash takes the next character as it is.
type Glob struct{ pattern, literal string } // literal is what all that it selects begins with

// ParseGlob reads a glob, and refuses one that would take long to match.
func ParseGlob(pattern string) (Glob, error) {
	switch {
	case pattern == "" || len(pattern) > maxGlob:
		return Glob{}, fmt.Errorf("pattern %.80q: want 1 to %d bytes", pattern, maxGlob)
	case !doublestar.ValidatePattern(pattern):
		return Glob{}, fmt.Errorf("pattern %.80q: a bracket, a brace or a backslash is without its other half", pattern)
	case alternatives(pattern) > maxAlternatives:
		return Glob{}, fmt.Errorf("pattern %.80q: its braces stand for too many patterns", pattern)
	}
	literal := pattern
	if i := strings.IndexAny(pattern, `*?[{\`); i >= 0 {
		literal = strings.TrimSuffix(pattern[:i], "/") // a/** selects a too
	}
	return Glob{pattern, literal}, nil
}

// alternatives bounds from above how many patterns without braces a valid one stands for.
func alternatives(pattern string) int {
	product, open := 1, []int(nil)
	for i := 0; i < len(pattern); i++ {
		switch pattern[i] {
		case '\\':
			i++
		case '{':
			open = append(open, 1)
		case ',':
			if len(open) > 0 {
				open[len(open)-1]++
			}
		case '}':
			if n := len(open); n > 0 {
				product, open = min(product*open[n-1], maxAlternatives+1), open[:n-1]
			}
		}
	}
	return product
}

// Match says whether the glob selects a name.
func (g Glob) Match(name string) bool {
	return strings.HasPrefix(name, g.literal) && doublestar.MatchUnvalidated(g.pattern, name)
}

func matches(globs []Glob, key cache.Key) bool {
	return slices.ContainsFunc(globs, func(g Glob) bool { return g.Match(string(key)) })
}
