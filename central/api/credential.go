package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/pureboot/pureboot/central/store"
)

// credentialRoutes serve what an administrator does to the credential of a site's agent.
func (a *api) credentialRoutes() {
	const path = "/api/v1/sites/{id}/agent-credential"
	tags := []string{"sites"}
	admins := access{least: store.Admin}

	route(a, huma.Operation{
		OperationID: "rotate-agent-credential", Method: "POST", Path: path + "/rotate", DefaultStatus: http.StatusAccepted,
		Summary: "Have the site's agent make a new secret", Tags: tags,
		Description: "It is asked with its next heartbeat. Both secrets are valid until the new one is first used; then the old one, " +
			"and the agent's certificate, open nothing any more. To ask again begins anew. 409 if the credential is revoked.",
	}, admins, func(ctx context.Context, in *ByID) (*answer[store.Credential], error) {
		c, err := a.Fleet.RotateCredential(ctx, caller(ctx).Actor, in.ID)
		return &answer[store.Credential]{c}, err
	})
	route(a, huma.Operation{
		OperationID: "revoke-agent-credential", Method: "POST", Path: path + "/revoke", Summary: "Refuse the site's agent from now on", Tags: tags,
		Description: "From its next request on, at every central over the same database, until it is enrolled again with a new join token. " +
			"It goes on booting the machines that it knows. To revoke again changes nothing.",
	}, admins, func(ctx context.Context, in *ByID) (*answer[store.Credential], error) {
		c, err := a.Fleet.RevokeCredential(ctx, caller(ctx).Actor, in.ID)
		return &answer[store.Credential]{c}, err
	})
}
