package lifecycle

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// ErrMAC says that a text is not the address of a network card.
var ErrMAC = errors.New("not a MAC address")

// ParseMAC reads a 48-bit MAC address as aa:bb:cc:dd:ee:ff, aa-bb-cc-dd-ee-ff, aabb.ccdd.eeff or aabbccddeeff in any
// case, and returns it as lower case with colons. The zero address and group addresses (IEEE 802, first bit set) are
// refused with ErrMAC: no card boots from one, and a record under it would match strangers.
func ParseMAC(s string) (string, error) {
	digits, err := macDigits(s)
	if err != nil {
		return "", err
	}
	var mac [6]byte
	if _, err := hex.Decode(mac[:], []byte(digits)); err != nil {
		return "", fmt.Errorf("%q: %w: a digit is not hexadecimal", clip(s), ErrMAC)
	}
	switch {
	case mac == [6]byte{}:
		return "", fmt.Errorf("%q: %w: all zero", clip(s), ErrMAC)
	case mac[0]&1 != 0:
		return "", fmt.Errorf("%q: %w: a group address", clip(s), ErrMAC)
	}
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]), nil
}

// macDigits returns the twelve digits of s, whichever notation groups them.
func macDigits(s string) (string, error) {
	for _, form := range []struct {
		length int
		group  int
		sep    byte
	}{{12, 12, 0}, {17, 2, ':'}, {17, 2, '-'}, {14, 4, '.'}} {
		if len(s) != form.length {
			continue
		}
		var digits strings.Builder
		for i := range len(s) {
			if (i+1)%(form.group+1) != 0 {
				digits.WriteByte(s[i])
			} else if s[i] != form.sep {
				break
			}
		}
		if digits.Len() == 12 {
			return digits.String(), nil
		}
	}
	return "", fmt.Errorf("%q: %w: want aa:bb:cc:dd:ee:ff, aa-bb-cc-dd-ee-ff, aabb.ccdd.eeff or aabbccddeeff", clip(s), ErrMAC)
}

// clip keeps a stranger's text from filling a message.
func clip(s string) string {
	if len(s) > 40 {
		return s[:40] + "…"
	}
	return s
}
