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
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/durable"
)

// ErrToken says that a text is not a token of the node, or no longer.
var ErrToken = errors.New("not a valid token of this node")

// Key makes and checks node tokens: what a machine shows to prove that it was given its script by this site. The
// site alone knows the key, so a token holds while central is away and after a restart.
type Key [32]byte

// A token is the node's id, InstallSeq and an authentication code: HMAC-SHA256, the left half (RFC 2104, section 5).
const (
	macSize   = 16
	tokenSize = 16 + 8 + macSize // bytes
)

const keyFile = "node.key"

// LoadKey reads node.key in the state folder, and makes it the first time. A damaged one is replaced, with an error
// in the log: the tokens made with it are void, but the machines boot.
func LoadKey(state string, log *slog.Logger) (Key, error) {
	path := filepath.Join(state, keyFile)
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return newKey(state)
	case err != nil:
		return Key{}, fmt.Errorf("read the key of the node tokens: %w", err)
	}
	raw, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(raw) != len(Key{}) {
		log.Error("the key of the node tokens was damaged and is made anew: installations under way cannot report "+
			"that they are done", "file", path)
		return newKey(state)
	}
	return Key(raw), nil
}

// newKey writes a key that no crash leaves half-written or takes away again: a token made with a lost key could never
// be checked.
func newKey(state string) (Key, error) {
	var key Key
	rand.Read(key[:])
	if err := durable.Replace(filepath.Join(state, keyFile), []byte(hex.EncodeToString(key[:])+"\n"), 0o600); err != nil {
		return Key{}, fmt.Errorf("make the key of the node tokens: %w", err)
	}
	return key, nil
}

// Token returns the node's token for its current installation, or for the one that its next boot is ordered to begin.
func (k *Key) Token(n *wire.Node) (string, error) {
	seq := install(n).TokenSeq()
	return token(n, seq, k.sum(n, seq))
}

// Order returns the token by which the machine says that it carries out next_boot. It opens nothing else.
func (k *Key) Order(n *wire.Node) (string, error) { return token(n, n.InstallSeq, k.order(n)) }

func token(n *wire.Node, seq int64, sum []byte) (string, error) {
	id, err := uuid.Parse(n.ID)
	if err != nil {
		return "", fmt.Errorf("node id %q: %w", n.ID, err)
	}
	text := binary.BigEndian.AppendUint64(id[:], uint64(seq))
	return base64.RawURLEncoding.EncodeToString(append(text, sum...)), nil
}

// CheckOrder returns nil if the token is that of the order which the node's next boot carries out, else ErrToken.
func (k *Key) CheckOrder(n *wire.Node, t string) error {
	if install(n).Order(true) == "" {
		return ErrToken
	}
	if want, err := k.Order(n); err != nil || !hmac.Equal([]byte(t), []byte(want)) {
		return ErrToken
	}
	return nil
}

// Check returns nil if the token was made for this node and its installation still is under way (it ends with
// first_boot, a newer installation or retirement), else ErrToken.
func (k *Key) Check(n *wire.Node, token string) error {
	// The length first: the decoder would skip line breaks.
	if len(token) != base64.RawURLEncoding.EncodedLen(tokenSize) {
		return ErrToken
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(raw) != tokenSize {
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

func (k *Key) order(n *wire.Node) []byte {
	h := hmac.New(sha256.New, k[:])
	fmt.Fprintf(h, "pbo1|%s|%s|%d|%s", n.MACAddress, n.ID, n.InstallSeq, n.NextBoot)
	return h.Sum(nil)[:macSize]
}
