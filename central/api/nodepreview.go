package api

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/negotiation"

	"github.com/pureboot/pureboot/agent/boot"
	"github.com/pureboot/pureboot/central/content"
	"github.com/pureboot/pureboot/central/lifecycle"
	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
)

// What a preview has in the place of what only the agent knows. None of them opens anything.
const (
	placeholderServer = "http://AGENT"
	placeholderToken  = "NODE-TOKEN"
	placeholderOrder  = "ORDER-TOKEN"
)

// maxTemplate bounds a template that is rendered, in bytes, as agents do.
const maxTemplate = 1 << 20

// scriptPreview is what a node's firmware would be told now, and why.
type scriptPreview struct {
	Script    string                  `json:"script"`
	Serves    string                  `json:"serves" enum:"installer,local,wait,once,safe" doc:"What the script does; safe: it says what is wrong and boots the local disk"`
	State     string                  `json:"state"`
	NextBoot  string                  `json:"next_boot,omitempty"`
	DecidedBy string                  `json:"decided_by" enum:"state,next_boot"`
	Reason    string                  `json:"reason" doc:"The rule that chose the script"`
	Fault     string                  `json:"fault,omitempty" doc:"What is wrong, where the script is the safe one"`
	Workflow  *workflowPreview        `json:"workflow,omitempty" doc:"That is booted, or would be in the states that install"`
	Values    map[string]valuePreview `json:"values" doc:"By the name that texts and templates have for it"`
}

// templatePreview is a template with a node's values in it.
type templatePreview struct {
	Text   string                  `json:"text"`
	Served bool                    `json:"served" doc:"Whether the agent would hand it out now: while the node is pending or installing"`
	Values map[string]valuePreview `json:"values" doc:"Those that the template uses"`
}

type workflowPreview struct {
	ID       string       `json:"id"`
	Name     string       `json:"name"`
	Revision int64        `json:"revision"`
	From     store.Origin `json:"from" doc:"What says that it is this one"`
}

type valuePreview struct {
	Value string       `json:"value"`
	From  store.Origin `json:"from"`
}

// nodePreviewRoutes show what an agent would answer a machine. The agent's own renderer makes it.
func (a *api) nodePreviewRoutes() {
	const path, rendered = wire.PathNodes + "/{id}/boot-script", wire.PathNodes + "/{id}/render/{path...}"
	reads, tags := access{least: store.Viewer}, []string{"nodes"}
	route(a, huma.Operation{
		OperationID: "preview-boot-script", Method: "GET", Path: path, Summary: "Preview the script that a node would boot by now", Tags: tags,
		Description: "With the origin of each value. Accept: text/plain for the script alone. Tokens are placeholders, and so is the agent's address " +
			"where the site has no agent_url.",
		Responses: eitherForm[scriptPreview](a),
	}, reads, func(ctx context.Context, in *struct {
		ByID
		Loader string `query:"loader" enum:"ipxe,grub" default:"ipxe"`
		Accept string `header:"Accept" hidden:"true"`
	},
	) (*huma.StreamResponse, error) {
		b, err := a.Store.BootOrigin(ctx, in.ID)
		if err != nil {
			return nil, err
		}
		out := previewScript(b, in.Loader, time.Now())
		return inForm(in.Accept, out.Script, out), nil
	})
	route(a, huma.Operation{
		OperationID: "preview-template", Method: "GET", Path: rendered, Summary: "Preview a template or script rendered for a node", Tags: tags,
		Description: "path is templates/NAME or scripts/NAME. 422 names the value that is missing or cannot be used. Accept: text/plain for the text alone.",
		Responses:   eitherForm[templatePreview](a),
	}, reads, func(ctx context.Context, in *struct {
		ByID
		Path   string `path:"path" doc:"With slashes"`
		Accept string `header:"Accept" hidden:"true"`
	},
	) (*huma.StreamResponse, error) {
		b, err := a.Store.BootOrigin(ctx, in.ID)
		if err != nil {
			return nil, err
		}
		template, err := a.template(ctx, in.Path)
		if err != nil {
			return nil, err
		}
		out, err := previewTemplate(b, template)
		return inForm(in.Accept, out.Text, out), err
	})
	// OpenAPI has no word for a parameter with slashes.
	paths, plain := a.huma.OpenAPI().Paths, strings.Replace(rendered, "...", "", 1)
	paths[plain] = paths[rendered]
	paths[plain].Get.Path = plain
	delete(paths, rendered)
}

