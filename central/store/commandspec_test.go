package store

import (
	"strings"
	"testing"
	"time"

	"github.com/pureboot/pureboot/central/wire"
)

func TestWhichCommandsANewerOneMakesNeedless(t *testing.T) {
	type p = wire.CommandParams
	const sync, invalidate, config = wire.CommandSync, wire.CommandInvalidate, wire.CommandUpdateConfig
	for _, c := range []struct {
		name         string
		command      string
		newer, older p
		want         bool
	}{
		{"the same sync", sync, p{}, p{}, true},
		{"of a later epoch", sync, p{Epoch: "a:2"}, p{Epoch: "a:1"}, true},
		{"a forced one covers a light one", sync, p{Force: true}, p{}, true},
		{"a light one no forced one", sync, p{}, p{Force: true}, false},
		{"all categories cover one", sync, p{}, p{Categories: []string{"images"}}, true},
		{"one does not cover all", sync, p{Categories: []string{"images"}}, p{}, false},
		{"two cover one of them", sync, p{Categories: []string{"images", "scripts"}}, p{Categories: []string{"scripts"}}, true},
		{"one does not cover two", sync, p{Categories: []string{"images"}}, p{Categories: []string{"scripts", "images"}}, false},
		{"forced, but of another category", sync, p{Force: true, Categories: []string{"images"}}, p{Categories: []string{"scripts"}}, false},

		{"all covers a glob", invalidate, p{Scope: "all"}, p{Scope: "content", Glob: "images/**"}, true},
		{"all covers a node", invalidate, p{Scope: "all"}, p{Scope: "nodes", MAC: "52:54:00:00:00:01"}, true},
		{"content does not cover all", invalidate, p{Scope: "content"}, p{Scope: "all"}, false},
		{"content covers a glob", invalidate, p{Scope: "content"}, p{Scope: "content", Glob: "images/**"}, true},
		{"content does not cover nodes", invalidate, p{Scope: "content"}, p{Scope: "nodes"}, false},
		{"a glob covers itself", invalidate, p{Scope: "content", Glob: "images/**"}, p{Scope: "content", Glob: "images/**"}, true},
		{"a glob covers no other", invalidate, p{Scope: "content", Glob: "images/**"}, p{Scope: "content", Glob: "images/a"}, false},
		{"a glob does not cover content", invalidate, p{Scope: "content", Glob: "**"}, p{Scope: "content"}, false},
		{"nodes cover a node", invalidate, p{Scope: "nodes"}, p{Scope: "nodes", MAC: "52:54:00:00:00:01"}, true},
		{"a node covers no other", invalidate, p{Scope: "nodes", MAC: "52:54:00:00:00:02"}, p{Scope: "nodes", MAC: "52:54:00:00:00:01"}, false},

		{"newer settings", config, p{Generation: "2"}, p{Generation: "1"}, true},
		{"a command nobody knows", "reboot", p{}, p{}, false},
	} {
		at := time.Now()
		newer := wish{CommandSpec{Command: c.command, Params: c.newer}, at.Add(time.Minute)}
		older := wish{CommandSpec{Command: c.command, Params: c.older}, at}
		if got := newer.covers(older); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
		if !c.want {
			continue
		}
		if soon := (wish{newer.CommandSpec, at.Add(-time.Minute)}); soon.covers(older) {
			t.Errorf("%s: and yet it may expire first", c.name)
		}
		once := newer
		if once.Once = true; once.covers(older) {
			t.Errorf("%s: and yet it may get lost", c.name)
		}
		if older.Once = true; !once.covers(older) {
			t.Errorf("%s: and the older may get lost as well", c.name)
		}
		for _, other := range []string{sync, invalidate, config} {
			older.Command = other
			if other != c.command && newer.covers(older) {
				t.Errorf("%s: covers a %s", c.name, other)
			}
		}
	}
}

func TestParametersBelongToTheirCommand(t *testing.T) {
	type p = wire.CommandParams
	for name, c := range map[string]struct {
		spec  CommandSpec
		wrong string // fields
	}{
		"sync":                  {CommandSpec{Command: "sync"}, ""},
		"sync of all":           {CommandSpec{Command: "sync", Params: p{Force: true, Categories: []string{"images", "scripts"}}, TTLSeconds: 60, Once: true}, ""},
		"a category twice":      {CommandSpec{Command: "sync", Params: p{Categories: []string{"images", "images"}}}, "params.categories[1]"},
		"an epoch":              {CommandSpec{Command: "sync", Params: p{Epoch: "a:1"}}, "params.epoch"},
		"a scope for sync":      {CommandSpec{Command: "sync", Params: p{Scope: "all"}}, "params.scope"},
		"all":                   {CommandSpec{Command: "invalidate", Params: p{Scope: "all"}}, ""},
		"a node":                {CommandSpec{Command: "invalidate", Params: p{Scope: "nodes", MAC: "52-54-00-00-00-0A"}}, ""},
		"no scope":              {CommandSpec{Command: "invalidate"}, "params.scope"},
		"a glob of nodes":       {CommandSpec{Command: "invalidate", Params: p{Scope: "nodes", Glob: "*"}}, "params.glob"},
		"a MAC of content":      {CommandSpec{Command: "invalidate", Params: p{Scope: "content", MAC: "52:54:00:00:00:01"}}, "params.mac"},
		"no MAC":                {CommandSpec{Command: "invalidate", Params: p{Scope: "nodes", MAC: "x"}}, "params.mac"},
		"a control character":   {CommandSpec{Command: "invalidate", Params: p{Scope: "content", Glob: "a\x00"}}, "params.glob"},
		"settings":              {CommandSpec{Command: "update_config", Params: p{Generation: "a1"}}, ""},
		"force for settings":    {CommandSpec{Command: "update_config", Params: p{Force: true}}, "params.force"},
		"a generation for sync": {CommandSpec{Command: "sync", Params: p{Generation: "a1"}}, "params.generation"},
		"too long to wait":      {CommandSpec{Command: "sync", TTLSeconds: maxTTL + 1}, "ttl_seconds"},
		"no time at all":        {CommandSpec{Command: "sync", TTLSeconds: -1}, "ttl_seconds"},
		"all at once":           {CommandSpec{Command: "sync", Params: p{MAC: "x", Glob: "*", Epoch: "e"}, TTLSeconds: -1}, "ttl_seconds params.epoch params.glob params.mac"},
	} {
		found := c.spec.Check()
		for field := range strings.FieldsSeq(c.wrong) {
			named := false
			for _, f := range found {
				named = named || f.Location == "body."+field
			}
			if !named {
				t.Errorf("%s: %s is not named in %v", name, field, found)
			}
		}
		if c.wrong == "" && len(found) > 0 {
			t.Errorf("%s: %v", name, found)
		}
		if c.wrong == "" && c.spec.TTLSeconds == 0 {
			t.Errorf("%s: there is no TTL", name)
		}
	}
}
