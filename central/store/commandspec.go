package store

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/pureboot/pureboot/central/lifecycle"
	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/ent"
)

// Limits of how long a command may wait for its agent.
const (
	defaultTTL = 7 * 24 * 60 * 60 // seconds: a site may be away for a weekend
	maxTTL     = 30 * 24 * 60 * 60
)

// CommandSpec is a command that somebody wants.
type CommandSpec struct {
	Command    string             `json:"command" enum:"sync,invalidate,update_config"`
	Params     wire.CommandParams `json:"params" required:"false"`
	TTLSeconds int                `json:"ttl_seconds,omitempty" minimum:"1" maximum:"2592000" doc:"How long it may wait for the agent; left out: a week"`
	Once       bool               `json:"once,omitempty" doc:"Send it no second time, even if the first may have got lost"`
}

// Check returns what is wrong with the command, and fills in what is left out.
func (c *CommandSpec) Check() []wire.ProblemField {
	var f faults
	p := &c.Params
	if c.TTLSeconds == 0 {
		c.TTLSeconds = defaultTTL
	}
	if c.TTLSeconds < 1 || c.TTLSeconds > maxTTL {
		f.add("ttl_seconds", c.TTLSeconds, "want 1 to %d", maxTTL)
	}
	for i, category := range p.Categories {
		if slices.Contains(p.Categories[:i], category) {
			f.add(fmt.Sprintf("params.categories[%d]", i), category, "is there twice")
		}
	}
	if p.Epoch != "" {
		f.add("params.epoch", p.Epoch, "is set by central")
	}
	if !slices.Contains([]string{wire.CommandSync, wire.CommandInvalidate, wire.CommandUpdateConfig}, c.Command) {
		f.add("command", clean(c.Command, maxName), "want sync, invalidate or update_config")
	}
	f.line("params.glob", p.Glob, 512)
	if p.Glob != "" && p.Scope != "content" {
		f.add("params.glob", p.Glob, "is for the scope content")
	}
	if p.MAC != "" {
		mac, err := lifecycle.ParseMAC(p.MAC)
		if err != nil {
			f.add("params.mac", p.MAC, "%v", err)
		} else if p.Scope != "nodes" {
			f.add("params.mac", p.MAC, "is for the scope nodes")
		}
		p.MAC = mac
	}
	if c.Command == wire.CommandInvalidate && p.Scope == "" {
		f.add("params.scope", nil, "want content, nodes or all")
	}
	for _, param := range []struct {
		name, of string
		set      bool
	}{
		{"force", wire.CommandSync, p.Force},
		{"categories", wire.CommandSync, p.Categories != nil},
		{"scope", wire.CommandInvalidate, p.Scope != ""},
		{"glob", wire.CommandInvalidate, p.Glob != ""},
		{"mac", wire.CommandInvalidate, p.MAC != ""},
		{"generation", wire.CommandUpdateConfig, p.Generation != ""},
	} {
		if param.set && param.of != c.Command {
			f.add("params."+param.name, nil, "is a parameter of %s alone", param.of)
		}
	}
	return f
}

// wish is a command as far as others that wait beside it depend on it.
type wish struct {
	CommandSpec
	expires time.Time
}

func wishOf(row *ent.AgentCommand) (wish, error) {
	w := wish{CommandSpec: CommandSpec{Command: string(row.Command), Once: row.Once, TTLSeconds: row.TTLSeconds}, expires: row.ExpiresAt}
	if err := json.Unmarshal(row.Params, &w.Params); err != nil {
		return w, fmt.Errorf("read command %d: %w", row.Seq, err)
	}
	return w, nil
}

// covers says whether a wish does all that an older one would have, and is as sure to arrive: what is sent only
// once may get lost, and what expires earlier may never be sent.
func (w wish) covers(older wish) bool {
	if w.Command != older.Command || w.Once && !older.Once || w.expires.Before(older.expires) {
		return false
	}
	p, q := w.Params, older.Params
	switch w.Command {
	case wire.CommandSync:
		return (p.Force || !q.Force) && coversCategories(p.Categories, q.Categories)
	case wire.CommandInvalidate:
		return p.Scope == "all" || p.Scope == q.Scope && (p.Glob == "" || p.Glob == q.Glob) && (p.MAC == "" || p.MAC == q.MAC)
	case wire.CommandUpdateConfig:
		return true // the newer settings replace the older
	}
	return false
}

// coversCategories says whether the older categories are all among the newer; none at all means every one.
func coversCategories(newer, older []string) bool {
	if len(newer) == 0 {
		return true
	}
	for _, category := range older {
		if !slices.Contains(newer, category) {
			return false
		}
	}
	return len(older) > 0
}
