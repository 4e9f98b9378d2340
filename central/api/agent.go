package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
)

// peer, embedded in what an agent sends, lets it come from an older build, which knows fewer fields than this one,
// and from a newer, which knows more. What is needed all the same is checked by whoever acts on it.
type peer struct{}

// TransformSchema makes every field optional and others welcome, at every depth.
func (peer) TransformSchema(r huma.Registry, s *huma.Schema) *huma.Schema { return loose(r, s) }

// loose is a schema that takes what another build may send in place of what s describes.
func loose(r huma.Registry, s *huma.Schema) *huma.Schema {
	if s.Ref != "" {
		s = r.SchemaFromRef(s.Ref)
	}
	out := *s
	out.Enum = nil // a newer one may have more choices
	if s.Items != nil {
		out.Items = loose(r, s.Items)
	}
	if s.Type == huma.TypeObject && len(s.Properties) > 0 {
		properties := make(map[string]*huma.Schema, len(s.Properties))
		for name, p := range s.Properties {
			properties[name] = loose(r, p)
		}
		out = huma.Schema{
			Type: huma.TypeObject, Nullable: s.Nullable, Description: s.Description, Properties: properties, AdditionalProperties: true,
		}
		out.PrecomputeMessages()
	}
	return &out
}

type (
	joinBody struct {
		peer
		wire.Register
	}
	certificateBody struct {
		peer
		wire.CertificateRequest
	}
	heartbeatBody struct {
		peer
		wire.Heartbeat
	}
)

func (a *api) agentRoutes() {
	tags := []string{"agents"}
	agents := access{agents: true}

	route(a, huma.Operation{
		OperationID: "register-agent", Method: "POST", Path: wire.PathRegister, DefaultStatus: http.StatusCreated, Tags: tags,
		Summary:     "Enrol an agent with a join token",
		Description: "The agent's secret stays with it: it sends the SHA-256. The same token and hash get the same answer for ten minutes.",
		Errors:      []int{http.StatusUnauthorized, http.StatusTooManyRequests, http.StatusServiceUnavailable},
	}, access{open: true, agents: true}, func(ctx context.Context, in *struct{ Body joinBody }) (*answer[wire.Registered], error) {
		registered, err := a.Fleet.Register(ctx, caller(ctx).Actor, in.Body.Register)
		return &answer[wire.Registered]{registered}, err
	})
	route(a, huma.Operation{
		OperationID: "heartbeat", Method: "POST", Path: wire.PathHeartbeat, Summary: "Report how an agent is", Tags: tags,
		Description: "Central answers 503 with Retry-After when more agents come at once than it can answer in good time.",
		Errors:      []int{http.StatusServiceUnavailable},
	}, agents, func(ctx context.Context, in *struct{ Body heartbeatBody }) (*answer[wire.HeartbeatAnswer], error) {
		next, err := a.Fleet.Heartbeat(ctx, caller(ctx).Actor, in.Body.Heartbeat)
		return &answer[wire.HeartbeatAnswer]{next}, err
	})
	route(a, huma.Operation{
		OperationID: "get-manifest", Method: "GET", Path: wire.PathManifest, Summary: "List the content that changed since an epoch", Tags: tags,
	}, agents, func(ctx context.Context, in *struct {
		Since  string `query:"since" maxLength:"100" doc:"STREAM:NUMBER; left out: all there is"`
		Cursor string `query:"cursor" maxLength:"200" doc:"next of the page before"`
		Needed string `query:"needed" maxLength:"100" doc:"Tag of the list of what workflows name that the agent has, or none; left out: it wants no such list"`
	},
	) (*answer[wire.Manifest], error) {
		manifest, err := a.Fleet.Manifest(ctx, caller(ctx).Actor, in.Since, in.Cursor, in.Needed)
		return &answer[wire.Manifest]{manifest}, err
	})
	route(a, huma.Operation{
		OperationID: "get-boot", Method: "GET", Path: wire.PathBoot, Tags: tags,
		Summary: "Read all that is needed to boot a node", Description: "By its id, else by any of its MAC addresses, else by its system UUID.",
		Errors: []int{http.StatusNotFound},
	}, agents, func(ctx context.Context, in *struct {
		ID   string `query:"id" format:"uuid"`
		MAC  string `query:"mac" maxLength:"40"`
		UUID string `query:"uuid" maxLength:"100"`
	},
	) (*answer[wire.Boot], error) {
		var boot wire.Boot
		var err error
		if in.ID != "" {
			id, _ := uuid.Parse(in.ID) // the shape is checked; what is none all the same is nobody's id
			boot, err = a.Store.BootByID(ctx, caller(ctx).Actor, id)
		} else {
			boot, err = a.Store.BootByMAC(ctx, caller(ctx).Actor, in.MAC, in.UUID)
		}
		return &answer[wire.Boot]{boot}, err
	})
	route(a, huma.Operation{
		OperationID: "certify-agent", Method: "POST", Path: wire.PathCertificate, DefaultStatus: http.StatusCreated, Tags: tags,
		Summary: "Make a certificate for an agent's HTTPS listener",
		Description: "By central's own CA, in the name of the agent's site, for the host of the site's agent_url and the addresses of the request, but " +
			"for those that central itself or another site's agent_url goes by. 409 if central has no CA of its own.",
	}, agents, func(ctx context.Context, in *struct{ Body certificateBody }) (*answer[wire.Certificate], error) {
		made, err := a.Fleet.Certificate(ctx, caller(ctx).Actor, in.Body.CSR)
		return &answer[wire.Certificate]{made}, err
	})
	route(a, huma.Operation{
		OperationID: "get-agent-status", Method: "GET", Path: "/api/v1/agents/{id}/status", Summary: "Read how a site's agent is", Tags: tags,
	}, access{least: store.Viewer}, func(ctx context.Context, in *ByID) (*answer[store.Agent], error) {
		agent, err := a.Fleet.Agent(ctx, in.ID)
		return &answer[store.Agent]{agent}, err
	})
}
