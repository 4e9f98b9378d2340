package fleet

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"strings"

	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
)

// Authenticate returns the actor that a credential, pba_<site id>_<secret>, stands for, asked by the process boot of an
// agent. Errors: store.ErrUnauthorized, ErrRevoked, ErrFenced.
func (f *Fleet) Authenticate(ctx context.Context, credential, boot string) (store.Actor, error) {
	rest, ok := strings.CutPrefix(credential, "pba_")
	site, secret, cut := strings.Cut(rest, "_")
	id, err := uuid.Parse(site)
	if !ok || !cut || err != nil || secret == "" || len(credential) > 512 {
		return store.Actor{}, store.ErrUnauthorized
	}
	return f.Store.AuthenticateAgent(ctx, id, hash(secret), boot)
}

// AuthenticateCertificate returns the actor that a certificate of central's CA stands for, asked by the process boot of an
// agent. Errors as of Authenticate.
func (f *Fleet) AuthenticateCertificate(ctx context.Context, cert *x509.Certificate, boot string) (store.Actor, error) {
	for _, uri := range cert.URIs {
		text, ok := strings.CutPrefix(uri.String(), wire.SiteURN)
		if site, err := uuid.Parse(text); ok && err == nil {
			sum := sha256.Sum256(cert.Raw)
			return f.Store.AuthenticateCertificate(ctx, site, hex.EncodeToString(sum[:]), boot)
		}
	}
	return store.Actor{}, store.ErrUnauthorized
}

// RotateCredential asks a site's agent for a new secret.
func (f *Fleet) RotateCredential(ctx context.Context, by store.Actor, site uuid.UUID) (store.Credential, error) {
	c, err := f.Store.RotateCredential(ctx, by, site)
	if err == nil {
		f.Log.Info("an agent is asked for a new credential", "site", site, "by", by.Name, "request", by.RequestID)
	}
	return c, err
}

// RevokeCredential has a site's agent refused from now on.
func (f *Fleet) RevokeCredential(ctx context.Context, by store.Actor, site uuid.UUID) (store.Credential, error) {
	c, err := f.Store.RevokeCredential(ctx, by, site)
	if err == nil {
		f.Log.Info("an agent's credential is revoked", "site", site, "by", by.Name, "request", by.RequestID)
	}
	return c, err
}

// credential is what a heartbeat has to do with its own credential: it finds a second agent that has the same, and
// takes a rotation a step further. It writes nothing where neither is at hand. store.ErrFenced refuses the heartbeat.
func (f *Fleet) credential(ctx context.Context, by store.Actor, h *wire.Heartbeat) (*wire.Rotation, error) {
	next := h.Next
	h.Next = nil                                                      // for nobody who reads what the agent said
	if h.BootID != by.Standing.Boot && wire.GoodRequestID(h.BootID) { // what else it may be is no name of a process
		found, err := f.Store.HearBoot(ctx, by, h.BootID)
		if err != nil {
			return nil, err
		}
		if found {
			f.Log.Error("two agents have one credential, and the later one is refused from now on", "site", by.Site, "name", by.Name,
				"kept", h.BootID, "refused", by.Standing.Boot, "from", by.From)
		}
	}
	if by.Standing.Rotation == "" {
		return nil, nil
	}
	asked := &wire.Rotation{ID: by.Standing.Rotation, Accepted: by.Standing.Accepted}
	if next != nil && next.Rotation == asked.ID && next.SHA256 != asked.Accepted && isHash(next.SHA256) {
		var err error
		if asked.Accepted, err = f.Store.AnnounceCredential(ctx, by, *next); err != nil {
			return nil, err
		}
	}
	return asked, nil
}

// isHash says whether a text is a SHA-256 as hash writes it.
func isHash(text string) bool {
	raw, err := hex.DecodeString(text)
	return err == nil && len(raw) == 32 && hex.EncodeToString(raw) == text
}
