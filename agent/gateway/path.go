package gateway

import (
	"errors"
	"net/url"
	"strings"
)

var (
	errPath     = errors.New("the path holds what no path of this server has: .. or an encoded slash, backslash or control character")
	errLongPath = errors.New("the path is longer than 2048 bytes")
)

// cleanPath returns the path of a request with its doubled slashes made single, as firmware needs that joins a prefix
// and a name with one slash too many. What tries to leave its place is refused rather than resolved.
func cleanPath(u *url.URL) (string, error) {
	raw := strings.ToLower(u.EscapedPath())
	if strings.Contains(raw, "%2f") || strings.Contains(raw, "%5c") {
		return "", errPath
	}
	switch {
	case len(u.Path) > 2048:
		return "", errLongPath
	case !strings.HasPrefix(u.Path, "/"):
		return "", errPath
	}
	var clean strings.Builder
	for part := range strings.SplitSeq(u.Path, "/") {
		switch {
		case part == "":
			continue
		case part == "." || part == ".." || strings.ContainsFunc(part, func(c rune) bool { return c < ' ' || c == 0x7f || c == '\\' }):
			return "", errPath
		}
		clean.WriteByte('/')
		clean.WriteString(part)
	}
	if clean.Len() == 0 {
		return "/", nil
	}
	return clean.String(), nil
}
