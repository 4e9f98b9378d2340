package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/inherit"
	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/ent"
	"github.com/pureboot/pureboot/ent/devicegroup"
	"github.com/pureboot/pureboot/ent/node"
	"github.com/pureboot/pureboot/ent/workflow"
)

// Needed returns which content the machines of a site may ask for: what is named by the workflows that its nodes run,
// by default or for their next boot too, and by the one that is the site's default. A parameter in a name stands for
// the values that the nodes give it, and what only firmware knows for anything.
func (s *Store) Needed(ctx context.Context, site uuid.UUID) (wire.Needed, error) {
	n := needs{names: map[string]bool{}, globs: map[string]bool{}}
	err := s.View(ctx, func(tx *ent.Tx) error {
		home, err := tx.DeviceGroup.Get(ctx, site)
		if err != nil {
			return missing(err)
		}
		used, err := usersOf(ctx, tx, home, false)
		if err != nil {
			return err
		}
		workflows, err := workflowsOf(ctx, tx, used)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(slices.Collect(maps.Values(workflows)), asksForParams) {
			if used, err = usersOf(ctx, tx, home, true); err != nil {
				return err
			}
		}
		for _, u := range used {
			if w := workflows[u.workflow]; w != nil {
				n.add(*w, inherit.NodeParams(u.site, u.group, w.Params, u.params))
			}
		}
		return nil
	})
	if err != nil {
		return wire.Needed{}, fmt.Errorf("list what a site's workflows name: %w", err)
	}
	return n.list(), nil
}

// user is what some nodes of a site have in common: a workflow, and where its parameters come from.
type user struct {
	workflow    string // id
	group, site []inherit.Group
	params      map[string]string
}

// usersOf returns the different users of workflows at a site. The nodes' own parameters are read if each shall count:
// most sites have a handful of workflows and a thousand nodes.
func usersOf(ctx context.Context, tx *ent.Tx, home *ent.DeviceGroup, each bool) ([]user, error) {
	rows, err := likenesses(ctx, tx, home.ID, each)
	if err != nil {
		return nil, err
	}
	ids := map[uuid.UUID]bool{}
	for _, row := range rows {
		if row.GroupID != nil {
			ids[*row.GroupID] = true
		}
	}
	groups := []*ent.DeviceGroup{home}
	for some := range slices.Chunk(slices.Collect(maps.Keys(ids)), 500) { // databases bound the values of a statement
		part, err := tx.DeviceGroup.Query().Where(devicegroup.IDIn(some...)).All(ctx)
		if err != nil {
			return nil, err
		}
		groups = append(groups, part...)
	}
	up, err := ancestors(ctx, tx, groups...)
	if err != nil {
		return nil, err
	}
	site := up.chain(&home.ID)
	used := []user{{workflow: inherit.Workflow("", nil, site), site: site}}
	for _, row := range rows {
		u := user{site: site, group: up.chain(row.GroupID), params: row.params}
		u.workflow = inherit.Workflow(text(row.WorkflowID), u.group, site)
		used = append(used, u)
		if _, err := uuid.Parse(row.NextBoot); err == nil {
			u.workflow = row.NextBoot
			used = append(used, u)
		}
	}
	return used, nil
}

// likeness is what nodes of a site can have in common.
type likeness struct {
	WorkflowID *uuid.UUID `json:"workflow_id"`
	GroupID    *uuid.UUID `json:"group_id"`
	NextBoot   string     `json:"next_boot"`
	params     map[string]string
}

// likenesses returns the different ones of the nodes at a site, or all nodes.
func likenesses(ctx context.Context, tx *ent.Tx, site uuid.UUID, each bool) ([]likeness, error) {
	var found []likeness
	q := tx.Node.Query().Where(node.HomeSiteID(site))
	if !each {
		return found, q.GroupBy(node.FieldWorkflowID, node.FieldGroupID, node.FieldNextBoot).Scan(ctx, &found)
	}
	rows, err := q.Select(node.FieldWorkflowID, node.FieldGroupID, node.FieldNextBoot, node.FieldParams).All(ctx)
	for _, row := range rows {
		found = append(found, likeness{row.WorkflowID, row.GroupID, row.NextBoot, row.Params})
	}
	return found, err
}

// workflowsOf returns the workflows that are used, by id.
func workflowsOf(ctx context.Context, tx *ent.Tx, used []user) (map[string]*wire.Workflow, error) {
	ids := map[uuid.UUID]bool{}
	for _, u := range used {
		if id, err := uuid.Parse(u.workflow); err == nil {
			ids[id] = true
		}
	}
	found := map[string]*wire.Workflow{}
	for some := range slices.Chunk(slices.Collect(maps.Keys(ids)), 500) {
		rows, err := tx.Workflow.Query().Where(workflow.IDIn(some...)).All(ctx)
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			w := workflowRecord(row)
			found[w.ID] = &w
		}
	}
	return found, nil
}

func asksForParams(w *wire.Workflow) bool {
	return slices.ContainsFunc(pathsOf(*w), func(p string) bool { return strings.Contains(p, "${param.") })
}

// pathsOf returns all in a workflow that may name content.
func pathsOf(w wire.Workflow) []string {
	return append([]string{w.Kernel, w.Template, strings.TrimPrefix(w.BootURL, "${server}/")}, w.Initrd...)
}

// maxNames bounds a list of names, and maxPatterns that of globs.
const (
	maxNames    = 50_000
	maxPatterns = 500
)

// needs collects names.
type needs struct{ names, globs map[string]bool }

// variable is what is replaced in a workflow's texts; two dollars begin what firmware replaces.
var variable = regexp.MustCompile(`\$?\$\{[^{}]*\}`)

// add adds what a workflow names to somebody with these parameters.
func (n *needs) add(w wire.Workflow, params map[string]string) {
	for _, path := range pathsOf(w) {
		path = strings.TrimPrefix(path, "/")
		complete, open := true, false
		literal := variable.ReplaceAllStringFunc(path, func(v string) string {
			name, ok := strings.CutPrefix(v, "${param.")
			if !ok {
				open = true
				return "\x00"
			}
			value, ok := params[strings.TrimSuffix(name, "}")]
			complete = complete && ok
			return value
		})
		category, _, _ := strings.Cut(literal, "/")
		switch {
		case !complete || !slices.Contains(wire.Categories, category): // a URL, or nothing that a machine can boot
		case !open && len(n.names) < maxNames:
			n.names[literal] = true
		case open && len(n.globs) < maxPatterns:
			n.globs[strings.ReplaceAll(escape.Replace(literal), "\x00", "*")] = true
		}
	}
}

// escape has a glob take a text as it is.
var escape = strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`, "]", `\]`, "{", `\{`, "}", `\}`)

// list returns the names in order, and a tag that stands for all of them.
func (n *needs) list() wire.Needed {
	list := wire.Needed{Names: slices.Sorted(maps.Keys(n.names)), Globs: slices.Sorted(maps.Keys(n.globs))}
	if list.Names == nil {
		list.Names = []string{}
	}
	sum := sha256.Sum256([]byte(strings.Join(list.Names, "\n") + "\n\n" + strings.Join(list.Globs, "\n")))
	list.Tag = hex.EncodeToString(sum[:12])
	return list
}
