package admin

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pureboot/pureboot/durable"
)

// PathTokens is where the tokens of the HTTPS listener are made, listed and, by DELETE below it, revoked. It is served on
// the socket alone, so that no token makes another.
const PathTokens = Root + "/tokens"

// The roles of tokens.
const (
	Viewer = "viewer" // reads
	Admin  = "admin"  // does all but make tokens
)

// maxTokens bounds how many there are.
const maxTokens = 100

// Token opens the API over HTTPS.
type Token struct {
	ID        string     `json:"id"`
	Name      string     `json:"name"`
	Role      string     `json:"role"`
	CreatedAt time.Time  `json:"created_at"`
	ExpiresAt *time.Time `json:"expires_at"` // null: never
}

// NewToken asks for a token.
type NewToken struct {
	Name      string     `json:"name"`
	Role      string     `json:"role"`
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
}

// MadeToken is the answer to that. The text is kept nowhere.
type MadeToken struct {
	Token
	Text string `json:"token"` // pbl_<id>_<secret>
}

// opens says whether a token is still good.
func (t Token) opens(now time.Time) bool { return t.ExpiresAt == nil || now.Before(*t.ExpiresAt) }

// kept is a token as it is on disk.
type kept struct {
	Token
	SHA256 string `json:"sha256"` // of the secret
}

// tokens are those of this agent. It is safe for concurrent use.
type tokens struct {
	file string

	mu    sync.Mutex
	items []kept
}

// loadTokens reads the tokens. After an error there are none, and none can be made, lest the others be lost.
func loadTokens(file string) (*tokens, error) {
	t := &tokens{file: file}
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return t, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &t.items)
	}
	if err != nil {
		return &tokens{}, fmt.Errorf("read the tokens in %s: %w", file, err)
	}
	return t, nil
}

// change replaces the tokens, on the disk first.
func (t *tokens) change(edit func(items []kept) ([]kept, error)) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.file == "" {
		return errors.New("the tokens that there are cannot be read; the agent's log says why")
	}
	items, err := edit(slices.Clone(t.items))
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(items, "", "  ")
	if err == nil {
		err = durable.Replace(t.file, append(text, '\n'), 0o600)
	}
	if err == nil {
		t.items = items
	}
	return err
}

var errTooMany = fmt.Errorf("there are %d tokens: revoke one", maxTokens)

// make makes a token. Those that have expired go.
func (t *tokens) make(n NewToken) (MadeToken, error) {
	var id [8]byte
	var secret [32]byte
	rand.Read(id[:]) // never fails
	rand.Read(secret[:])
	now := time.Now().UTC().Truncate(time.Second)
	made := MadeToken{Token: Token{ID: hex.EncodeToString(id[:]), Name: n.Name, Role: n.Role, CreatedAt: now, ExpiresAt: n.ExpiresAt}}
	text := base64.RawURLEncoding.EncodeToString(secret[:])
	made.Text = "pbl_" + made.ID + "_" + text
	return made, t.change(func(items []kept) ([]kept, error) {
		items = slices.DeleteFunc(items, func(k kept) bool { return !k.opens(now) })
		if len(items) >= maxTokens {
			return nil, errTooMany
		}
		return append(items, kept{made.Token, digest(text)}), nil
	})
}

func digest(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// list returns the tokens, the oldest first.
func (t *tokens) list() []Token {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := []Token{}
	for _, k := range t.items {
		all = append(all, k.Token)
	}
	return all
}

// revoke ends a token and says whether there was one.
func (t *tokens) revoke(id string) (found bool, err error) {
	return found, t.change(func(items []kept) ([]kept, error) {
		n := len(items)
		items = slices.DeleteFunc(items, func(k kept) bool { return k.ID == id })
		found = len(items) < n
		return items, nil
	})
}

// find returns the token with a text, if it opens anything.
func (t *tokens) find(text string) (Token, bool) {
	rest, ok := strings.CutPrefix(text, "pbl_")
	id, secret, cut := strings.Cut(rest, "_")
	if !ok || !cut || len(text) > 128 {
		return Token{}, false
	}
	hash := digest(secret)
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, k := range t.items {
		if k.ID == id {
			return k.Token, subtle.ConstantTimeCompare([]byte(hash), []byte(k.SHA256)) == 1 && k.opens(time.Now())
		}
	}
	return Token{}, false
}

// Guarded is the API over HTTPS: each request needs a token, and one that changes anything an admin's.
func (a *API) Guarded() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scheme, text, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		token, ok := a.tokens.find(text)
		read := r.Method == http.MethodGet || r.Method == http.MethodHead
		switch {
		case !strings.EqualFold(scheme, "Bearer") || !ok:
			w.Header().Set("WWW-Authenticate", `Bearer realm="PureBoot agent"`)
			problem(w, http.StatusUnauthorized, "A token is needed, as pureboot-agent token create makes it.")
		case r.URL.Path == PathTokens || strings.HasPrefix(r.URL.Path, PathTokens+"/"):
			problem(w, http.StatusForbidden, "Tokens are made on the machine itself, by pureboot-agent token.")
		case !read && token.Role != Admin:
			problem(w, http.StatusForbidden, "This needs a token of the role admin.")
		default:
			if !read {
				a.Log.Info("operator's request", "token", token.ID, "name", token.Name, "method", r.Method, "path", r.URL.Path, "from", r.RemoteAddr)
			}
			a.ServeHTTP(w, r)
		}
	})
}

func (a *API) listTokens(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, struct {
		Items []Token `json:"items"`
	}{a.tokens.list()})
}

func (a *API) postToken(w http.ResponseWriter, r *http.Request) {
	var n NewToken
	if !decode(w, r, &n) {
		return
	}
	var bad invalid
	if n.Name == "" || len(n.Name) > 100 || strings.ContainsFunc(n.Name, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		bad.add("body.name", "want 1 to 100 bytes of text")
	}
	if n.Role != Viewer && n.Role != Admin {
		bad.add("body.role", "want viewer or admin")
	}
	if n.ExpiresAt != nil && !n.ExpiresAt.After(time.Now()) {
		bad.add("body.expires_at", "want a time to come")
	}
	if bad.refuse(w) {
		return
	}
	made, err := a.tokens.make(n)
	switch {
	case errors.Is(err, errTooMany):
		problem(w, http.StatusConflict, err.Error())
	case err != nil:
		a.fail(w, r, err)
	default:
		a.Log.Info("token made", "token", made.ID, "name", made.Name, "role", made.Role)
		answer(w, http.StatusCreated, made)
	}
}

func (a *API) deleteToken(w http.ResponseWriter, r *http.Request) {
	found, err := a.tokens.revoke(r.PathValue("id"))
	switch {
	case err != nil:
		a.fail(w, r, err)
	case !found:
		problem(w, http.StatusNotFound, "There is no such token.")
	default:
		a.Log.Info("token revoked", "token", r.PathValue("id"))
		answer(w, http.StatusOK, struct{}{})
	}
}

func (a *API) loadTokens() *tokens {
	t, err := loadTokens(filepath.Join(a.Dir, "tokens.json"))
	if err != nil {
		a.Log.Error("no token opens the API over HTTPS", "err", err)
	}
	return t
}
