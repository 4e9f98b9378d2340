package uplink

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"regexp"
	"strings"
)

// JoinToken is a parsed join token: pbj1.<SHA-256 of the CA's SubjectPublicKeyInfo>.<id>.<secret>.
type JoinToken struct {
	Pin  [sha256.Size]byte
	ID   string
	text string
}

// The secret has at least 128 bits.
var joinToken = regexp.MustCompile(`^pbj1\.([0-9a-fA-F]{64})\.([0-9A-Za-z_-]{1,64})\.[0-9A-Za-z_-]{22,256}$`)

var errJoinToken = errors.New("the join token is not whole: want pbj1.<pin>.<id>.<secret> as central printed it")

// ParseJoinToken reads the text that central printed. Errors do not repeat it.
func ParseJoinToken(text string) (JoinToken, error) {
	text = strings.TrimSpace(text)
	parts := joinToken.FindStringSubmatch(text)
	if parts == nil {
		return JoinToken{}, errJoinToken
	}
	t := JoinToken{ID: parts[2], text: text}
	_, err := hex.Decode(t.Pin[:], []byte(parts[1]))
	return t, err
}

// String names the token without what is secret of it.
func (t JoinToken) String() string { return "join token " + t.ID }
