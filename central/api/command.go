package api

import (
	"context"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/content"
	"github.com/pureboot/pureboot/central/lifecycle"
	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
)

type commandBody struct{ store.CommandSpec }

// Resolve adds to what the schema finds.
func (b *commandBody) Resolve(huma.Context, *huma.PathBuffer) []error {
	f := b.Check()
	if glob := b.Params.Glob; glob != "" {
		if _, err := content.ParseGlob(glob); err != nil {
			f = append(f, wire.ProblemField{Location: "body.params.glob", Message: err.Error()})
		}
	}
	return resolve(f)
}

// syncBody is what a sync needs no command for.
type syncBody struct {
	Force      bool     `json:"force,omitempty" doc:"Ignore the epoch and verify all files again"`
	Categories []string `json:"categories,omitempty" maxItems:"4" uniqueItems:"true" enum:"bootloaders,scripts,templates,images" doc:"These alone; left out: all"`
	TTLSeconds int      `json:"ttl_seconds,omitempty" minimum:"1" maximum:"2592000" doc:"How long it may wait for the agent; left out: a week"`
}

// commandByN names a command.
type commandByN struct {
	ByID
	N int64 `path:"n" minimum:"1" doc:"The number of the command, seq"`
}

// commandRoutes serve what the agents are told to do.
func (a *api) commandRoutes() {
	const path = "/api/v1/sites/{id}/commands"
	tags := []string{"sites"}
	reads, writes := access{least: store.Viewer}, access{least: store.Operator}
	queue := func(ctx context.Context, site uuid.UUID, spec store.CommandSpec) (*located[store.Command], error) {
		c, err := a.Store.QueueCommand(ctx, caller(ctx).Actor, site, spec)
		at := "/api/v1/sites/" + site.String() + "/commands/" + strconv.FormatInt(c.Seq, 10)
		return &located[store.Command]{Location: at, Body: c}, err
	}

	route(a, huma.Operation{
		OperationID: "sync-site", Method: "POST", Path: "/api/v1/sites/{id}/sync", DefaultStatus: http.StatusAccepted,
		Summary: "Have the site's agent bring its content up to date", Tags: tags,
		Description: "Queues a command, for an agent that is offline too: it gets it with its next heartbeat.",
	}, writes, func(ctx context.Context, in *struct {
		ByID
		Body *syncBody
	},
	) (*located[store.Command], error) {
		spec := store.CommandSpec{Command: wire.CommandSync}
		if b := in.Body; b != nil {
			spec.Params, spec.TTLSeconds = wire.CommandParams{Force: b.Force, Categories: b.Categories}, b.TTLSeconds
		}
		return queue(ctx, in.ID, spec)
	})
	route(a, huma.Operation{
		OperationID: "list-commands", Method: "GET", Path: path, Summary: "List the commands of a site, the newest first", Tags: tags,
	}, reads, func(ctx context.Context, in *struct {
		ByID
		Paging
		State lifecycle.CommandState `query:"state" enum:"queued,sent,accepted,running,succeeded,failed,rejected,expired,canceled,superseded"`
	},
	) (*answer[store.Page[store.Command]], error) {
		page, err := a.Store.Commands(ctx, in.ID, store.CommandQuery{Paging: in.store(), State: in.State})
		return &answer[store.Page[store.Command]]{page}, err
	})
	route(a, huma.Operation{
		OperationID: "queue-command", Method: "POST", Path: path, DefaultStatus: http.StatusCreated,
		Summary: "Queue a command for the site's agent", Tags: tags,
		Description: "Those that wait and that it makes needless are superseded by it.",
	}, writes, func(ctx context.Context, in *struct {
		ByID
		Body commandBody
	},
	) (*located[store.Command], error) {
		return queue(ctx, in.ID, in.Body.CommandSpec)
	})
	route(a, huma.Operation{
		OperationID: "get-command", Method: "GET", Path: path + "/{n}", Summary: "Read a command of a site", Tags: tags,
	}, reads, func(ctx context.Context, in *commandByN) (*answer[store.Command], error) {
		c, err := a.Store.Command(ctx, in.ID, in.N)
		return &answer[store.Command]{c}, err
	})
	route(a, huma.Operation{
		OperationID: "cancel-command", Method: "POST", Path: path + "/{n}/cancel", Summary: "Take back a command", Tags: tags,
		Description: "One that is queued is canceled. One that was sent is recalled: the agent says whether it was in time. 409 if it " +
			"runs or is over. To cancel it again changes nothing.",
	}, writes, func(ctx context.Context, in *commandByN) (*answer[store.Command], error) {
		c, err := a.Store.CancelCommand(ctx, caller(ctx).Actor, in.ID, in.N)
		return &answer[store.Command]{c}, err
	})
}