// template returns what is to be rendered. Agents render templates and scripts alone.
func (a *api) template(ctx context.Context, name string) ([]byte, error) {
	category, path, _ := strings.Cut(name, "/")
	if category != wire.Templates && category != wire.Scripts {
		return nil, content.ErrNotFound
	}
	if err := content.CheckPath(category, path); err != nil {
		return nil, err
	}
	file, about, err := a.Content.Open(ctx, category, path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if about.Size > maxTemplate {
		return nil, &store.Invalid{Fields: []wire.ProblemField{{Location: "path.path", Message: fmt.Sprintf("larger than %d bytes", maxTemplate)}}}
	}
	return io.ReadAll(file)
}

// previewInput is what an agent would make the node's scripts of.
func previewInput(b store.BootOrigin, now time.Time) (in boot.Input, server store.Origin) {
	in = boot.Input{
		Server: placeholderServer, MAC: b.Node.MACAddress, Boot: &b.Boot, Token: placeholderToken, OrderToken: placeholderOrder, Now: now,
		Query: url.Values{},
	}
	server = store.Origin{Kind: "placeholder"}
	if u, err := url.Parse(b.AgentURL); err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" {
		in.Server, server = u.Scheme+"://"+u.Host, b.Site
	}
	if platform := map[string]string{"bios": "pcbios", "uefi": "efi"}[b.Node.BootMode]; platform != "" {
		in.Query.Set("platform", platform)
	}
	if b.Node.Arch != "" {
		in.Query.Set("arch", b.Node.Arch)
	}
	return in, server
}

func previewScript(b store.BootOrigin, loader string, now time.Time) scriptPreview {
	in, server := previewInput(b, now)
	render := boot.Script
	if loader == "grub" {
		render = boot.Grub
	}
	script, err := render(in)
	install, _ := in.Install() // the database knows no other states
	serves, reason := install.Serve(b.Workflow != nil, now)
	out := scriptPreview{
		Script: string(script), Serves: string(serves), State: b.Node.State, NextBoot: b.Node.NextBoot, DecidedBy: "state", Reason: reason,
	}
	if err != nil {
		out.Serves, out.Fault = "safe", err.Error()
	}
	if install.Order(b.Workflow != nil) != "" {
		out.DecidedBy = "next_boot"
	}
	workflow, from := b.Workflow, b.WorkflowFrom
	if serves == lifecycle.ServeOnce {
		workflow, from = b.NextWorkflow, store.Origin{Kind: "node", ID: b.Node.ID, Name: b.Node.Hostname}
		b.Workflow, b.Params, b.ParamsFrom, in.Token = b.NextWorkflow, b.NextParams, b.NextParamsFrom, ""
		in.Boot = &b.Boot
	}
	if workflow != nil {
		out.Workflow = &workflowPreview{ID: workflow.ID, Name: workflow.Name, Revision: workflow.Revision, From: from}
	}
	names := slices.Clone(builtIn)
	for name := range b.Params {
		names = append(names, "param."+name)
	}
	out.Values = valuesOf(names, b, in, server)
	return out
}

// builtIn are the names that are no parameters.
var builtIn = []string{"server", "mac", "ip", "node_id", "hostname", "token", "event_url", "render_url"}

func previewTemplate(b store.BootOrigin, template []byte) (templatePreview, error) {
	in, server := previewInput(b, time.Now())
	text, err := boot.Render(template, in)
	if err != nil {
		return templatePreview{}, &store.Invalid{Fields: []wire.ProblemField{{Location: "path.path", Message: err.Error()}}}
	}
	install, _ := in.Install() // the database knows no other states
	return templatePreview{Text: string(text), Served: install.Renders(), Values: valuesOf(boot.Names(template), b, in, server)}, nil
}

// valuesOf returns what names stand for and where that comes from. One that stands for nothing is left out.
func valuesOf(names []string, b store.BootOrigin, in boot.Input, server store.Origin) map[string]valuePreview {
	values := map[string]valuePreview{}
	self := store.Origin{Kind: "node", ID: b.Node.ID, Name: b.Node.Hostname}
	for _, name := range names {
		param, isParam := strings.CutPrefix(name, "param.")
		if isParam {
			if value, ok := b.Params[param]; ok {
				values[name] = valuePreview{value, b.ParamsFrom[param]}
			}
			continue
		}
		value, err := boot.Render([]byte("${"+name+"}"), in)
		if err != nil {
			continue
		}
		from := self
		switch name {
		case "server", "event_url":
			from = server
		case "token":
			from = store.Origin{Kind: "placeholder"}
		case "render_url":
			from = store.Origin{Kind: "workflow", ID: b.Workflow.ID, Name: b.Workflow.Name}
		}
		values[name] = valuePreview{string(value), from}
	}
	return values
}

// eitherForm describes an answer that is JSON, or text for who asks for that.
func eitherForm[T any](a *api) map[string]*huma.Response {
	return map[string]*huma.Response{"200": {Description: "OK", Content: map[string]*huma.MediaType{
		"application/json": {Schema: a.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[T](), true, "")},
		"text/plain":       {Schema: &huma.Schema{Type: huma.TypeString}},
	}}}
}

// inForm answers with v as JSON, or with the text alone for who would rather have that.
func inForm(accept, text string, v any) *huma.StreamResponse {
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		ctx.SetHeader("Vary", "Accept")
		ctx.SetHeader("Cache-Control", "no-store")
		ctx.SetHeader("X-Content-Type-Options", "nosniff")
		if negotiation.SelectQValueFast(accept, []string{"application/json", "text/plain"}) == "text/plain" {
			ctx.SetHeader("Content-Type", "text/plain; charset=utf-8")
			_, _ = io.WriteString(ctx.BodyWriter(), text) // a client that is gone needs no answer
			return
		}
		ctx.SetHeader("Content-Type", "application/json")
		_ = json.NewEncoder(ctx.BodyWriter()).Encode(v)
	}}
}
