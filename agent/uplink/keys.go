package uplink

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"

	"github.com/pureboot/pureboot/central/wire"
)

// keys are the two secrets that central may know the agent by. They are a value: what a method returns takes its place.
//
// The agent never knows which of the two central knows: an answer may have been lost, either side may have crashed or
// come back from a backup. So it makes a secret only in the place of one that it does not use, keeps both before it
// tells of the new one, and changes to the other whenever the one in use is refused.
type keys struct {
	Secret   string // in use
	Other    string // that of before, or the one for Rotation; empty: none
	Rotation string // that Other was made for; empty: none, or it is in use by now

	refused []string // since one of them last worked
	era     int      // grows when another secret is in use
}

// worked notes that a secret opened central.
func (k keys) worked() keys {
	k.refused = nil
	return k
}

// deny notes that the secret in use was refused, in an era, and changes to the other. It says whether the one in use from
// now on is worth a try at once. What was sent before the last change says nothing of what is in use now.
func (k keys) deny(era int) (after keys, try bool) {
	if era != k.era {
		return k, true
	}
	k.refused = append(slices.Clone(k.refused), k.Secret)
	if k.Other == "" {
		return k, false
	}
	k.Secret, k.Other, k.Rotation, k.era = k.Other, k.Secret, "", k.era+1
	return k, !slices.Contains(k.refused, k.Secret)
}

// answered is told what central asked for in its answer to a heartbeat that the secret opened. fresh makes a secret.
func (k keys) answered(secret string, asked *wire.Rotation, fresh func() string) keys {
	switch {
	case asked == nil || secret != k.Secret:
		// Nothing, or it was the other that worked, and the next heartbeat's answer says the same again.
	case asked.ID != k.Rotation:
		k.Other, k.Rotation = fresh(), asked.ID
	case asked.Accepted == hashOfSecret(k.Other):
		k.Secret, k.Other, k.Rotation, k.era = k.Other, k.Secret, "", k.era+1
	}
	return k
}

// announce is what a heartbeat says of the secret that was made for a rotation, if there is one.
func (k keys) announce() *wire.NextCredential {
	if k.Rotation == "" {
		return nil
	}
	return &wire.NextCredential{Rotation: k.Rotation, SHA256: hashOfSecret(k.Other)}
}

// keyring holds the keys of a running agent, and keeps them in the state folder.
type keyring struct {
	site  string
	state string // folder; empty: they are kept nowhere
	log   *slog.Logger

	mu   sync.Mutex
	id   Identity // as it is kept
	keys keys
}

func newKeyring(id Identity, state string, log *slog.Logger) *keyring {
	return &keyring{site: id.SiteID, state: state, log: log, id: id, keys: keys{Secret: id.Secret, Other: id.OtherSecret, Rotation: id.Rotation}}
}

// secret is the one in use, and the era of that.
func (r *keyring) secret() (secret string, era int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.keys.Secret, r.keys.era
}

func (r *keyring) worked() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keys = r.keys.worked()
}

func (r *keyring) denied(era int) (try bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keys, try = r.keys.deny(era)
	return try
}

func (r *keyring) announce() *wire.NextCredential {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.keys.announce()
}

// answered acts on what central asked for. A secret is kept before anybody hears of it; one that cannot be kept is not
// used, and made again when central asks again. It says whether there is something to announce or to use at once.
func (r *keyring) answered(secret string, asked *wire.Rotation) (news bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	after := r.keys.answered(secret, asked, newSecret)
	news = after.Secret != r.keys.Secret || after.Rotation != r.keys.Rotation
	id := r.id
	id.Secret, id.OtherSecret, id.Rotation = after.Secret, after.Other, after.Rotation
	if id != r.id && r.state != "" {
		if err := writeJSON(filepath.Join(r.state, identityFile), id); err != nil {
			r.log.Error("credential not kept, going on with the old one", "err", err)
			return false
		}
		r.id = id
	}
	switch {
	case after.Rotation != "" && news:
		r.log.Info("made a new credential, as central asked for", "rotation", after.Rotation)
	case news:
		r.log.Info("using the new credential from now on")
	}
	r.keys = after
	return news
}

func newSecret() string {
	var secret [32]byte
	rand.Read(secret[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(secret[:])
}

func hashOfSecret(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}
