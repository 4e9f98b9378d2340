package api

import (
	"context"
	"crypto/x509"
	"errors"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/pureboot/pureboot/central/fleet"
	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
)

// access says whom a route is for. The zero access is for nobody.
type access struct {
	least  store.Role // of an administrator; empty keeps them out
	agents bool       // agents may use it, each within its site
	open   bool       // whoever asks
}

// principal is who asks.
type principal struct {
	store.Actor
	role store.Role // empty for an agent
	id   string     // of the token, or of the agent's site
}

type principalKey struct{}

// caller returns who asks. On an open route nothing is known of him but his address.
func caller(ctx context.Context) principal {
	p, _ := ctx.Value(principalKey{}).(principal)
	return p
}

// guard returns who asks, or store.ErrUnauthorized, or store.ErrForbidden, or *fleet.Limited for an address whose
// credentials opened nothing too often.
func (a *api) guard(r *http.Request, need access) (principal, error) {
	p := principal{Actor: store.Actor{From: address(r), RequestID: wire.RequestID(r.Context())}}
	if need.open {
		return p, nil
	}
	header, certificate := r.Header.Get("Authorization"), shown(r)
	scheme, text, _ := strings.Cut(header, " ")
	if (header != "" || certificate == nil) && !strings.EqualFold(scheme, "Bearer") {
		return p, store.ErrUnauthorized
	}
	if wait := a.logins.Blocked(p.From, time.Now()); wait > 0 {
		return p, &fleet.Limited{RetryAfter: wait}
	}
	if header == "" || strings.HasPrefix(text, "pba_") {
		var actor store.Actor
		var err error
		if boot := r.Header.Get(wire.HeaderBoot); header == "" {
			actor, err = a.Fleet.AuthenticateCertificate(r.Context(), certificate, boot)
		} else {
			actor, err = a.Fleet.Authenticate(r.Context(), text, boot)
		}
		if err != nil {
			return p, a.failedLogin(p, err)
		}
		p.Name, p.Site, p.Standing, p.id = actor.Name, actor.Site, actor.Standing, actor.Site.String()
		if !need.agents {
			return p, forbidden("an agent may not do this")
		}
		return p, nil
	}
	token, err := a.Store.Authenticate(r.Context(), text)
	if err != nil {
		return p, a.failedLogin(p, err)
	}
	p.Name, p.role, p.id = "admin:"+token.Name, token.Role, token.ID
	switch {
	case need.least == "":
		return p, forbidden("this is for agents")
	case !p.role.Allows(need.least):
		return p, forbidden("this needs the role " + string(need.least) + ", and the token has " + string(p.role))
	}
	return p, nil
}

// shown returns the certificate that the client proved to have, if it is of central's CA.
func shown(r *http.Request) *x509.Certificate {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return nil
	}
	return r.TLS.VerifiedChains[0][0]
}

// failedLogin counts a credential that opened nothing. Each is 256 random bits: what is kept small is not the chance
// of a guess but the work that guesses make.
func (a *api) failedLogin(p principal, err error) error {
	if !errors.Is(err, store.ErrUnauthorized) {
		return err
	}
	if wait := a.logins.Try(p.From, time.Now()); wait > 0 {
		return &fleet.Limited{RetryAfter: wait}
	}
	return err
}

func forbidden(why string) error { return errors.Join(store.ErrForbidden, errors.New(why)) }

// handle adds a route to the ServeMux. A path without method is one for every method.
func (a *api) handle(method, path string, who access, h http.HandlerFunc) {
	pattern := strings.TrimSpace(method + " " + path)
	a.access[pattern] = who
	a.mux.HandleFunc(pattern, h)
}

// route adds a JSON route.
func route[I, O any](a *api, op huma.Operation, who access, h func(context.Context, *I) (*O, error)) {
	a.access[op.Method+" "+op.Path] = who
	a.document(&op, who)
	a.repeatable(&op, who)
	// A newer agent may say more than this build knows, and is served all the same.
	op.RejectUnknownQueryParameters = !who.agents
	huma.Register(a.huma, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := h(ctx, in)
		if err != nil {
			return nil, a.problem(ctx, err)
		}
		return out, nil
	})
	a.eitherStatus(op, reflect.TypeFor[O]())
}

// document says in the OpenAPI document who may use a route.
func (a *api) document(op *huma.Operation, who access) {
	var may []string
	if who.least != "" {
		may = append(may, "the role "+string(who.least))
	}
	if who.agents {
		may = append(may, "an agent, within its site")
	}
	if !who.open {
		op.Security = []map[string][]string{{"token": {}}}
		op.Description = strings.TrimSpace(op.Description + " For " + strings.Join(may, " or ") + ".")
	}
}
