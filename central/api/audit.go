package api

import (
	"context"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/pureboot/pureboot/central/store"
)

func (a *api) auditRoutes() {
	route(a, huma.Operation{
		OperationID: "list-audit", Method: "GET", Path: "/api/v1/audit", Tags: []string{"audit"},
		Summary: "List who did what, the latest first", Description: "Each write leaves an entry in its own transaction.",
	}, access{least: store.Admin}, func(ctx context.Context, in *struct {
		Paging
		Who     string    `query:"who" maxLength:"200" doc:"As admin:NAME or site:NAME"`
		Action  string    `query:"action" maxLength:"100" doc:"As site.create"`
		Subject string    `query:"subject" maxLength:"300" doc:"As node/<id>"`
		Since   time.Time `query:"since" doc:"From this time on"`
		Until   time.Time `query:"until" doc:"Before this time"`
	},
	) (*answer[store.Page[store.AuditEntry]], error) {
		page, err := a.Store.AuditEntries(ctx, store.AuditQuery{
			Paging: in.store(), Who: in.Who, Action: in.Action, Subject: in.Subject, Since: in.Since, Until: in.Until,
		})
		return &answer[store.Page[store.AuditEntry]]{page}, err
	})
}
