package content

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/pureboot/pureboot/central/wire"
)

// ErrPath is every *PathError.
var ErrPath = errors.New("not a content path")

// PathError says all that is wrong with a name.
type PathError struct{ Fields []wire.ProblemField }

func (e *PathError) Error() string {
	faults := make([]string, len(e.Fields))
	for i, f := range e.Fields {
		faults[i] = fmt.Sprintf("%.80q: %s", f.Value, f.Message)
	}
	return ErrPath.Error() + ": " + strings.Join(faults, "; ")
}

func (e *PathError) Is(target error) bool { return target == ErrPath }

// Limits of a name, in bytes. The agents keep content in files under the same names.
const (
	maxPath      = 512
	maxComponent = 255
)

// CheckPath says whether a category and a path can name content: a known category, and a clean relative path in
// UTF-8 with slashes, of characters that can be printed but the backslash, that is short enough for any filesystem.
// The error is a *PathError, whose places are below path.
func CheckPath(category, path string) error {
	var e PathError
	fault := func(of, value, format string, args ...any) {
		e.Fields = append(e.Fields, wire.ProblemField{Location: "path." + of, Message: fmt.Sprintf(format, args...), Value: value})
	}
	if !slices.Contains(wire.Categories, category) {
		fault("category", category, "not one of %s", strings.Join(wire.Categories, ", "))
	}
	if len(path) > maxPath {
		fault("path", path, "longer than %d bytes", maxPath)
	}
	if !utf8.ValidString(path) {
		fault("path", path, "not UTF-8")
	} else if !fs.ValidPath(path) || path == "." {
		fault("path", path, "not a relative path without empty, . and .. elements")
	}
	if strings.Contains(path, `\`) {
		fault("path", path, "holds a backslash")
	}
	if strings.ContainsFunc(path, func(r rune) bool { return r != utf8.RuneError && !unicode.IsPrint(r) }) {
		fault("path", path, "holds a control character or another that cannot be printed")
	}
	for component := range strings.SplitSeq(path, "/") {
		if len(component) > maxComponent {
			fault("path", path, "an element is longer than %d bytes", maxComponent)
			break
		}
	}
	if len(e.Fields) > 0 {
		return &e
	}
	return nil
}

// parseName takes CATEGORY/PATH apart and checks it.
func parseName(name string) (category, path string, err error) {
	category, path, _ = strings.Cut(name, "/")
	return category, path, CheckPath(category, path)
}
