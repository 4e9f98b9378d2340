package tftp

import (
	"fmt"
	"io/fs"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxName is the longest name accepted, in bytes: as much as the boot file name of a DHCP option can hold.
const maxName = 255

// CleanName returns the path that a client means by raw, relative and valid in the sense of fs.ValidPath. Firmware
// leads with slashes, doubles them, turns them round, and sends the 0xFF or the NUL behind a DHCP string along; all
// that is mended. Nothing is percent-decoded. What no honest firmware sends is refused with an fs.ErrInvalid: a
// segment "..", control characters, anything not UTF-8, a name that is empty or longer than 255 bytes.
func CleanName(raw string) (string, error) {
	name := raw
	for name != "" && (name[len(name)-1] == 0xFF || name[len(name)-1] == 0) {
		name = name[:len(name)-1]
	}
	if !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
		return "", badName(raw)
	}
	segments := strings.Split(strings.ReplaceAll(name, `\`, "/"), "/")
	kept := segments[:0]
	for _, segment := range segments {
		switch segment {
		case "", ".":
		case "..":
			return "", badName(raw)
		default:
			kept = append(kept, segment)
		}
	}
	name = strings.Join(kept, "/")
	if name == "" || len(name) > maxName {
		return "", badName(raw)
	}
	return name, nil
}

func badName(raw string) error {
	return fmt.Errorf("name %.100q: %w", raw, fs.ErrInvalid)
}
