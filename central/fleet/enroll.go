package fleet

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
)

// joinTTL is how long a join token waits to be used.
const joinTTL = 24 * time.Hour

// JoinToken makes a join token for a site, in place of any that is outstanding. Its text is kept nowhere.
func (f *Fleet) JoinToken(ctx context.Context, by store.Actor, site uuid.UUID) (wire.JoinToken, error) {
	id, secret := make([]byte, 8), make([]byte, 32)
	rand.Read(id) // never fails
	rand.Read(secret)
	idText, secretText := hex.EncodeToString(id), base64.RawURLEncoding.EncodeToString(secret)
	expires := time.Now().UTC().Add(joinTTL).Truncate(time.Second)
	if err := f.Store.SetJoinToken(ctx, by, site, idText, hash(secretText), expires); err != nil {
		return wire.JoinToken{}, err
	}
	text := "pbj1." + hex.EncodeToString(f.Pin[:]) + "." + idText + "." + secretText
	return wire.JoinToken{Token: text, ExpiresAt: expires}, nil
}

// Register enrols an agent with the join token of its site. A token that opens nothing is store.ErrJoinToken,
// ErrJoinTokenUsed or ErrJoinTokenExpired, leaves an audit entry and a line in the log, and changes nothing else.
// Whoever tries too often gets a *Limited.
func (f *Fleet) Register(ctx context.Context, by store.Actor, r wire.Register) (wire.Registered, error) {
	if wait := f.joins.Try(by.From, time.Now()); wait > 0 {
		return wire.Registered{}, &Limited{RetryAfter: wait}
	}
	if raw, err := hex.DecodeString(r.CredentialSHA256); err != nil || len(raw) != sha256.Size {
		return wire.Registered{}, &store.Invalid{Fields: []wire.ProblemField{{
			Location: "body.credential_sha256", Message: "want the SHA-256 of the credential's secret in hexadecimal",
		}}}
	}
	id, secret, err := f.parseJoinToken(r.JoinToken)
	var answer wire.Registered
	if err == nil {
		answer, err = f.Store.Enrol(ctx, by, store.Enrolment{
			TokenID: id, SecretHash: hash(secret), CredentialHash: strings.ToLower(r.CredentialSHA256),
			Hostname: r.Hostname, Hello: r.Hello,
		})
	}
	if err == nil && r.CSR != "" && f.CA != nil {
		site, _ := uuid.Parse(answer.SiteID) // our own
		by := store.Actor{Name: "site:" + answer.SiteName, Site: site, From: by.From, RequestID: by.RequestID}
		made, refused := f.Certificate(ctx, by, r.CSR)
		if answer.Certificate = made.Certificate; refused != nil { // it is enrolled all the same, and asks again
			f.Log.Warn("no certificate for an agent that enrols", "site", site, "err", refused, "request", by.RequestID)
		}
	}
	switch {
	case err == nil:
		f.Log.Info("agent enrolled", "site", answer.SiteID, "name", answer.SiteName, "from", by.From, "request", by.RequestID)
	case errors.Is(err, store.ErrJoinToken), errors.Is(err, store.ErrJoinTokenUsed), errors.Is(err, store.ErrJoinTokenExpired):
		f.Log.Warn("enrolment refused", "err", err, "token", id, "from", by.From, "request", by.RequestID)
		by.Name = "unknown"
		refused := f.Store.AuditAlone(ctx, by, store.Act{
			Action: "agent.register.refused", Subject: "join_token/" + id, Detail: err.Error(),
		})
		if refused != nil {
			return wire.Registered{}, refused
		}
	}
	return answer, err
}

// parseJoinToken returns the id and the secret of a join token that this central may have made.
func (f *Fleet) parseJoinToken(text string) (id, secret string, err error) {
	parts := strings.Split(text, ".")
	if len(text) > 512 || len(parts) != 4 || parts[0] != "pbj1" || len(parts[2]) != 16 {
		return "", "", fmt.Errorf("%w (it is not whole)", store.ErrJoinToken)
	}
	if raw, err := hex.DecodeString(parts[2]); err != nil || hex.EncodeToString(raw) != parts[2] {
		return "", "", fmt.Errorf("%w (it is not whole)", store.ErrJoinToken)
	}
	pin := hex.EncodeToString(f.Pin[:])
	if subtle.ConstantTimeCompare([]byte(parts[1]), []byte(pin)) != 1 {
		return parts[2], "", fmt.Errorf("%w (it is of another central)", store.ErrJoinToken)
	}
	return parts[2], parts[3], nil
}

func hash(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}
