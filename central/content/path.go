package content

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"unicode"

	"github.com/pureboot/pureboot/central/wire"
)

// ErrPath says that a name cannot be one of content.
var ErrPath = errors.New("not a content path")

// Limits of a name, in bytes. The agents keep content in files under the same names.
const (
	maxPath      = 512
	maxComponent = 255
)

// CheckPath says whether a category and a path can name content: a known category, and a clean relative path in
// UTF-8 with slashes, without backslashes and control characters, that is short enough for any filesystem.
func CheckPath(category, path string) error {
	switch {
	case !slices.Contains(wire.Categories, category):
		return fmt.Errorf("%w: category %.40q: want one of %s", ErrPath, category, strings.Join(wire.Categories, ", "))
	case len(path) > maxPath:
		return fmt.Errorf("%w: longer than %d bytes", ErrPath, maxPath)
	case !fs.ValidPath(path) || path == ".":
		return fmt.Errorf("%w: %q: want a relative path without empty, . and .. elements", ErrPath, path)
	case strings.Contains(path, `\`) || strings.ContainsFunc(path, unicode.IsControl):
		return fmt.Errorf("%w: %q: holds a backslash or a control character", ErrPath, path)
	}
	for component := range strings.SplitSeq(path, "/") {
		if len(component) > maxComponent {
			return fmt.Errorf("%w: %q: an element is longer than %d bytes", ErrPath, path, maxComponent)
		}
	}
	return nil
}
