package node

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/wire"
)

// ErrToken says that a text is not a token of the node, or no longer.
var ErrToken = errors.New("not a valid token of this node")

// Key makes and checks node tokens: what a machine shows to prove that it was given its script by this site. The
// site alone knows the key, so a token holds while central is away and after a restart.
type Key [32]byte

// macSize is the length in bytes of a token's authentication code: HMAC-SHA256, the left half (RFC 2104, section 5).
const macSize = 16

// LoadKey reads state/node.key, and makes it the first time.
func LoadKey(state string) (Key, error) {
	var key Key
	path := filepath.Join(state, "node.key")
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return newKey(state, path)
	}
	if err != nil {
		return key, fmt.Errorf("read the key of the node tokens: %w", err)
	}
	raw, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(raw) != len(key) {
		return key, fmt.Errorf("the key of the node tokens in %s is damaged: want %d hexadecimal digits", path, 2*len(key))
	}
	return Key(raw), nil
}

// newKey writes a key that no crash leaves half-written: a token made with a lost key could never be checked.
func newKey(state, path string) (Key, error) {
	var key Key
	rand.Read(key[:])
	tmp, err := os.CreateTemp(state, ".tmp-*") // 0600
	if err != nil {
		return key, fmt.Errorf("make the key of the node tokens: %w", err)
	}
	defer os.Remove(tmp.Name()) // fails once renamed
	_, err = tmp.WriteString(hex.EncodeToString(key[:]) + "\n")
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return key, fmt.Errorf("make the key of the node tokens: %w", err)
	}
	return key, nil
}

// Token returns the node's token for its current installation.
func (k *Key) Token(n *wire.Node) (string, error) {
	id, err := uuid.Parse(n.ID)
	if err != nil {
		return "", fmt.Errorf("node id %q: %w", n.ID, err)
	}
	text := binary.BigEndian.AppendUint64(id[:], uint64(n.InstallSeq))
	return base64.RawURLEncoding.EncodeToString(append(text, k.sum(n, n.InstallSeq)...)), nil
}

// Check returns nil if the token was made for this node and its installation still is under way (it ends with
// first_boot, a newer installation or retirement), else ErrToken.
func (k *Key) Check(n *wire.Node, token string) error {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(raw) != 16+8+macSize {
		return ErrToken
	}
	id, err := uuid.Parse(n.ID)
	if err != nil || id != uuid.UUID(raw[:16]) {
		return ErrToken
	}
	seq := int64(binary.BigEndian.Uint64(raw[16:24]))
	if !hmac.Equal(raw[24:], k.sum(n, seq)) || !install(n).TokenValid(seq) {
		return ErrToken
	}
	return nil
}

func (k *Key) sum(n *wire.Node, seq int64) []byte {
	h := hmac.New(sha256.New, k[:])
	fmt.Fprintf(h, "pbn1|%s|%s|%d", n.MACAddress, n.ID, seq)
	return h.Sum(nil)[:macSize]
}
