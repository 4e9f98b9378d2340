package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/pureboot/pureboot/central/store"
)

type tokenBody struct{ store.TokenSpec }

// Resolve adds to what the schema finds.
func (b *tokenBody) Resolve(huma.Context, *huma.PathBuffer) []error { return resolve(b.CheckNew()) }

// ByTokenID names a token.
type ByTokenID struct {
	ID string `path:"id" minLength:"16" maxLength:"16" doc:"What stands between pbt_ and the next _ of its text"`
}

// OneToken is a token to write to.
type OneToken struct {
	ByTokenID
	IfMatch string `header:"If-Match" doc:"The ETag that was read: 412 if it has changed since"`
}

// tag returns the tag of a token that an If-Match header asks for; empty for any.
func tag(header string) string {
	if header == "*" {
		return ""
	}
	return header
}

// newToken is a token with its text.
type newToken struct {
	store.Token
	Text string `json:"token" doc:"What to send as Authorization: Bearer. It is kept nowhere and not shown again"`
}

func (a *api) tokenRoutes() {
	const path = "/api/v1/tokens"
	tags := []string{"tokens"}
	admins := access{least: store.Admin}
	patches := newPatches(a, (*store.TokenSpec).Check)
	show := func(t store.Token, err error) (*versioned[store.Token], error) {
		return &versioned[store.Token]{ETag: t.Tag(), Body: t}, err
	}

	route(a, huma.Operation{
		OperationID: "list-tokens", Method: "GET", Path: path, Summary: "List the tokens by name", Tags: tags,
		Description: "Those that were revoked or have expired are among them, since the audit names them.",
	}, admins, func(ctx context.Context, in *struct{ Paging }) (*answer[store.Page[store.Token]], error) {
		page, err := a.Store.Tokens(ctx, in.store())
		return &answer[store.Page[store.Token]]{page}, err
	})
	route(a, huma.Operation{
		OperationID: "create-token", Method: "POST", Path: path, DefaultStatus: http.StatusCreated,
		Summary: "Make a token", Tags: tags,
	}, admins, func(ctx context.Context, in *struct{ Body tokenBody }) (*secret[newToken], error) {
		token, text, err := a.Store.CreateToken(ctx, caller(ctx).Actor, in.Body.TokenSpec)
		return &secret[newToken]{Location: path + "/" + token.ID, Cache: noStore, Body: newToken{token, text}}, err
	})
	route(a, huma.Operation{
		OperationID: "get-token", Method: "GET", Path: path + "/{id}", Summary: "Read a token, but for its secret", Tags: tags,
	}, admins, func(ctx context.Context, in *ByTokenID) (*versioned[store.Token], error) {
		return show(a.Store.Token(ctx, in.ID))
	})
	patchRoute(a, patches, huma.Operation{
		OperationID: "update-token", Method: "PATCH", Path: path + "/{id}",
		Summary: "Change a token's name, role or end", Tags: tags,
	}, admins, func(ctx context.Context, in *struct {
		OneToken
		Body map[string]any `contentType:"application/json"`
	},
	) (*versioned[store.Token], error) {
		return show(a.Store.UpdateToken(ctx, caller(ctx).Actor, in.ID, tag(in.IfMatch), patches.edit(in.Body)))
	})
	route(a, huma.Operation{
		OperationID: "revoke-token", Method: "DELETE", Path: path + "/{id}", DefaultStatus: http.StatusNoContent,
		Summary: "Revoke a token for good", Tags: tags, Description: "The last one of the role admin is a 409.",
	}, admins, func(ctx context.Context, in *OneToken) (*nothing, error) {
		return nil, a.Store.RevokeToken(ctx, caller(ctx).Actor, in.ID, tag(in.IfMatch))
	})
}
